use super::{Subject, event};
use crate::{Append, Batch, CommitError, Expected, Fence, Position, Put, Version};

/// STO-1: what one change of a batch breaks, all of it does not happen.
pub async fn a_batch_is_all_or_nothing(subject: &dyn Subject) {
    let store = subject.open().await;
    store
        .commit(Batch::new().append("taken", event(1)).put("kept", "old"))
        .await
        .expect("nothing is in the way");
    let before = store.head().await.expect("the head");
    let batch = Batch::new()
        .fenced(Fence::new("fence", 7))
        .append("new", vec![event(1), event(2)])
        .put("kept", "new")
        .put("more", "new")
        .delete("kept", Expected::Any)
        .append("taken", Append::new(event(2)).expecting(Expected::Absent));
    let id = batch.id();
    let refused = store.commit(batch).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(store.head().await, Ok(before));
    assert_eq!(store.find(id).await, Ok(None));
    let kept = store.get("kept").await.expect("a read").expect("the key");
    assert_eq!(&kept.value[..], b"old");
    assert_eq!(store.get("more").await, Ok(None));
    assert_eq!(store.read("new", Version::START, 10).await, Ok(Vec::new()));
    let lower = Batch::new().fenced(Fence::new("fence", 1)).put("a", "b");
    assert!(store.commit(lower).await.is_ok(), "the fence was raised");
}

/// STO-1: a batch is found by its id, and committed once however often it is tried.
pub async fn a_lost_answer_is_found_again(subject: &dyn Subject) {
    let (store, other) = (subject.open().await, subject.open().await);
    let batch = Batch::new()
        .append("stream", vec![event(1), event(2)])
        .append("other", event(3))
        .put("key", "value")
        .put("gone", "value");
    assert_eq!(store.find(batch.id()).await, Ok(None));
    let first = store.commit(batch.clone()).await.expect("a commit");
    assert_eq!(first.version("stream"), Some(Version::new(2)));
    assert_eq!(first.version("other"), Some(Version::new(1)));
    assert_eq!(first.version("key"), None);
    assert_eq!(first.revision("gone"), Some(first.position));
    assert_eq!(other.find(batch.id()).await, Ok(Some(first.clone())));
    assert_eq!(other.commit(batch.clone()).await, Ok(first.clone()));

    let gone = Batch::new()
        .delete("gone", first.revision("gone").expect("it was put"))
        .append("stream", event(4));
    store.commit(gone).await.expect("a commit");
    let again = store.commit(batch.clone()).await.expect("a commit");
    assert_eq!((again.id, again.position), (first.id, first.position));
    assert_eq!(again.version("stream"), Some(Version::new(2)));
    assert_eq!(again.revision("key"), first.revision("key"));
    assert_eq!(store.get("gone").await, Ok(None), "it was put twice");
    let events = store.read("stream", Version::START, 10).await;
    assert_eq!(events.expect("a read").len(), 3);
}

/// STO-1: a batch without changes is a commit at the head.
pub async fn a_batch_without_changes_is_committed(subject: &dyn Subject) {
    let store = subject.open().await;
    let nothing = store.commit(Batch::new()).await.expect("a commit");
    assert_eq!(nothing.position, Position::START);
    let put = store.commit(Batch::new().put("key", "value")).await;
    let put = put.expect("a commit");
    assert!(put.position > Position::START);
    let gone = Batch::new().delete("absent", Expected::Any);
    let gone = store.commit(gone).await.expect("a commit");
    assert_eq!(gone.position, put.position);
    assert_eq!(store.find(gone.id).await, Ok(Some(gone)));
}

/// STO-6: the highest token of a name is kept; an equal one passes, a lower one is refused.
pub async fn a_fence_refuses_lower_tokens(subject: &dyn Subject) {
    let (store, other) = (subject.open().await, subject.open().await);
    let write = |token| {
        Batch::new()
            .fenced(Fence::new("leader", token))
            .put("key", token.to_string())
    };
    for token in [1, 1, 5, 5] {
        assert!(store.commit(write(token)).await.is_ok(), "{token}");
    }
    let fenced = CommitError::Fenced {
        name: "leader".to_owned(),
        token: 4,
        highest: 5,
    };
    assert_eq!(other.commit(write(4)).await, Err(fenced));
    let elsewhere = Batch::new().fenced(Fence::new("another", 1));
    assert!(other.commit(elsewhere).await.is_ok());
    let key = other.get("key").await.expect("a read").expect("the key");
    assert_eq!(&key.value[..], b"5");
}

/// STO-6: the fence is raised in the same commit as the changes, or not at all.
pub async fn a_refused_batch_does_not_raise_its_fence(subject: &dyn Subject) {
    let store = subject.open().await;
    let put = || Put::new("value").expecting(Expected::Absent);
    let write = |token| {
        Batch::new()
            .fenced(Fence::new("leader", token))
            .put("key", put())
    };
    assert!(store.commit(write(1)).await.is_ok());
    let refused = store.commit(write(9)).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict(_))),
        "{refused:?}"
    );
    let lower = Batch::new().fenced(Fence::new("leader", 2));
    assert!(store.commit(lower).await.is_ok());
}

/// STO-2: what was acknowledged is there for whoever opens the storage next.
pub async fn all_is_there_after_a_restart(subject: &dyn Subject) {
    let store = subject.open().await;
    let batch = Batch::new()
        .fenced(Fence::new("leader", 3))
        .append("stream", event(1))
        .put("key", "value");
    let commit = store.commit(batch).await.expect("a commit");
    let (events, key) = (
        store.read_all(Position::START, 10).await,
        store.get("key").await,
    );
    drop(store);
    let store = subject.open().await;
    assert_eq!(store.head().await, Ok(commit.position));
    assert_eq!(store.find(commit.id).await, Ok(Some(commit)));
    assert_eq!(store.read_all(Position::START, 10).await, events);
    assert_eq!(store.get("key").await, key);
    let lower = Batch::new().fenced(Fence::new("leader", 2));
    assert!(matches!(
        store.commit(lower).await,
        Err(CommitError::Fenced { .. })
    ));
}
