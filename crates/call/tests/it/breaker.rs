//! The circuit breaker through a pipeline.

use std::cell::Cell;
use std::sync::{Arc, Mutex, OnceLock};

use backstay_call::{
    Breaker, Control, Event, EventKind, Phase, Pipeline, PipelineBuilder, Rejected, Retry,
};
use tokio::time::sleep;

use crate::common::*;

fn guarded(breaker: Breaker) -> PipelineBuilder {
    Pipeline::builder("p")
        .breaker(breaker)
        .retry(Retry::default().max_attempts(1))
}

async fn fails(pipeline: &Pipeline, times: u32) {
    for _ in 0..times {
        let _ = by_error(pipeline).call(async |_| Err(UNKNOWN)).await;
    }
}

async fn passes(pipeline: &Pipeline) -> bool {
    by_error(pipeline).call(async |_| Ok(1)).await.is_ok()
}

/// CALL-5: opens after so many failures in a row, or at a rate over enough calls.
#[tokio::test(start_paused = true)]
async fn both_detectors_open_it() {
    let in_a_row = guarded(Breaker::default().consecutive_failures(3))
        .build()
        .unwrap();
    fails(&in_a_row, 2).await;
    assert!(passes(&in_a_row).await);
    fails(&in_a_row, 2).await;
    assert!(passes(&in_a_row).await);
    fails(&in_a_row, 3).await;
    assert!(!passes(&in_a_row).await);

    let rate = Breaker::failure_rate(0.25)
        .minimum_calls(20)
        .consecutive_failures(u32::MAX);
    let rate = guarded(rate).build().unwrap();
    for _ in 0..15 {
        assert!(passes(&rate).await);
    }
    fails(&rate, 4).await;
    assert_eq!(rate.breaker().state().phase, Phase::Closed);
    fails(&rate, 1).await;
    let state = rate.breaker().state();
    assert_eq!(state.phase, Phase::Open);
    assert!(!passes(&rate).await);
}

/// CALL-10: an operator opens it, closes it, lets it observe, and gives it back.
#[tokio::test(start_paused = true)]
async fn an_operator_controls_it() {
    let pipeline = guarded(Breaker::default().consecutive_failures(2))
        .build()
        .unwrap();
    let breaker = pipeline.breaker();
    breaker.force_open();
    sleep(ms(3_600_000)).await;
    let state = breaker.state();
    assert_eq!(
        (state.phase, state.control),
        (Phase::Open, Control::ForcedOpen)
    );
    assert_eq!((state.since, state.next_probe), (ms(3_600_000), None));
    assert!(!passes(&pipeline).await);

    breaker.automatic();
    assert_eq!(breaker.state().phase, Phase::HalfOpen);
    for _ in 0..3 {
        assert!(passes(&pipeline).await);
    }
    assert_eq!(breaker.state().phase, Phase::Closed);

    breaker.force_close();
    fails(&pipeline, 50).await;
    assert_eq!(breaker.state().phase, Phase::Closed);
    assert_eq!(breaker.state().failed, 50);

    breaker.observe_only();
    fails(&pipeline, 2).await;
    assert_eq!(breaker.state().phase, Phase::Open);
    assert!(passes(&pipeline).await, "it only observes");
    breaker.automatic();
    assert!(!passes(&pipeline).await);
}

/// CALL-5: calls that are slow and still under way open it before they end.
#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_before_they_end() {
    let options = Breaker::default()
        .slow_after(ms(100))
        .slow_rate(0.5)
        .minimum_calls(4);
    let pipeline = guarded(options).build().unwrap();
    let calls = by_error(&pipeline);
    let slow = || {
        calls.call(async |_| {
            sleep(ms(5000)).await;
            Ok(1)
        })
    };
    let watch = async {
        sleep(ms(99)).await;
        assert_eq!(pipeline.breaker().state().phase, Phase::Closed);
        sleep(ms(2)).await;
        let state = pipeline.breaker().state();
        assert_eq!(state.phase, Phase::Open);
    };
    let (a, b, c, d, ()) = tokio::join!(slow(), slow(), slow(), slow(), watch);
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
    // CALL-7: what was admitted before it opened changes nothing when it ends.
    assert!(pipeline.breaker().state().stale > 0);
}

/// CALL-8: half-open, it sends its probes and refuses the others; a refusal says when to come back.
#[tokio::test(start_paused = true)]
async fn half_open_sends_so_many_probes() {
    let options = Breaker::default()
        .consecutive_failures(1)
        .open_for(ms(100))
        .probes(2)
        .probe_wait(ms(400));
    let pipeline = guarded(options).build().unwrap();
    fails(&pipeline, 1).await;
    sleep(ms(100)).await;
    let sent = Cell::new(0);
    let calls = by_error(&pipeline);
    let probe = || {
        calls.call(async |_| {
            sent.set(sent.get() + 1);
            sleep(ms(200)).await;
            Ok(1)
        })
    };
    let refused = async {
        sleep(ms(50)).await;
        probe().await.unwrap_err()
    };
    let (a, b, refused) = tokio::join!(probe(), probe(), refused);
    assert!(a.is_ok() && b.is_ok());
    let Some(Rejected::BreakerOpen { phase, retry_after }) = refused.rejected() else {
        panic!("{refused}");
    };
    assert_eq!((*phase, *retry_after), (Phase::HalfOpen, Some(ms(350))));
    assert_eq!(
        (sent.get(), pipeline.breaker().state().phase),
        (2, Phase::Closed)
    );
}

/// CALL-8: the place of a probe that was dropped is free at once, that of a silent one after a wait.
#[tokio::test(start_paused = true)]
async fn a_lost_probe_is_replaced() {
    let options = Breaker::default()
        .consecutive_failures(1)
        .open_for(ms(100))
        .probes(1)
        .probe_wait(ms(400));
    let pipeline = guarded(options).build().unwrap();
    fails(&pipeline, 1).await;
    sleep(ms(100)).await;
    let calls = by_error(&pipeline);
    let mut dropped = Box::pin(calls.call(async |_| std::future::pending().await));
    assert!(poll_once(dropped.as_mut()).is_pending());
    assert!(!passes(&pipeline).await);
    drop(dropped);
    let mut silent = Box::pin(calls.call(async |_| std::future::pending().await));
    assert!(poll_once(silent.as_mut()).is_pending());
    sleep(ms(400)).await;
    assert!(passes(&pipeline).await);
    assert_eq!(pipeline.breaker().state().phase, Phase::Closed);
    drop(silent);
    assert_eq!(pipeline.breaker().state().stale, 1);
}

/// CALL-8: open time doubles while probes fail; an overload fails a probe too.
#[tokio::test(start_paused = true)]
async fn open_time_grows_while_probes_fail() {
    let options = Breaker::default()
        .consecutive_failures(1)
        .open_for(ms(100))
        .probes(1);
    let pipeline = guarded(options).build().unwrap();
    fails(&pipeline, 1).await;
    for open in [100, 200, 400, 800] {
        assert_eq!(pipeline.breaker().state().next_probe, Some(ms(open)));
        sleep(ms(open)).await;
        let busy = overloaded(backstay_call::Pushback::Unstated);
        let _ = by_error(&pipeline).call(async |_| Err(busy)).await;
        assert_eq!(pipeline.breaker().state().phase, Phase::Open);
    }
}

/// CALL-7: a result from before the breaker opened changes nothing afterwards.
#[tokio::test(start_paused = true)]
async fn a_stale_result_changes_nothing() {
    let options = Breaker::default()
        .consecutive_failures(1)
        .open_for(ms(100))
        .probes(1);
    let pipeline = guarded(options).build().unwrap();
    let calls = by_error(&pipeline);
    let old = calls.call(async |_| {
        sleep(ms(300)).await;
        Err(UNKNOWN)
    });
    let rest = async {
        fails(&pipeline, 1).await;
        sleep(ms(100)).await;
        assert!(passes(&pipeline).await);
    };
    let (old, ()) = tokio::join!(old, rest);
    assert!(old.is_err());
    let state = pipeline.breaker().state();
    assert_eq!(
        (state.phase, state.failed, state.stale),
        (Phase::Closed, 0, 1)
    );
}

/// CALL-11: listeners hear the transitions in order and never under a lock: they may ask and act.
#[test]
fn listeners_hear_in_order_and_may_ask() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let slot: Arc<OnceLock<Pipeline>> = Arc::default();
    let seen = heard.clone();
    let asked = slot.clone();
    let pipeline = guarded(
        Breaker::default()
            .consecutive_failures(1)
            .open_for(ms(100))
            .probes(1),
    )
    .bulkhead(backstay_call::Bulkhead::limit(1))
    .listener(move |event: &Event<'_>| {
        // What it does itself, it need not hear.
        if event.kind == EventKind::Reconfigured {
            return;
        }
        let pipeline = asked.get().unwrap();
        let now = pipeline.state();
        pipeline.reconfigure(pipeline.settings()).unwrap();
        if let EventKind::Breaker(change) = event.kind {
            assert_eq!(now.breaker.unwrap().phase, change.to);
            seen.lock()
                .unwrap()
                .push((change.from, change.to, change.cause.name()));
        }
    })
    .build()
    .unwrap();
    slot.set(pipeline.clone()).unwrap();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            fails(&pipeline, 1).await;
            sleep(ms(100)).await;
            assert!(passes(&pipeline).await);
        });
        done.send(()).unwrap();
    });
    ended
        .recv_timeout(std::time::Duration::from_secs(60))
        .expect("no deadlock");
    assert_eq!(
        *heard.lock().unwrap(),
        [
            (Phase::Closed, Phase::Open, "consecutive_failures"),
            (Phase::Open, Phase::HalfOpen, "open_time_over"),
            (Phase::HalfOpen, Phase::Closed, "probes_succeeded"),
        ]
    );
}
