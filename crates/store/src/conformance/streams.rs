use std::time::Duration;

use super::{Subject, event};
use crate::{Append, Batch, CommitError, Conflict, Event, Expected, Position, Version};

/// STO-1: an append happens at the version it expects, and a conflict says where the stream is.
pub async fn an_expected_version_is_held_against_the_stream(subject: &dyn Subject) {
    let store = subject.open().await;
    let append = |expected: Expected<Version>| {
        Batch::new().append("stream", Append::new(event(0)).expecting(expected))
    };
    let exactly = |version| Expected::Exactly(Version::new(version));
    let steps = [
        (exactly(1), false),
        (Expected::Absent, true),
        (Expected::Absent, false),
        (exactly(0), false),
        (exactly(1), true),
        (exactly(1), false),
        (Expected::Any, true),
        (exactly(4), false),
    ];
    let mut length = 0;
    for (expected, passes) in steps {
        let committed = store.commit(append(expected)).await;
        if passes {
            length += 1;
            let version = committed.expect("as expected").version("stream");
            assert_eq!(version, Some(Version::new(length)));
        } else {
            let conflict = Conflict::Stream {
                stream: "stream".to_owned(),
                expected,
                actual: Version::new(length),
            };
            assert_eq!(committed, Err(CommitError::Conflict(conflict)));
        }
    }
}

/// What was appended is read back as it was given, page by page.
pub async fn a_stream_is_read_in_pages(subject: &dyn Subject) {
    let store = subject.open().await;
    let given: Vec<Event> = (0..10_u8)
        .map(|number| {
            Event::new(format!("kind {number} \u{1f980}"), vec![number, 0, 255])
                .metadata(vec![number; usize::from(number)])
        })
        .collect();
    store
        .commit(Batch::new().append("stream", given.clone()))
        .await
        .expect("a commit");
    store
        .commit(Batch::new().append("other", event(1)))
        .await
        .expect("a commit");
    let (mut after, mut read) = (Version::START, Vec::new());
    loop {
        let page = store.read("stream", after, 4).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        after = last.version;
        read.extend(page);
    }
    assert_eq!(read.len(), given.len());
    for (number, (read, given)) in read.iter().zip(&given).enumerate() {
        assert_eq!(read.version.get(), number as u64 + 1);
        assert_eq!((&read.kind, &read.data), (&given.kind, &given.data));
        assert_eq!(read.metadata, given.metadata);
        assert_eq!((read.stream.as_str(), read.at), ("stream", super::START));
    }
    assert_eq!(store.read("absent", Version::START, 4).await, Ok(vec![]));
}

/// STO-4: all streams together have one order, that of their commits.
pub async fn all_streams_are_read_in_one_order(subject: &dyn Subject) {
    let store = subject.open().await;
    let mut ends = Vec::new();
    for number in 0..10 {
        let stream = format!("stream-{}", number % 3);
        let batch = Batch::new()
            .put("key", number.to_string())
            .append(stream, vec![event(number), event(number)])
            .append("same", event(number));
        ends.push(store.commit(batch).await.expect("a commit").position);
    }
    let all = store.read_all(Position::START, 1_000).await;
    let all = all.expect("a read");
    let numbers: Vec<_> = all.iter().map(|event| event.data.clone()).collect();
    let due: Vec<_> = (0..10).flat_map(|n| vec![n.to_string(); 3]).collect();
    assert_eq!(numbers, due);
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
    let last_of_each = all.chunks(3).map(|commit| commit[2].position);
    assert_eq!(last_of_each.collect::<Vec<_>>(), ends);
    let rest = store.read_all(ends[7], 1_000).await.expect("a read");
    assert_eq!(rest, all[24..]);
    let page = store.read_all(ends[7], 2).await.expect("a read");
    assert_eq!(page, all[24..26]);
}

/// STO-5: a tail hands out what is there, then waits for what another handle commits.
pub async fn a_tail_waits_for_what_comes(subject: &dyn Subject) {
    let (store, other) = (subject.open().await, subject.open().await);
    for number in 0..3 {
        let batch = Batch::new().append("stream", event(number));
        store.commit(batch).await.expect("a commit");
    }
    let mut tail = other.tail(Position::START);
    let there = tail.next().await.expect("events");
    assert_eq!(there.len(), 3);
    assert_eq!(tail.position(), there[2].position);
    let coming = tokio::spawn(async move { tail.next().await });
    let batch = Batch::new().append("stream", event("late"));
    let commit = store.commit(batch).await.expect("a commit");
    let came = coming.await.expect("no panic").expect("events");
    assert_eq!(came.len(), 1);
    assert_eq!(came[0].position, commit.position);
}

/// STO-5: a reader can wait for a write it was told of.
pub async fn a_position_can_be_waited_for(subject: &dyn Subject) {
    let (store, other) = (subject.open().await, subject.open().await);
    let soon = Position::new(1);
    assert_eq!(other.wait_for(soon, Duration::ZERO).await, Ok(false));
    let waiting = tokio::spawn(async move { other.wait_for(soon, Duration::from_secs(60)).await });
    let commit = store.commit(Batch::new().append("stream", event(1))).await;
    assert_eq!(commit.expect("a commit").position, soon);
    assert_eq!(waiting.await.expect("no panic"), Ok(true));
    let soon = store.wait_for(soon, Duration::MAX).await;
    assert_eq!(soon, Ok(true));
}
