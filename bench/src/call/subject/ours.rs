//! Backstay: one policy at a time, then the whole stack as a user gets it.

use std::hint::black_box;
use std::time::Duration;

use backstay::{Breaker, Bulkhead, Hedge, Pipeline, PipelineBuilder, Retry};

use super::{
    ATTEMPT_TIMEOUT, ATTEMPTS, BULKHEAD, DEADLINE, Failed, Group, Run, failing_operation, operation,
};

const NAME: &str = "backstay";

/// Enough to open the breaker by its default of ten failures in a row.
const FAILURES: usize = 20;

pub(crate) fn runs() -> Vec<Run> {
    vec![
        Run::shared(
            NAME,
            Group::BreakerClosed,
            async || build(breaker()),
            passes,
        ),
        Run::alone(NAME, Group::BreakerOpen, async || open().await, refuses),
        Run::alone(
            NAME,
            Group::RetryUnused,
            async || build(retry()),
            passes_idempotent,
        ),
        Run::alone(NAME, Group::Timeout, async || build(timeout()), passes),
        Run::alone(NAME, Group::Bulkhead, async || build(bulkhead()), passes),
        Run::alone(
            NAME,
            Group::Hedge,
            async || build(hedge()),
            passes_idempotent,
        ),
        Run::shared(
            "backstay (5: deadline > bulkhead > retry > breaker > timeout)",
            Group::Stack,
            async || build(stack()),
            passes_idempotent,
        ),
    ]
}

fn empty() -> PipelineBuilder {
    Pipeline::empty("bench")
}

fn breaker() -> PipelineBuilder {
    empty().breaker(Breaker::default())
}

fn retry() -> PipelineBuilder {
    empty().retry(Retry::default().max_attempts(ATTEMPTS))
}

fn timeout() -> PipelineBuilder {
    empty().deadline(DEADLINE)
}

fn bulkhead() -> PipelineBuilder {
    empty().bulkhead(Bulkhead::limit(u32::try_from(BULKHEAD).unwrap_or(u32::MAX)))
}

fn hedge() -> PipelineBuilder {
    empty().hedge(Hedge::after(Duration::from_secs(1)))
}

fn stack() -> PipelineBuilder {
    retry()
        .deadline(DEADLINE)
        .bulkhead(Bulkhead::limit(u32::try_from(BULKHEAD).unwrap_or(u32::MAX)))
        .breaker(Breaker::default())
        .attempt_timeout(ATTEMPT_TIMEOUT)
}

fn build(builder: PipelineBuilder) -> Pipeline {
    builder.build().expect("the bench's options are valid")
}

async fn open() -> Pipeline {
    let pipeline = build(breaker().breaker(Breaker::default().open_for(Duration::from_secs(30))));
    for _ in 0..FAILURES {
        let _ = pipeline.call(|_| failing_operation()).await;
    }
    pipeline
}

async fn passes(pipeline: &mut Pipeline) -> bool {
    black_box(pipeline.call(|_| operation()).await).is_ok()
}

async fn passes_idempotent(pipeline: &mut Pipeline) -> bool {
    black_box(pipeline.call_idempotent(|_| operation()).await).is_ok()
}

async fn refuses(pipeline: &mut Pipeline) -> bool {
    let answer = black_box(pipeline.call(|_| operation()).await);
    answer.is_err_and(|error| {
        !matches!(error.operation(), Some(Failed::Operation)) && error.rejected().is_some()
    })
}
