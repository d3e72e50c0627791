//! Keys that are withdrawn before, while and after their work is done.

use std::time::Duration;

use backstay_idempotency::{
    BeginError, Begun, Fingerprint, FinishError, Guard, Idempotency, KeptError, WithdrawError,
    Withdrawn,
};
use backstay_store::sqlite::SqliteOptions;
use backstay_store::{Append, Batch, CommitError, Effect, Event, Put, Store, TestClock, Version};
use tokio::task::{JoinSet, yield_now};

use crate::ground::{A_MINUTE, Ground, START, leave_after, soon};

fn once(store: &Store) -> Idempotency {
    let builder = Idempotency::builder(store.clone()).allow_volatile();
    builder.build().unwrap()
}

fn asked() -> Fingerprint {
    Fingerprint::of_bytes("it")
}

async fn claimed(once: &Idempotency, key: &str) -> Guard {
    match once.begin(key, &asked()).await.unwrap() {
        Begun::Claimed(guard) => guard,
        other => panic!("{other:?}"),
    }
}

/// What was known, and the answer where there is one.
fn told(was: &Withdrawn) -> String {
    match was {
        Withdrawn::Done(kept) => format!("done: {}", kept.answer::<String>().unwrap()),
        Withdrawn::Unseen => "unseen".to_owned(),
        Withdrawn::Unknown => "unknown".to_owned(),
    }
}

async fn withdrawn(once: &Idempotency, key: &str) -> String {
    told(&once.withdraw(key).await.unwrap())
}

/// Withdraws once nobody is at the work.
async fn withdrawn_at_last(once: &Idempotency, key: &str) -> String {
    soon(async {
        loop {
            match once.withdraw(key).await {
                Ok(was) => return told(&was),
                Err(WithdrawError::Running { .. }) => yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

/// What a forward call is told with its refusal.
async fn refused(once: &Idempotency, key: &str, asked: &Fingerprint) -> Effect {
    match once.begin(key, asked).await {
        Err(BeginError::Withdrawn { effect }) => effect,
        other => panic!("it is not refused: {other:?}"),
    }
}

/// SAG-4: a key that was withdrawn before its work came is refused when it comes, whatever is asked for with it.
#[tokio::test]
async fn a_late_forward_call_is_refused() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        for _ in 0..2 {
            assert_eq!(withdrawn(&once, "key").await, "unseen", "{}", ground.name);
            for asked in [asked(), Fingerprint::of_bytes("other")] {
                let effect = refused(&once, "key", &asked).await;
                assert_eq!(effect, Effect::NotExecuted, "{}", ground.name);
            }
        }
        assert_eq!(ground.keys().await, 1, "{}", ground.name);
        drop(claimed(&once, "another").await);
    }
}

/// SAG-4: of work that was done the undo gets the answer, each time that it asks; a late repeat is refused, not replayed.
#[tokio::test]
async fn what_was_done_is_told_to_the_undo_only() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        claimed(&once, "key").await.finish(&"seat 7").await.unwrap();
        for _ in 0..2 {
            assert_eq!(
                withdrawn(&once, "key").await,
                "done: seat 7",
                "{}",
                ground.name
            );
            // It was done, and may be undone by now.
            let effect = refused(&once, "key", &asked()).await;
            assert_eq!(effect, Effect::Unknown, "{}", ground.name);
        }
    }
}

/// SAG-4: work that was refused is unseen, and work whose end nobody knows is unknown.
#[tokio::test]
async fn what_was_freed_and_what_was_left_open() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        claimed(&once, "freed").await.free().await.unwrap();
        assert_eq!(withdrawn(&once, "freed").await, "unseen", "{}", ground.name);

        claimed(&once, "open").await.leave_open().await.unwrap();
        for _ in 0..2 {
            assert_eq!(withdrawn(&once, "open").await, "unknown", "{}", ground.name);
        }
        let effect = refused(&once, "open", &asked()).await;
        assert_eq!(effect, Effect::Unknown, "{}", ground.name);
    }
}

/// SAG-4: work whose owner lives is not withdrawn under its hands; the undo is told when to come back.
#[tokio::test]
async fn work_that_runs_is_waited_for() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        let guard = claimed(&once, "key").await;
        let error = once.withdraw("key").await.unwrap_err();
        assert!(
            matches!(error, WithdrawError::Running { retry_after } if retry_after == Duration::from_secs(1)),
            "{error}"
        );
        guard.finish(&"done").await.unwrap();
        assert_eq!(
            withdrawn(&once, "key").await,
            "done: done",
            "{}",
            ground.name
        );
    }
}

/// SAG-4: work whose owner was silent for too long is withdrawn, with its end unknown; the owner's late commit is refused
/// with all that goes with it, and it can neither free the key nor give it up.
#[tokio::test]
async fn a_silent_owner_is_withdrawn() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        let mut guards = Vec::new();
        for key in ["finish", "free", "leave"] {
            guards.push(claimed(&once, key).await);
        }
        ground.clock.advance(A_MINUTE);
        for key in ["finish", "free", "leave"] {
            assert_eq!(withdrawn(&once, key).await, "unknown", "{}", ground.name);
        }
        let [finish, free, leave] = guards.try_into().unwrap();
        let batch = Batch::new().append("charges", Append::new(Event::new("charged", "")));
        let late = finish.answer_in(batch, &"late").unwrap();
        let error = ground.store.commit(late).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict(_)), "{error}");
        let events = ground.store.read("charges", Version::START, 1).await;
        assert_eq!(events.unwrap().len(), 0, "{}", ground.name);

        let error = finish.finish(&"late").await.unwrap_err();
        assert!(matches!(error, FinishError::TakenOver), "{error}");
        free.free().await.unwrap();
        leave.leave_open().await.unwrap();
        for key in ["finish", "free", "leave"] {
            refused(&once, key, &asked()).await;
            assert_eq!(withdrawn(&once, key).await, "unknown", "{}", ground.name);
        }
    }
}

/// SAG-4: an owner that lives on after its key was withdrawn is told, and does not put its run back.
#[tokio::test]
async fn a_withdrawn_owner_is_told() {
    for ground in Ground::each().await {
        let builder = Idempotency::builder(ground.store.clone()).allow_volatile();
        let once = builder.take_over_after(Duration::from_millis(100));
        let once = once.build().unwrap();
        let guard = claimed(&once, "key").await;
        let was = soon(async {
            loop {
                ground.clock.advance(A_MINUTE);
                match once.withdraw("key").await {
                    Ok(was) => return told(&was),
                    // It has put its run back just before.
                    Err(WithdrawError::Running { .. }) => yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        assert_eq!(was.await, "unknown", "{}", ground.name);
        soon(guard.lost()).await;
        assert_eq!(ground.runs().await, 0, "{}", ground.name);
    }
}

/// SAG-4: wherever a withdrawal comes between the steps of the forward call, the call is done and the undo is told, or it is
/// refused and the undo is told that there is nothing.
#[tokio::test]
async fn one_commit_decides_between_work_and_undo() {
    let ground = Ground::memory();
    let once = once(&ground.store);
    let mut seen = [0, 0];
    for yields in 0..60 {
        let key = format!("key {yields}");
        let forward = tokio::spawn({
            let (once, key) = (once.clone(), key.clone());
            async move { do_it(&once, &key).await }
        });
        for _ in 0..yields {
            yield_now().await;
        }
        let was = withdrawn_at_last(&once, &key).await;
        let done = forward.await.unwrap();
        let due = if done { "done: done" } else { "unseen" };
        assert_eq!(was, due, "after {yields} steps");
        refused(&once, &key, &asked()).await;
        seen[usize::from(done)] += 1;
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
}

/// Whether the work was done, and not refused.
async fn do_it(once: &Idempotency, key: &str) -> bool {
    match once.begin(key, &asked()).await {
        Ok(Begun::Claimed(guard)) => {
            yield_now().await;
            guard.finish(&"done").await.unwrap();
            true
        }
        // By another of those who come at once.
        Ok(Begun::Finished(_) | Begun::Running { .. }) => true,
        Err(BeginError::Withdrawn { .. }) => false,
        other => panic!("{other:?}"),
    }
}

/// SAG-4: of any number of calls and undos at once all undos are told the same: done if a call was done, else unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_undos_are_told_the_same() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        for round in 0..20 {
            let key = format!("key {round}");
            let (mut calls, mut undos) = (JoinSet::new(), JoinSet::new());
            for _ in 0..5 {
                let (once, key) = (once.clone(), key.clone());
                calls.spawn(async move { do_it(&once, &key).await });
            }
            for _ in 0..5 {
                let (once, key) = (once.clone(), key.clone());
                undos.spawn(async move { withdrawn_at_last(&once, &key).await });
            }
            let any_done = soon(calls.join_all()).await.contains(&true);
            let due = if any_done { "done: done" } else { "unseen" };
            let told = soon(undos.join_all()).await;
            assert!(told.iter().all(|was| was == due), "{due}: {told:?}");
            refused(&once, &key, &asked()).await;
        }
    }
}

/// SAG-4: whoever leaves while he withdraws can do so again, and is told the same.
#[tokio::test]
async fn whoever_leaves_can_withdraw_again() {
    for ground in Ground::each().await {
        let once = once(&ground.store);
        for polls in 0..24 {
            let key = format!("key {polls}");
            claimed(&once, &key).await.finish(&"done").await.unwrap();
            leave_after(polls, once.withdraw(key.as_str())).await;
            assert_eq!(
                withdrawn(&once, &key).await,
                "done: done",
                "{}",
                ground.name
            );
        }
    }
}

/// SAG-4: a tombstone is there after a restart, and what it says.
#[tokio::test]
async fn a_tombstone_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at(START);
    let open = async || {
        let options = SqliteOptions::new().clock(clock.clone());
        let store = options.open(folder.path().join("store.db")).await.unwrap();
        Idempotency::new(store.store()).unwrap()
    };
    let first = open().await;
    claimed(&first, "done").await.finish(&"done").await.unwrap();
    // Its process does not end it.
    let left = claimed(&first, "stalled").await;
    for key in ["done", "unseen"] {
        first.withdraw(key).await.unwrap();
    }
    drop(first);
    let again = open().await;
    clock.advance(A_MINUTE);
    for (key, was) in [
        ("done", "done: done"),
        ("unseen", "unseen"),
        ("stalled", "unknown"),
    ] {
        assert_eq!(withdrawn(&again, key).await, was);
        refused(&again, key, &asked()).await;
    }
    assert!(left.finish(&"late").await.is_err());
}

/// SAG-4: a tombstone is kept for the retention from when it was left, then it is swept and the key is as good as new.
#[tokio::test]
async fn a_tombstone_is_kept_for_the_retention() {
    let day = Duration::from_hours(24);
    for ground in Ground::each().await {
        let once = once(&ground.store);
        claimed(&once, "key").await.finish(&"done").await.unwrap();
        ground.clock.advance(day / 2);
        once.withdraw("key").await.unwrap();
        ground
            .clock
            .advance(Duration::from_millis(24 * 3_600_000 - 1));
        refused(&once, "key", &asked()).await;
        // Withdrawing again keeps it no longer.
        assert_eq!(
            withdrawn(&once, "key").await,
            "done: done",
            "{}",
            ground.name
        );
        ground.clock.advance(Duration::from_millis(1));
        ground.store.sweep().await.unwrap();
        assert_eq!(ground.keys().await, 0, "{}", ground.name);
        drop(claimed(&once, "key").await);
    }
}

/// SAG-4: what a newer version has written is not withdrawn.
#[tokio::test]
async fn an_unknown_version_is_not_withdrawn() {
    let ground = Ground::memory();
    let once = once(&ground.store);
    once.withdraw("key").await.unwrap();
    let record = &ground.store.list("", "", 1).await.unwrap()[0];
    let batch = Batch::new().put(&record.key, Put::new(r#"{"version":2}"#));
    ground.store.commit(batch).await.unwrap();
    let error = once.withdraw("key").await.unwrap_err();
    assert!(
        matches!(
            error,
            WithdrawError::Kept(KeptError::Version { version: 2 })
        ),
        "{error}"
    );
}
