use std::time::Duration;

use super::Subject;
use crate::{Batch, BatchId, CommitError, Expected, Owner, Position, Put, Version};

const TTL: Duration = Duration::from_secs(10);

/// A value is there until its time, and then it is not, for reads and for expectations.
pub async fn a_key_expires_by_the_stores_clock(subject: &dyn Subject) {
    let store = subject.open().await;
    let clock = subject.clock();
    let short = || {
        Put::new("value")
            .expires_after(TTL)
            .expecting(Expected::Absent)
    };
    let batch = Batch::new().put("k/short", short()).put("k/long", "value");
    let commit = store.commit(batch).await.expect("a commit");
    let listed = || async { store.list("k/", "", 10).await.expect("a list").len() };
    clock.set(super::START.plus(TTL).minus(Duration::from_millis(1)));
    let there = store.get("k/short").await.expect("a read").expect("a key");
    assert_eq!(there.expires_at, Some(super::START.plus(TTL)));
    assert_eq!(listed().await, 2);
    let refused = store.commit(Batch::new().put("k/short", short())).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict(_))),
        "{refused:?}"
    );

    clock.advance(Duration::from_millis(1));
    assert_eq!(store.get("k/short").await, Ok(None));
    assert_eq!(listed().await, 1);
    let revision = commit.revision("k/short").expect("it was put");
    let refused = store.commit(Batch::new().delete("k/short", revision)).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict(_))),
        "{refused:?}"
    );
    assert!(
        store
            .commit(Batch::new().put("k/short", short()))
            .await
            .is_ok()
    );
    assert_eq!(listed().await, 2);
    clock.advance(TTL * 1_000);
    assert_eq!(listed().await, 1, "without a time it stays");
}

/// A value that was swept is told to watchers as gone.
pub async fn an_expired_key_is_told_to_watchers(subject: &dyn Subject) {
    let store = subject.open().await;
    let put = Batch::new()
        .put("short", Put::new("value").expires_after(TTL))
        .put("long", "value");
    let commit = store.commit(put).await.expect("a commit");
    assert_eq!(store.sweep().await, Ok(0));
    subject.clock().advance(TTL);
    assert_eq!(store.sweep().await, Ok(1));
    assert_eq!(store.sweep().await, Ok(0));
    let put = Batch::new().put("short", Put::new("again").expires_after(TTL));
    let again = store.commit(put).await.expect("a commit");
    assert_eq!(store.expire().await, Ok(()));
    assert_eq!(store.head().await, Ok(again.position));
    subject.clock().advance(TTL);
    assert_eq!(store.expire().await, Ok(()));
    assert!(store.head().await.expect("a head") > again.position);
    let mut watch = store.watch("", commit.position);
    let changes = watch.next().await.expect("a change");
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].key.as_str(), &changes[0].value),
        ("short", &None)
    );
    assert!(changes[0].revision > commit.position);
    let mut from_start = store.watch("", Position::START);
    let changes = from_start.next().await.expect("changes");
    let keys: Vec<_> = changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["long", "short"]);
}

/// STO-7: when the machine's clock is set back, nothing is given more time than it had.
pub async fn the_stores_clock_does_not_go_back(subject: &dyn Subject) {
    let store = subject.open().await;
    let clock = subject.clock();
    let claim = store.claim("job", Owner::new(), TTL).await.expect("free");
    let put = Batch::new().put("key", Put::new("value").expires_after(TTL));
    store.commit(put).await.expect("a commit");
    clock.advance(TTL);
    store
        .commit(Batch::new().put("other", "value"))
        .await
        .expect("a commit");
    clock.set(super::START);
    assert_eq!(store.holder("job").await, Ok(None));
    assert_eq!(store.get("key").await, Ok(None));
    assert!(store.renew(&claim, TTL).await.is_err());
    let next = store.claim("job", Owner::new(), TTL).await.expect("free");
    assert_eq!(next.expires_at, super::START.plus(TTL).plus(TTL));
}

/// STO-1, STO-7: a clock that was wrong once and is right again holds nothing up: time goes on from what was seen, and a
/// commit of now is remembered.
pub async fn a_clock_that_was_wrong_holds_nothing_up(subject: &dyn Subject) {
    let store = subject.open().await;
    let clock = subject.clock();
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    clock.set(super::START.plus(month));
    let claim = store.claim("job", Owner::new(), TTL).await.expect("free");
    let put = Batch::new().put("key", Put::new("value").expires_after(TTL));
    store.commit(put).await.expect("a commit");
    clock.set(super::START);
    assert_eq!(store.holder("job").await, Ok(Some(claim)));
    assert!(store.get("key").await.is_ok_and(|key| key.is_some()));
    clock.advance(TTL);
    assert_eq!(store.holder("job").await, Ok(None));
    assert_eq!(store.get("key").await, Ok(None));
    let next = store.claim("job", Owner::new(), TTL).await.expect("free");
    assert_eq!(next.epoch, 2);

    // Ids begin with the time of the machine on which they are made, which is right again.
    let mut id = *BatchId::new().as_bytes();
    id[..6].copy_from_slice(&clock.now().as_millis().to_be_bytes()[2..]);
    let event = Batch::new().append("stream", super::event("once"));
    let event = event.with_id(BatchId::from_bytes(id));
    store.commit(event.clone()).await.expect("a commit");
    store.sweep().await.expect("a sweep");
    store.commit(event).await.expect("it is found");
    let events = store.read("stream", Version::START, 10).await;
    assert_eq!(events.expect("a read").len(), 1);
}

/// STO-7: what was seen to be over does not come back when the clock is set back, also without a commit in between.
pub async fn what_has_expired_stays_so(subject: &dyn Subject) {
    let store = subject.open().await;
    let clock = subject.clock();
    let put = Batch::new().put("key", Put::new("value").expires_after(TTL));
    store.commit(put).await.expect("a commit");
    let claim = store.claim("job", Owner::new(), TTL).await.expect("free");
    clock.advance(TTL);
    assert_eq!(store.get("key").await, Ok(None));
    assert_eq!(store.holder("job").await, Ok(None));
    clock.set(super::START);
    assert_eq!(store.get("key").await, Ok(None));
    assert_eq!(store.holder("job").await, Ok(None));
    assert!(store.renew(&claim, TTL).await.is_err());
}
