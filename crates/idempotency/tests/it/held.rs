//! Owners that live though their run has expired, and those that have lost it.

use std::time::Duration;

use backstay_idempotency::{Begun, Fingerprint, FinishError, Guard, Idempotency};
use backstay_store::{Batch, Event, Expected, Store};
use futures_util::FutureExt;
use tokio::task::yield_now;

use crate::ground::{A_MINUTE, Ground, soon, until};

const SECOND: Duration = Duration::from_secs(1);

fn once(store: &Store) -> Idempotency {
    let builder = Idempotency::builder(store.clone()).allow_volatile();
    builder.build().unwrap()
}

fn asked() -> Fingerprint {
    Fingerprint::of_bytes("it")
}

async fn begin(once: &Idempotency) -> Begun {
    once.begin("key", &asked()).await.unwrap()
}

async fn claimed(once: &Idempotency) -> Guard {
    match begin(once).await {
        Begun::Claimed(guard) => guard,
        other => panic!("{other:?}"),
    }
}

/// Time goes by, in the store and here.
async fn pass(ground: &Ground, time: Duration) {
    for _ in 0..time.as_secs() {
        ground.clock.advance(SECOND);
        tokio::time::advance(SECOND).await;
        for _ in 0..4 {
            yield_now().await;
        }
    }
}

/// IDE-3: a run that has expired though its owner lives, as after a step of the clock, is put back with the next renewal.
#[tokio::test(start_paused = true)]
async fn a_living_owner_gets_its_run_back() {
    let ground = Ground::memory();
    let once = once(&ground.store);
    let guard = claimed(&once).await;
    for _ in 0..3 {
        ground.clock.advance(A_MINUTE);
        assert_eq!(ground.runs().await, 0);
        pass(&ground, 11 * SECOND).await;
        for _ in 0..60 {
            assert!(matches!(begin(&once).await, Begun::Running { .. }));
            pass(&ground, SECOND).await;
        }
    }
    // A sweep takes away what has expired, and leaves a deletion in its place.
    ground.clock.advance(A_MINUTE);
    ground.store.sweep().await.unwrap();
    pass(&ground, 11 * SECOND).await;
    assert!(matches!(begin(&once).await, Begun::Running { .. }));
    assert!(guard.lost().now_or_never().is_none());
    guard.finish(&"done").await.unwrap();
    assert_eq!(ground.runs().await, 0);
}

/// IDE-3: on every store a run is put back, unless somebody else has come; then the claim is lost.
#[tokio::test]
async fn a_run_is_put_back_on_every_store() {
    for ground in Ground::each().await {
        let builder = Idempotency::builder(ground.store.clone()).allow_volatile();
        let once = builder.take_over_after(SECOND / 10).build().unwrap();
        let first = claimed(&once).await;
        ground.clock.advance(A_MINUTE);
        ground.store.sweep().await.unwrap();
        until(async || ground.runs().await == 1).await;
        let second = soon(async {
            loop {
                ground.clock.advance(A_MINUTE);
                if let Begun::Claimed(second) = begin(&once).await {
                    return second;
                }
            }
        });
        let second = second.await;
        soon(first.lost()).await;
        assert!(second.lost().now_or_never().is_none(), "{}", ground.name);
        let refused = first.finish(&"late").await.unwrap_err();
        assert!(matches!(refused, FinishError::TakenOver), "{refused}");
        second.finish(&"done").await.unwrap();
    }
}

/// IDE-3: whoever was taken over is told with the next renewal, and neither takes the run back nor ends the other's.
#[tokio::test(start_paused = true)]
async fn a_lost_claim_is_told() {
    let ground = Ground::memory();
    let once = once(&ground.store);
    let stalled = claimed(&once).await;
    ground.clock.advance(A_MINUTE);
    let second = claimed(&once).await;
    assert!(stalled.lost().now_or_never().is_none());
    pass(&ground, 11 * SECOND).await;
    assert!(stalled.lost().now_or_never().is_some());
    assert!(second.lost().now_or_never().is_none());
    assert!(matches!(begin(&once).await, Begun::Running { .. }));
    let refused = stalled.finish(&"late").await.unwrap_err();
    assert!(matches!(refused, FinishError::TakenOver), "{refused}");
    // The same where the other one has ended, without an answer.
    second.leave_open().await.unwrap();
    let third = claimed(&once).await;
    ground.clock.advance(A_MINUTE);
    claimed(&once).await.leave_open().await.unwrap();
    pass(&ground, 11 * SECOND).await;
    assert!(third.lost().now_or_never().is_some());
    assert_eq!(ground.runs().await, 0);
}

/// IDE-3: an answer of one's own that was committed with other changes is no loss, however long the owner goes on.
#[tokio::test(start_paused = true)]
async fn an_own_answer_is_no_loss() {
    let ground = Ground::memory();
    let once = once(&ground.store);
    let guard = claimed(&once).await;
    let batch = Batch::new().append("charges", Event::new("charged", ""));
    let batch = guard.answer_in(batch, &"done").unwrap();
    ground.store.commit(batch).await.unwrap();
    pass(&ground, 2 * A_MINUTE).await;
    assert!(guard.lost().now_or_never().is_none());
    drop(guard);
    assert!(matches!(begin(&once).await, Begun::Finished(_)));
}

/// IDE-3, IDE-5: work is over with the retention: it is told, its run is not held any longer, and its answer is refused.
#[tokio::test(start_paused = true)]
async fn work_ends_with_the_retention() {
    let ground = Ground::memory();
    let builder = Idempotency::builder(ground.store.clone()).allow_volatile();
    let once = builder.retention(A_MINUTE).build().unwrap();
    let guard = claimed(&once).await;
    pass(&ground, 59 * SECOND).await;
    assert!(guard.lost().now_or_never().is_none());
    assert_eq!(ground.runs().await, 1);
    pass(&ground, SECOND).await;
    assert!(guard.lost().now_or_never().is_some());
    pass(&ground, 30 * SECOND).await;
    assert_eq!(ground.runs().await, 0);
    let refused = guard.finish(&"late").await.unwrap_err();
    assert!(matches!(refused, FinishError::Gone), "{refused}");
    assert!(!refused.to_string().contains("taken over"), "{refused}");
    let other = once.begin("key", &Fingerprint::of_bytes("other")).await;
    assert!(matches!(other, Ok(Begun::Claimed(_))), "{other:?}");
}

/// IDE-3: a record that was taken away is no claim any more, and its run is not put back.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_gone_is_lost() {
    let ground = Ground::memory();
    let once = once(&ground.store);
    let guard = claimed(&once).await;
    for entry in ground.store.list("idempotency/", "", 10).await.unwrap() {
        let gone = Batch::new().delete(entry.key, Expected::Any);
        ground.store.commit(gone).await.unwrap();
    }
    pass(&ground, 11 * SECOND).await;
    assert!(guard.lost().now_or_never().is_some());
    assert_eq!(ground.runs().await, 0);
}

#[cfg(feature = "http")]
mod http {
    use axum::response::IntoResponse;

    use super::*;
    use crate::http::{Server, layer, post};

    /// IDE-3: a handler whose request was taken over is dropped, and its caller is told that the effect is unknown.
    #[tokio::test(start_paused = true)]
    async fn a_handler_that_was_taken_over_is_dropped() {
        let ground = Ground::memory();
        let server = Server::new(layer(&ground.store), |count| {
            format!("charge {count}").into_response()
        })
        .closed();
        let start = || {
            let server = server.clone();
            tokio::spawn(async move { server.send(post("k", "tea")).await })
        };
        let first = start();
        server.begun(1).await;
        ground.clock.advance(A_MINUTE);
        let second = start();
        server.begun(2).await;
        pass(&ground, 11 * SECOND).await;
        // Nobody has opened the gate.
        let told = soon(first).await.unwrap();
        assert_eq!(told.problem(), (409, "taken-over".into(), "unknown"));
        server.gate.add_permits(1);
        assert_eq!(second.await.unwrap().body, "charge 1");
        assert!(server.send(post("k", "tea")).await.replayed);
    }

    /// IDE-3: after a step of the clock the handler goes on, and no second one runs beside it.
    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_clock_makes_no_second_handler() {
        let ground = Ground::memory();
        let server = Server::new(layer(&ground.store), |count| {
            format!("charge {count}").into_response()
        })
        .closed();
        let first = tokio::spawn({
            let server = server.clone();
            async move { server.send(post("k", "tea")).await }
        });
        server.begun(1).await;
        ground.clock.advance(A_MINUTE);
        until(async || {
            pass(&ground, SECOND).await;
            ground.runs().await == 1
        })
        .await;
        let repeat = server.send(post("k", "tea")).await;
        assert_eq!(repeat.problem().1, "still-running");
        server.gate.add_permits(1);
        assert_eq!(first.await.unwrap().body, "charge 0");
        assert_eq!(server.times(), 1);
    }
}
