//! One call through every kind of waiting, dropped after each of its polls.

use std::future::{Future, pending};

use backstay_call::{Breaker, Bulkhead, EventKind, Hedge, Phase, Pipeline, Pushback};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::common::*;

fn pipeline(recorder: &Recorder) -> Pipeline {
    let probe_wait = std::time::Duration::from_secs(3600);
    Pipeline::builder("p")
        .deadline(ms(1000))
        .bulkhead(Bulkhead::limit(1).queue(1))
        .retry(every(5, 4))
        .hedge(Hedge::after(ms(20)))
        .budget(plenty())
        .breaker(
            Breaker::default()
                .consecutive_failures(1)
                .probes(5)
                .open_for(ms(10))
                .probe_wait(probe_wait),
        )
        .listener(recorder.clone())
        .build()
        .unwrap()
}

/// The call: told to come back later, then hung, with a hedge beside it that answers.
async fn step(number: u32) -> Result<u32, Fail> {
    yield_now().await;
    match number {
        1 => {
            sleep(ms(5)).await;
            Err(overloaded(Pushback::After(ms(10))))
        }
        2 => pending().await,
        _ => {
            sleep(ms(10)).await;
            Ok(number)
        }
    }
}

/// Waits in the queue, tries, pauses, tries again, hedges. Dropped after `polls` polls; whether it ended before.
async fn scene(polls: usize, half_open: bool) -> (bool, Recorder) {
    let recorder = Recorder::default();
    let pipeline = pipeline(&recorder);
    let calls = by_error(&pipeline);
    if half_open {
        let _ = calls.call(async |_| Err(PERMANENT)).await;
        sleep(ms(10)).await;
    }
    let mut holder = Box::pin(calls.call(async |_| {
        sleep(ms(30)).await;
        Ok(0)
    }));
    let mut run = Box::pin(calls.call_idempotent(|attempt| step(attempt.number())));
    let (mut held, mut left, mut ended) = (true, polls, false);
    std::future::poll_fn(|cx| {
        if held && holder.as_mut().poll(cx).is_ready() {
            held = false;
        }
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        run.as_mut().poll(cx).map(|answer| {
            assert_eq!(answer.unwrap(), 3);
            ended = true;
        })
    })
    .await;
    drop(run);
    if held {
        assert!(holder.await.is_ok());
    } else {
        drop(holder);
    }
    assert_idle(&pipeline);
    let count = |which: fn(&EventKind) -> bool| recorder.count(which);
    assert_eq!(
        count(|kind| matches!(kind, EventKind::AttemptStarted { .. })),
        count(|kind| matches!(kind, EventKind::AttemptEnded { .. })),
    );
    sleep(ms(100)).await;
    for _ in 0..5 {
        assert!(
            calls.call(async |_| Ok(1)).await.is_ok(),
            "after {polls} polls"
        );
    }
    assert_eq!(
        pipeline.breaker().state().phase,
        Phase::Closed,
        "after {polls} polls"
    );
    (ended, recorder)
}

/// CALL-1, CALL-8, CALL-14, CALL-18: dropped at any of its waits, a call gives everything back.
#[tokio::test(start_paused = true)]
async fn dropped_at_every_await() {
    for half_open in [false, true] {
        let mut polls = 0;
        let recorder = loop {
            let (ended, recorder) = scene(polls, half_open).await;
            if ended {
                break recorder;
            }
            polls += 1;
            assert!(polls < 100, "never ends");
        };
        assert!(polls >= 8, "{polls} polls are too few for this scene");
        let events = recorder.events();
        assert!(events.contains(&EventKind::Queued));
        assert!(
            events.contains(&EventKind::AttemptStarted {
                number: 3,
                hedge: true
            }),
            "{events:?}"
        );
    }
}
