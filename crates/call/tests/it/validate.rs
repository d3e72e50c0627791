//! Options that can't work or are dangerous are refused, each by name.

use std::time::Duration;

use backstay_call::{
    Backoff, Breaker, BudgetOptions, Bulkhead, Hedge, Invalid, Pipeline, PipelineBuilder, Policy,
    Retry,
};

use crate::common::*;

fn b() -> PipelineBuilder {
    Pipeline::builder("p")
}

fn refused(builder: PipelineBuilder) -> Invalid {
    match builder.build() {
        Err(invalid) => invalid,
        Ok(pipeline) => panic!("accepted:\n{}", pipeline.explain()),
    }
}

fn assert_refused(
    cases: impl IntoIterator<Item = (PipelineBuilder, &'static str, &'static str, &'static str)>,
) {
    for (builder, field, value, limit) in cases {
        let invalid = refused(builder);
        assert_eq!(
            (&*invalid.field, &*invalid.value, &*invalid.limit),
            (field, value, limit)
        );
        assert_eq!(invalid.to_string(), format!("{field} = {value}: {limit}"));
    }
}

/// CALL-13: a deadline alone is enough, however short: no default has to be tuned for it.
#[test]
fn a_short_deadline_is_enough() {
    for deadline in [1, 20, 50] {
        assert!(b().deadline(ms(deadline)).build().is_ok());
    }
}

/// CALL-13: times that contradict each other.
#[test]
fn times_that_contradict_each_other() {
    let s = Duration::from_secs;
    let retry = |base| Retry::exponential(base);
    assert_refused([
        (
            b().deadline(ms(100)).attempt_timeout(ms(101)),
            "attempt_timeout",
            "101ms",
            "must be at most deadline = 100ms",
        ),
        (
            b().deadline(ms(100)).retry(retry(ms(100))),
            "retry.backoff.base",
            "100ms",
            "must be below deadline = 100ms",
        ),
        (
            b().deadline(s(3)).hedge(Hedge::after(ms(1500))),
            "hedge.after",
            "1.5s",
            "must be below the first attempt's share of the deadline = 1.5s",
        ),
        (
            b().deadline(ms(100))
                .retry(Retry::default().min_time(ms(101))),
            "retry.min_time",
            "101ms",
            "must be at most deadline = 100ms",
        ),
        (
            b().deadline(ms(100))
                .bulkhead(Bulkhead::limit(1).queue(1).max_wait(ms(101))),
            "bulkhead.max_wait",
            "101ms",
            "must be at most deadline = 100ms",
        ),
        (
            b().deadline(ms(100)).hedge(Hedge::after(ms(100))),
            "hedge.after",
            "100ms",
            "must be below deadline = 100ms",
        ),
        (
            b().attempt_timeout(ms(50)).hedge(Hedge::after(ms(50))),
            "hedge.after",
            "50ms",
            "must be below attempt_timeout = 50ms",
        ),
        (
            b().deadline(s(1))
                .breaker(Breaker::default().slow_after(s(1))),
            "breaker.slow_after",
            "1s",
            "must be below deadline = 1s",
        ),
        (
            b().attempt_timeout(ms(50))
                .breaker(Breaker::default().slow_after(ms(60))),
            "breaker.slow_after",
            "60ms",
            "must be below attempt_timeout = 50ms",
        ),
    ]);
}

/// CALL-18: a queue where nothing bounds the wait.
#[test]
fn a_wait_without_a_bound() {
    let queue = Bulkhead::limit(1).queue(1);
    let limit = "must be set where there is a queue and no deadline: a wait needs a bound";
    let bare = Pipeline::empty("p").bulkhead(queue.clone());
    assert_refused([(bare, "bulkhead.max_wait", "none", limit)]);
    assert!(
        Pipeline::empty("p")
            .bulkhead(queue.clone().max_wait(ms(10)))
            .build()
            .is_ok()
    );
    assert!(b().bulkhead(queue).build().is_ok());
}

/// CALL-16: hedges that could never be sent.
#[test]
fn a_hedge_that_could_never_be_sent() {
    let invalid = refused(b().hedge(Hedge::after(ms(10))).retry(every(10, 1)));
    assert_eq!(
        (&*invalid.field, &*invalid.value),
        ("retry.max_attempts", "1")
    );
}

/// CALL-13: zero, too much and nonsense.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn values_out_of_range() {
    let day = Duration::from_secs(86_401);
    let range = "must be in 1ms..=86400s";
    let rate = "must be above 0 and at most 1";
    let rates = |rate| b().breaker(Breaker::failure_rate(rate));
    let budget = |options| b().budget(options);
    let options = BudgetOptions::default;
    assert_refused([
        (b().deadline(ms(0)), "deadline", "0ns", range),
        (b().deadline(day), "deadline", "86401s", range),
        (
            b().deadline(Duration::MAX),
            "deadline",
            "18446744073709551615.999999999s",
            range,
        ),
        (b().attempt_timeout(ms(0)), "attempt_timeout", "0ns", range),
        (
            b().retry(Retry::default().max_attempts(0)),
            "retry.max_attempts",
            "0",
            "must be in 1..=10",
        ),
        (
            b().retry(Retry::default().max_attempts(11)),
            "retry.max_attempts",
            "11",
            "must be in 1..=10",
        ),
        (
            b().retry(Retry::default().min_time(Duration::from_secs(3601))),
            "retry.min_time",
            "3601s",
            "must be at most 1h",
        ),
        (
            b().retry(Retry::backoff(Backoff::fixed(ms(0)))),
            "retry.backoff.base",
            "0ns",
            "must be in 1ms..=3600s",
        ),
        (
            b().retry(Retry::backoff(Backoff::fixed(ms(9)).cap(ms(8)))),
            "retry.backoff.cap",
            "8ms",
            "must be in 9ms..=3600s",
        ),
        (rates(0.0), "breaker.failure_rate", "0", rate),
        (rates(1.01), "breaker.failure_rate", "1.01", rate),
        (rates(f64::NAN), "breaker.failure_rate", "NaN", rate),
        (rates(f64::INFINITY), "breaker.failure_rate", "inf", rate),
        (
            b().breaker(Breaker::default().slow_rate(-0.5)),
            "breaker.slow_rate",
            "-0.5",
            rate,
        ),
        (
            b().breaker(Breaker::default().overload_rate(f64::NAN)),
            "breaker.overload_rate",
            "NaN",
            rate,
        ),
        (
            b().breaker(Breaker::default().probes(0)),
            "breaker.probes",
            "0",
            "must be in 1..=100",
        ),
        (
            b().breaker(Breaker::default().minimum_calls(0)),
            "breaker.minimum_calls",
            "0",
            "must be in 1..=1000000",
        ),
        (
            b().breaker(Breaker::default().window_of_calls(10)),
            "breaker.minimum_calls",
            "20",
            "must be at most breaker.window.calls = 10",
        ),
        (
            b().breaker(Breaker::default().open_for(ms(0))),
            "breaker.open_for",
            "0ns",
            "must be in 1ms..=3600s",
        ),
        (
            budget(options().ratio(f64::NAN)),
            "budget.ratio",
            "NaN",
            "must be in 0.0..=10.0",
        ),
        (
            budget(options().ratio(-0.1)),
            "budget.ratio",
            "-0.1",
            "must be in 0.0..=10.0",
        ),
        (
            budget(options().ratio(f64::INFINITY)),
            "budget.ratio",
            "inf",
            "must be in 0.0..=10.0",
        ),
        (
            budget(options().reserve_per_s(100_001)),
            "budget.reserve_per_s",
            "100001",
            "must be in 0..=100000",
        ),
        (
            b().bulkhead(Bulkhead::limit(0)),
            "bulkhead.limit",
            "0",
            "must be in 1..=1000000",
        ),
        (
            b().bulkhead(Bulkhead::limit(1).queue(1_000_001)),
            "bulkhead.queue",
            "1000001",
            "must be in 0..=1000000",
        ),
        (
            b().bulkhead(Bulkhead::limit(1).max_wait(ms(0))),
            "bulkhead.max_wait",
            "0ns",
            "must be in 1ms..=3600s",
        ),
        (
            b().hedge(Hedge::at_quantile(f64::NAN)),
            "hedge.quantile",
            "NaN",
            "must be in 0.5..=0.999",
        ),
        (
            b().hedge(Hedge::at_quantile(1.0)),
            "hedge.quantile",
            "1.0",
            "must be in 0.5..=0.999",
        ),
        (
            b().hedge(Hedge::at_quantile(0.9).min_samples(0)),
            "hedge.min_samples",
            "0",
            "must be in 1..=4294967295",
        ),
        (
            b().hedge(Hedge::after(ms(10)).min_samples(5)),
            "hedge.min_samples",
            "5",
            "allowed only with `quantile`",
        ),
        (
            Pipeline::builder(""),
            "name",
            "\"\"",
            "must have 1 to 100 bytes",
        ),
    ]);
    assert_eq!(refused(Pipeline::builder("x".repeat(101))).field, "name");
    assert_eq!(refused(b().hedge(Hedge::after(ms(0)))).field, "hedge.after");
}

/// CALL-13: what is switched off contradicts nothing.
#[test]
fn what_is_off_contradicts_nothing() {
    let longest = Bulkhead::limit(1).queue(1).max_wait(ms(500));
    let builders = [
        b().deadline(ms(100))
            .hedge(Hedge::after(ms(200)))
            .without(Policy::Hedge),
        b().deadline(ms(100))
            .bulkhead(longest)
            .without(Policy::Bulkhead),
        b().deadline(ms(100))
            .retry(Retry::exponential(ms(200)))
            .without(Policy::Retry),
        b().deadline(ms(100))
            .attempt_timeout(ms(200))
            .without(Policy::AttemptTimeout),
        b().deadline(ms(100))
            .breaker(Breaker::default().slow_after(ms(200)))
            .without(Policy::Breaker),
        Pipeline::empty("p")
            .bulkhead(Bulkhead::limit(1).queue(1))
            .without(Policy::Bulkhead),
    ];
    for builder in builders {
        builder.build().unwrap();
    }
}

/// CALL-18: what only observes bounds nothing, so a queue needs another bound.
#[test]
fn a_queue_behind_an_observed_deadline_needs_a_bound() {
    let queue = || Bulkhead::limit(1).queue(10);
    let observed = b().bulkhead(queue()).observe_only(Policy::Deadline);
    assert_eq!(refused(observed).field, "bulkhead.max_wait");
    let bounded = b().bulkhead(queue().max_wait(ms(50)));
    assert!(bounded.observe_only(Policy::Deadline).build().is_ok());
}

/// What was left out by hand stays out, also where another line would bring it along.
#[test]
fn left_out_stays_out() {
    let on = |builder: PipelineBuilder| builder.build().unwrap().state().budget.is_some();
    assert!(!on(b().without(Policy::Budget).retry(Retry::default())));
    assert!(!on(b().without(Policy::Budget).hedge(Hedge::after(ms(10)))));
    assert!(on(b()
        .without(Policy::Budget)
        .budget(BudgetOptions::default())));
    assert!(on(Pipeline::empty("p").retry(Retry::default())));
}

/// The least time of an attempt belongs to retry: without retry it refuses nobody.
#[tokio::test(start_paused = true)]
async fn a_least_time_without_retry_is_none() {
    let builder = b()
        .deadline(ms(300))
        .retry(Retry::default().min_time(ms(900)));
    let pipeline = builder.without(Policy::Retry).build().unwrap();
    assert!(pipeline.call(async |_| Ok::<_, Fail>(1)).await.is_ok());
}
