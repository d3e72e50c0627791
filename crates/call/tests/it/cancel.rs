//! Calls that are dropped anywhere leave nothing behind.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use backstay_call::{Breaker, Bulkhead, EventKind, Hedge, Phase, Pipeline, Pushback};
use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use crate::common::*;

/// Drops the future in it once it was polled so often.
struct DropAtPoll<F> {
    inner: Option<Pin<Box<F>>>,
    polls: u32,
}

impl<F: Future> Future for DropAtPoll<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        let polled = inner.as_mut().poll(cx);
        if let Poll::Ready(output) = polled {
            return Poll::Ready(Some(output));
        }
        self.polls = self.polls.saturating_sub(1);
        if self.polls == 0 {
            self.inner = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

#[derive(Clone, Copy, Debug)]
enum Leave {
    Never,
    AtPoll(u32),
    After(u64),
}

#[derive(Clone, Debug)]
struct Call {
    at: u64,
    idempotent: bool,
    /// How long each attempt takes, how it ends, and whether it yields first.
    script: Vec<(u64, u8, bool)>,
    leave: Leave,
}

#[derive(Clone, Debug)]
struct Setup {
    deadline: u64,
    limit: u32,
    queue: u32,
    max_wait: Option<u64>,
    attempts: u32,
    attempt_timeout: Option<u64>,
    hedge: Option<u64>,
    failures: u32,
    probes: u32,
    slow: Option<u64>,
}

fn call() -> impl Strategy<Value = Call> {
    let leave = prop_oneof![
        Just(Leave::Never),
        (1u32..8).prop_map(Leave::AtPoll),
        (0u64..120).prop_map(Leave::After),
    ];
    let script = prop::collection::vec((0u64..80, 0u8..8, any::<bool>()), 1..4);
    (0u64..150, any::<bool>(), script, leave).prop_map(|(at, idempotent, script, leave)| Call {
        at,
        idempotent,
        script,
        leave,
    })
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        (
            20u64..300,
            1u32..4,
            0u32..5,
            prop::option::of(1u64..20),
            1u32..5,
        ),
        (
            prop::option::of(5u64..20),
            prop::option::of(1u64..5),
            1u32..5,
            1u32..4,
            prop::option::of(2u64..5),
        ),
    )
        .prop_map(
            |(
                (deadline, limit, queue, max_wait, attempts),
                (attempt_timeout, hedge, failures, probes, slow),
            )| Setup {
                deadline,
                limit,
                queue,
                max_wait,
                attempts: if hedge.is_some() {
                    attempts.max(2)
                } else {
                    attempts
                },
                attempt_timeout,
                hedge,
                failures,
                probes,
                slow,
            },
        )
}

fn build(setup: &Setup, recorder: &Recorder) -> Pipeline {
    let mut breaker = Breaker::default()
        .consecutive_failures(setup.failures)
        .minimum_calls(5)
        .open_for(ms(10))
        .open_for_at_most(ms(40))
        .probes(setup.probes)
        // So long that a probe that got lost would be seen.
        .probe_wait(Duration::from_secs(3600));
    if let Some(slow) = setup.slow {
        breaker = breaker.slow_after(ms(slow));
    }
    let mut bulkhead = Bulkhead::limit(setup.limit).queue(setup.queue);
    if let Some(wait) = setup.max_wait {
        bulkhead = bulkhead.max_wait(ms(wait));
    }
    let mut builder = Pipeline::builder("p")
        .deadline(ms(setup.deadline))
        .bulkhead(bulkhead)
        .retry(every(5, setup.attempts))
        .breaker(breaker)
        .budget(plenty())
        .listener(recorder.clone());
    if let Some(timeout) = setup.attempt_timeout {
        builder = builder.attempt_timeout(ms(timeout));
    }
    if let Some(hedge) = setup.hedge {
        builder = builder.hedge(Hedge::after(ms(hedge)));
    }
    builder.build().unwrap()
}

fn end_of(kind: u8) -> Result<u32, Fail> {
    Err(match kind {
        0 => UNKNOWN,
        1 => NOT_SENT,
        2 => PERMANENT,
        3 => IGNORED,
        4 => overloaded(Pushback::After(ms(7))),
        5 => overloaded(Pushback::Unstated),
        _ => return Ok(1),
    })
}

/// Makes one call and leaves it as the plan says; whether it was polled at all.
async fn make(pipeline: &Pipeline, gauge: &Gauge, deadline: Duration, call: &Call) -> bool {
    sleep(ms(call.at)).await;
    let op = async |attempt: backstay_call::Attempt| {
        let _alive = gauge.enter();
        let (time, end, yields) = call.script[(attempt.number() as usize - 1) % call.script.len()];
        if yields {
            yield_now().await;
        }
        sleep(ms(time)).await;
        end_of(end)
    };
    let calls = by_error(pipeline);
    let run = if call.idempotent {
        calls.call_idempotent(op)
    } else {
        calls.call(op)
    };
    let start = Instant::now();
    match call.leave {
        Leave::Never => drop(run.await),
        Leave::AtPoll(polls) => drop(
            DropAtPoll {
                inner: Some(Box::pin(run)),
                polls,
            }
            .await,
        ),
        Leave::After(time) => drop(timeout(ms(time), run).await),
    }
    assert!(start.elapsed() <= deadline, "{:?}", start.elapsed());
    true
}

/// After it was left alone for a while, a breaker closes again: no probe got lost.
async fn recovers(pipeline: &Pipeline, probes: u32) {
    // Past the window: what failed before is forgotten, and a breaker that is open may probe.
    sleep(Duration::from_secs(15)).await;
    for _ in 0..probes {
        let answer = by_error(pipeline).call(async |_| Ok(1)).await;
        assert!(answer.is_ok(), "{:?}", pipeline.state());
    }
    let phase = pipeline.breaker().state().phase;
    assert_eq!(phase, Phase::Closed, "a probe got lost");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// CALL-1, CALL-8, CALL-13, CALL-14, CALL-18: whatever calls do and wherever they are dropped, no permit, no
    /// place, no token and no probe is lost, every attempt that began is booked, and no call outlives its time.
    #[test]
    fn dropped_calls_leave_nothing(setup in setup(), calls in prop::collection::vec(call(), 1..40)) {
        let recorder = Recorder::default();
        let pipeline = build(&setup, &recorder);
        let gauge = Gauge::default();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let deadline = ms(setup.deadline);
            let made = join_all(calls.iter().map(|call| make(&pipeline, &gauge, deadline, call))).await;
            assert_idle(&pipeline);
            assert_eq!(gauge.now(), 0);
            let side_by_side = if setup.hedge.is_some() { 2 } else { 1 };
            assert!(gauge.most() <= setup.limit as usize * side_by_side);
            let count = |which: fn(&EventKind) -> bool| recorder.count(which);
            let started = count(|kind| matches!(kind, EventKind::AttemptStarted { .. }));
            let ended = count(|kind| matches!(kind, EventKind::AttemptEnded { .. }));
            assert_eq!(started, ended);
            let over = count(|kind| matches!(kind, EventKind::CallEnded { .. } | EventKind::CallDropped { .. }));
            assert_eq!(over, made.len());
            recovers(&pipeline, setup.probes).await;
        });
    }
}

/// CALL-1: a call that was never polled leaves nothing, and says nothing.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_polled_leaves_nothing() {
    let recorder = Recorder::default();
    let pipeline = Pipeline::builder("p")
        .listener(recorder.clone())
        .build()
        .unwrap();
    let polled = Rc::new(Cell::new(false));
    drop(by_error(&pipeline).call(async |_| {
        polled.set(true);
        Ok(1)
    }));
    assert!(!polled.get() && recorder.events().is_empty());
    assert_eq!(pipeline.state().budget.unwrap().calls, 0);
}
