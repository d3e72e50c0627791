//! Claims for effects elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use backstay_idempotency::{
    BeginError, Begun, BuildError, Fingerprint, FinishError, Guard, Idempotency, KeptError, Key,
};
use backstay_store::{Append, Batch, CommitError, Event, Put, Store, Version};
use futures_util::FutureExt;
use tokio::task::{JoinSet, yield_now};

use crate::ground::{A_MINUTE, Ground, leave_after, soon, until};

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

async fn finished(once: &Idempotency) -> String {
    match begin(once).await {
        Begun::Finished(kept) => kept.answer().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Lets the background have its say.
async fn claimed_at_last(once: &Idempotency) -> Guard {
    soon(async {
        loop {
            match begin(once).await {
                Begun::Claimed(guard) => return guard,
                Begun::Running { .. } => yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    })
    .await
}

/// IDE-1: of two hundred who come at once with one key one does it, and all get its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_do_it_once() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        let done = Arc::new(AtomicU32::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..200 {
            let (once, done) = (once.clone(), done.clone());
            tasks.spawn(async move {
                loop {
                    match begin(&once).await {
                        Begun::Claimed(guard) => {
                            let count = done.fetch_add(1, SeqCst);
                            guard.finish(&count).await.unwrap();
                            return count;
                        }
                        Begun::Finished(kept) => return kept.answer::<u32>().unwrap(),
                        _ => yield_now().await,
                    }
                }
            });
        }
        let answers = soon(tasks.join_all()).await;
        assert_eq!(
            (answers, done.load(SeqCst)),
            (vec![0; 200], 1),
            "{}",
            ground.name
        );
        // The record stays, the run does not.
        assert_eq!(ground.keys().await, 1, "{}", ground.name);
    }
}

/// IDE-1, IDE-2: while one runs others are told so, then they get the answer; another request is refused both times.
#[tokio::test]
async fn running_then_finished() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        let other = Fingerprint::of_bytes("other");
        let guard = claimed(&once).await;
        assert!(matches!(
            begin(&once).await,
            Begun::Running { retry_after } if retry_after == Duration::from_secs(1)
        ));
        let refused = once.begin("key", &other).await.unwrap_err();
        assert!(matches!(refused, BeginError::Mismatch), "{refused}");
        guard.finish(&"done").await.unwrap();
        assert_eq!(finished(&once).await, "done", "{}", ground.name);
        let refused = once.begin("key", &other).await.unwrap_err();
        assert!(matches!(refused, BeginError::Mismatch), "{refused}");
        let another = once.begin(Key::new(["key", ""]), &other).await.unwrap();
        assert!(matches!(another, Begun::Claimed(_)), "{}", ground.name);
    }
}

/// IDE-4: a claim that is freed leaves nothing; one that is left open can be claimed again for the same request only.
#[tokio::test]
async fn free_and_open() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        let other = Fingerprint::of_bytes("other");
        claimed(&once).await.free().await.unwrap();
        assert_eq!(ground.keys().await, 0, "{}", ground.name);

        claimed(&once).await.leave_open().await.unwrap();
        let refused = once.begin("key", &other).await.unwrap_err();
        assert!(matches!(refused, BeginError::Mismatch), "{refused}");
        let again = claimed(&once).await;
        again.finish(&"second").await.unwrap();
        assert_eq!(finished(&once).await, "second", "{}", ground.name);
    }
}

/// IDE-3: a guard that is dropped, also by a panic, gives its run up soon, and leaves the record open.
#[tokio::test]
async fn dropping_leaves_it_open() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        drop(claimed(&once).await);
        until(async || ground.runs().await == 0).await;
        let other = Fingerprint::of_bytes("other");
        let refused = once.begin("key", &other).await;
        assert!(
            matches!(refused, Err(BeginError::Mismatch)),
            "{}",
            ground.name
        );
        let held = claimed_at_last(&once).await;
        let panicked = tokio::spawn(async move {
            let _held = held;
            std::panic::resume_unwind(Box::new("boom"))
        });
        assert!(panicked.await.unwrap_err().is_panic());
        let last = claimed_at_last(&once).await;
        last.finish(&"done").await.unwrap();
        assert_eq!(finished(&once).await, "done", "{}", ground.name);
    }
}

/// IDE-3, IDE-4: whoever is gone before the claim was given leaves nothing in the way, wherever it was dropped.
#[tokio::test]
async fn whoever_leaves_before_it_begins_leaves_nothing() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        for polls in 0..40 {
            leave_after(polls, begin(&once)).await;
            // Whatever was begun is over: the key can be claimed, at once or when the background has said so.
            claimed_at_last(&once).await.free().await.unwrap();
        }
        until(async || ground.keys().await == 0).await;
    }
}

/// IDE-3: when an owner is silent for too long another one takes over, and the first can't answer any more.
#[tokio::test]
async fn a_stalled_owner_is_taken_over() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        let stalled = claimed(&once).await;
        ground.clock.advance(Duration::from_millis(29_999));
        assert!(
            matches!(begin(&once).await, Begun::Running { .. }),
            "{}",
            ground.name
        );
        ground.clock.advance(Duration::from_millis(1));
        let second = claimed(&once).await;

        let event = || Append::new(Event::new("charged", ""));
        let batch = Batch::new().append("charges", event());
        let late = stalled.answer_in(batch, &"late").unwrap();
        let refused = ground.store.commit(late).await.unwrap_err();
        assert!(matches!(refused, CommitError::Conflict(_)), "{refused}");
        let refused = stalled.finish(&"late").await.unwrap_err();
        assert!(matches!(refused, FinishError::TakenOver), "{refused}");
        // What the first one tried has not ended the second one's run.
        assert!(
            matches!(begin(&once).await, Begun::Running { .. }),
            "{}",
            ground.name
        );

        let batch = Batch::new().append("charges", event());
        let batch = second.answer_in(batch, &"second").unwrap();
        ground.store.commit(batch).await.unwrap();
        drop(second);
        assert_eq!(finished(&once).await, "second", "{}", ground.name);
        let events = ground
            .store
            .read("charges", Version::START, 10)
            .await
            .unwrap();
        assert_eq!(events.len(), 1, "{}", ground.name);
    }
}

type Ended = tokio::task::JoinHandle<Result<(), CommitError>>;

/// IDE-3: neither can a stalled owner free the key of the one who took over, or give up its run.
#[tokio::test]
async fn a_stalled_owner_takes_nothing_away() {
    let ends: [fn(Guard) -> Ended; 2] = [
        |guard| tokio::spawn(guard.free()),
        |guard| tokio::spawn(guard.leave_open()),
    ];
    for ground in Ground::each().await {
        for end in ends {
            let once = once(&ground.store);
            let stalled = claimed(&once).await;
            ground.clock.advance(A_MINUTE);
            let second = claimed(&once).await;
            end(stalled).await.unwrap().unwrap();
            assert!(
                matches!(begin(&once).await, Begun::Running { .. }),
                "{}",
                ground.name
            );
            second.free().await.unwrap();
        }
    }
}

/// IDE-3: an owner that stalled and was not taken over can still answer.
#[tokio::test]
async fn a_stalled_owner_whom_nobody_missed_can_answer() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        let stalled = claimed(&once).await;
        ground.clock.advance(A_MINUTE);
        stalled.finish(&"late").await.unwrap();
        assert_eq!(finished(&once).await, "late", "{}", ground.name);
    }
}

/// IDE-3: a guard renews its run while it is held, so long work is not taken over.
#[tokio::test(start_paused = true)]
async fn a_guard_renews_itself() {
    let ground = Ground::memory();
    let once = once(&ground.store);
    let guard = claimed(&once).await;
    for _ in 0..100 {
        // The store's clock goes with tokio's, a third of the run's time at each step.
        ground.clock.advance(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(10)).await;
        yield_now().await;
        assert!(matches!(begin(&once).await, Begun::Running { .. }));
    }
    guard.finish(&"done").await.unwrap();
    assert_eq!(finished(&once).await, "done");
}

/// IDE-3: an answer that was given is kept, also when whoever waits for that leaves.
#[tokio::test]
async fn an_answer_is_kept_though_nobody_waits() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        let guard = claimed(&once).await;
        assert!(guard.finish(&"done").now_or_never().is_none());
        until(async || match begin(&once).await {
            Begun::Claimed(_) => panic!("{}: it was lost", ground.name),
            begun => matches!(begun, Begun::Finished(_)),
        })
        .await;
    }
}

/// IDE-5: an answer is kept for the retention, then it is swept and the key is as good as new.
#[tokio::test]
async fn an_answer_is_kept_for_the_retention() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        claimed(&once).await.finish(&"first").await.unwrap();
        ground
            .clock
            .advance(Duration::from_millis(24 * 3_600_000 - 1));
        assert_eq!(finished(&once).await, "first", "{}", ground.name);
        ground.clock.advance(Duration::from_millis(1));
        ground.store.sweep().await.unwrap();
        assert_eq!(ground.keys().await, 0, "{}", ground.name);
        let again = once.begin("key", &Fingerprint::of_bytes("other")).await;
        assert!(matches!(again, Ok(Begun::Claimed(_))), "{}", ground.name);
    }
}

/// IDE-1: what a newer version has written is an error, and nothing is run again.
#[tokio::test]
async fn an_unknown_version_is_not_run_again() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        claimed(&once).await.finish(&"done").await.unwrap();
        let record = &ground
            .store
            .list("idempotency/record/", "", 1)
            .await
            .unwrap()[0];
        let newer = String::from_utf8(record.value.to_vec())
            .unwrap()
            .replace(r#""version":1"#, r#""version":2"#);
        let batch = Batch::new().put(&record.key, Put::new(newer));
        ground.store.commit(batch).await.unwrap();
        let error = once.begin("key", &asked()).await.unwrap_err();
        assert!(
            matches!(error, BeginError::Kept(KeptError::Version { version: 2 })),
            "{error}"
        );
    }
}

/// IDE-5: neither the key nor what was asked for is in the store.
#[tokio::test]
async fn only_hashes_are_kept() {
    let ground = Ground::memory();
    let once = once(&ground.store);
    let secret = "4242424242424242";
    let begun = once.begin(secret, &Fingerprint::of_bytes(secret)).await;
    let entries = ground.store.list("", "", 10).await.unwrap();
    assert!(begun.is_ok() && entries.len() == 2);
    for entry in entries {
        let text = format!("{} {:?}", entry.key, entry.value);
        assert!(!text.contains(secret), "{text}");
    }
}

/// IDE-1: an empty key is refused: who sends none would be one with all others who do.
#[tokio::test]
async fn an_empty_key_is_refused() {
    let once = once(&Ground::memory().store);
    for key in [Key::from(""), Key::new(["", ""]), Key::new([""; 0])] {
        let refused = once.begin(key, &asked()).await.unwrap_err();
        assert!(matches!(refused, BeginError::Invalid(_)), "{refused}");
        assert_eq!(refused.to_string(), "key = \"\": must not be empty");
    }
}

/// IDE-3: a store that forgets is refused unless asked for; options out of range are named.
#[tokio::test]
async fn a_store_that_forgets_is_refused() {
    let store = Ground::memory().store;
    assert_eq!(
        Idempotency::new(store.clone()).unwrap_err(),
        BuildError::Volatile
    );
    let builder = || Idempotency::builder(store.clone()).allow_volatile();
    for (built, field) in [
        (builder().retention(Duration::ZERO).build(), "retention"),
        (
            builder()
                .retention(A_MINUTE)
                .take_over_after(2 * A_MINUTE)
                .build(),
            "take_over_after = 120s: must be at least 100ms and at most the retention, 60s",
        ),
        (
            builder().take_over_after(Duration::ZERO).build(),
            "take_over_after",
        ),
    ] {
        let error = built.unwrap_err();
        assert!(
            matches!(error, BuildError::Invalid(_)) && error.to_string().contains(field),
            "{error}"
        );
    }
}
