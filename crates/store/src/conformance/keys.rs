use super::Subject;
use crate::{Batch, CommitError, Conflict, Expected, Position, Put};

/// STO-1: a put or delete happens at the revision it expects, and a conflict says which one the key has.
pub async fn an_expected_revision_is_held_against_the_key(subject: &dyn Subject) {
    let store = subject.open().await;
    let put = |value: &'static str, expected: Expected<Position>| {
        Batch::new().put("key", Put::new(value).expecting(expected))
    };
    let refused = store.commit(put("a", Position::new(1).into())).await;
    let conflict = |expected, actual| {
        Err(CommitError::Conflict(Conflict::Key {
            key: "key".to_owned(),
            expected,
            actual,
        }))
    };
    assert_eq!(refused, conflict(Expected::Exactly(Position::new(1)), None));
    let first = store.commit(put("b", Expected::Absent)).await;
    let first = first.expect("it is absent").revision("key");
    assert!(first.is_some());
    let refused = store.commit(put("c", Expected::Absent)).await;
    assert_eq!(refused, conflict(Expected::Absent, first));
    let at_first = Expected::Exactly(first.expect("a revision"));
    let second = store.commit(put("", at_first)).await;
    let second = second.expect("as expected").revision("key");
    assert!(second > first);
    let refused = store.commit(put("d", at_first)).await;
    assert_eq!(refused, conflict(at_first, second));
    let key = store.get("key").await.expect("a read").expect("the key");
    assert_eq!((&key.value[..], Some(key.revision)), (&b""[..], second));

    let refused = store.commit(Batch::new().delete("key", at_first)).await;
    assert_eq!(refused, conflict(at_first, second));
    let delete = Batch::new().delete("key", key.revision);
    assert!(store.commit(delete).await.is_ok());
    assert_eq!(store.get("key").await, Ok(None));
    let refused = Batch::new().delete("key", key.revision);
    assert_eq!(
        store.commit(refused).await,
        conflict(Expected::Exactly(key.revision), None)
    );
    assert!(store.commit(put("e", Expected::Absent)).await.is_ok());
}

/// The changes of a batch happen in their order.
pub async fn a_key_changed_twice_in_a_batch_has_its_last_value(subject: &dyn Subject) {
    let store = subject.open().await;
    let batch = Batch::new()
        .put("twice", "first")
        .put("gone", "first")
        .put("twice", "second")
        .delete("gone", Expected::Any);
    let commit = store.commit(batch).await.expect("a commit");
    let twice = store.get("twice").await.expect("a read").expect("the key");
    assert_eq!(&twice.value[..], b"second");
    assert_eq!(commit.revision("twice"), Some(twice.revision));
    assert_eq!(store.get("gone").await, Ok(None));
    assert_eq!(commit.revision("gone"), None);
}

/// STO-1: a batch may expect a key that it leaves alone: it is refused if the key has changed, and is no change of it.
pub async fn a_key_that_is_not_changed_can_be_a_condition(subject: &dyn Subject) {
    let store = subject.open().await;
    let absent = store.commit(Batch::new().expecting("key", Expected::Absent));
    assert_eq!(absent.await.expect("a commit").position, Position::START);
    let first = store.commit(Batch::new().put("key", "first")).await;
    let first = first.expect("a commit");
    let at_first = first.revision("key").expect("it was put");

    let only = store.commit(Batch::new().expecting("key", at_first)).await;
    let only = only.expect("as expected");
    assert_eq!(
        (only.position, only.revision("key")),
        (first.position, None)
    );
    assert_eq!(store.find(only.id).await, Ok(Some(only)));
    let other = |expected: Expected<Position>| {
        Batch::new()
            .put("before", "value")
            .expecting("key", expected)
            .put("after", "value")
    };
    let put = store.commit(other(at_first.into())).await;
    assert!(put.expect("as expected").position > first.position);
    let key = store.get("key").await.expect("a read").expect("the key");
    assert_eq!((&key.value[..], key.revision), (&b"first"[..], at_first));

    let second = store.commit(Batch::new().put("key", "second")).await;
    let second = second.expect("a commit");
    let gone = Batch::new().delete("before", Expected::Any);
    let gone = store.commit(gone).await.expect("a commit");
    for (expected, actual) in [
        (at_first.into(), second.revision("key")),
        (Expected::Absent, second.revision("key")),
    ] {
        let conflict = CommitError::Conflict(Conflict::Key {
            key: "key".to_owned(),
            expected,
            actual,
        });
        assert_eq!(store.commit(other(expected)).await, Err(conflict));
    }
    assert_eq!(store.get("before").await, Ok(None));
    assert_eq!(store.head().await, Ok(gone.position));
    let huge = Batch::new().expecting("key", Position::new(u64::MAX));
    let refused = store.commit(huge).await;
    assert!(
        matches!(&refused, Err(CommitError::Invalid(invalid)) if invalid.field == r#"expected revision of key "key""#),
        "{refused:?}"
    );
    // What the batch itself has done before it counts.
    let own = Batch::new()
        .delete("key", Expected::Any)
        .expecting("key", Expected::Absent);
    assert!(store.commit(own).await.is_ok());
}

/// Keys are listed in the order of their bytes, and a prefix is taken as it stands.
pub async fn keys_are_listed_by_prefix_in_pages(subject: &dyn Subject) {
    let store = subject.open().await;
    let keys = [
        "a",
        "a%",
        "a%b",
        "a_",
        "a_/1",
        "aa",
        "ab",
        "b",
        "\u{e9}",
        "\u{e9}t\u{e9}",
        "\u{1f980}",
    ];
    let batch = keys
        .iter()
        .rev()
        .fold(Batch::new(), |batch, key| batch.put(*key, *key));
    store.commit(batch).await.expect("a commit");
    for prefix in ["", "a", "a%", "a_", "A", "\u{e9}", "\u{1f980}", "z"] {
        let due: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        let (mut after, mut listed) = (String::new(), Vec::new());
        loop {
            let page = store.list(prefix, &after, 2).await.expect("a page");
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 2);
            after.clone_from(&last.key);
            listed.extend(page.into_iter().map(|entry| entry.key));
        }
        assert_eq!(
            listed,
            due.iter().map(|key| **key).collect::<Vec<_>>(),
            "{prefix}"
        );
    }
}

/// STO-5: a watch tells each key that changed, with its newest value, in the order of the changes.
pub async fn a_watch_tells_the_newest_change_of_each_key(subject: &dyn Subject) {
    let (store, other) = (subject.open().await, subject.open().await);
    for batch in [
        Batch::new()
            .put("k/1", "old")
            .put("k/2", "kept")
            .put("x", "other"),
        Batch::new().put("k/3", "gone").put("k/1", "new"),
        Batch::new().delete("k/3", Expected::Any),
    ] {
        store.commit(batch).await.expect("a commit");
    }
    let mut watch = other.watch("k/", Position::START);
    let told = |changes: Vec<crate::Change>| {
        assert!(changes.is_sorted_by(|a, b| a.revision < b.revision));
        changes
            .into_iter()
            .map(|change| (change.key, change.value.map(|value| value.to_vec())))
            .collect::<Vec<_>>()
    };
    let due = |key: &str, value: Option<&str>| {
        (key.to_owned(), value.map(|value| value.as_bytes().to_vec()))
    };
    assert_eq!(
        told(watch.next().await.expect("changes")),
        [
            due("k/2", Some("kept")),
            due("k/1", Some("new")),
            due("k/3", None)
        ]
    );
    let coming = tokio::spawn(async move { watch.next().await });
    let late = Batch::new().put("x", "again").put("k/4", "late");
    store.commit(late).await.expect("a commit");
    let came = coming.await.expect("no panic").expect("changes");
    assert_eq!(told(came), [due("k/4", Some("late"))]);
}

/// STO-5: a watch of keys that do not change goes on, also when deletions of others are forgotten.
pub async fn a_quiet_watch_forgets_nothing(subject: &dyn Subject) {
    let store = subject.open().await;
    let commit = store.commit(Batch::new().put("quiet/key", "one")).await;
    let mut watch = store.watch("quiet/", commit.expect("a commit").position);
    let other = Batch::new().put("other", "value");
    store.commit(other).await.expect("a commit");
    let other = Batch::new().delete("other", Expected::Any);
    let gone = store.commit(other).await.expect("a commit").position;
    // It looks, and finds nothing of its own.
    let short = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(short, watch.next()).await.is_err());
    assert_eq!(watch.position(), gone);
    // Longer than deletions are remembered.
    subject
        .clock()
        .advance(std::time::Duration::from_secs(3 * 24 * 60 * 60));
    store.sweep().await.expect("a sweep");
    let put = Batch::new().put("quiet/key", "two");
    store.commit(put).await.expect("a commit");
    let changes = watch.next().await.expect("nothing of it is forgotten");
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].value.as_deref(), Some(&b"two"[..]));
}
