use std::collections::HashMap;

use tokio::task::JoinSet;

use super::{Subject, event};
use crate::{Append, Batch, CommitError, Expected, Position, Put, Version};

const WRITERS: usize = 8;
const EACH: usize = 25;

/// STO-1: of those who read the same revision one writes, so no increment is lost.
pub async fn no_increment_is_lost(subject: &dyn Subject) {
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let store = subject.open().await;
        writers.spawn(async move {
            let mut done = 0;
            // Somebody always gets through, so all are done after this many rounds.
            for _ in 0..WRITERS * EACH {
                let found = store.get("count").await.expect("a read");
                let count = found.as_ref().map_or(0, |entry| {
                    String::from_utf8_lossy(&entry.value)
                        .parse::<usize>()
                        .expect("a number")
                });
                let expected = found.map_or(Expected::Absent, |entry| entry.revision.into());
                let put = Put::new((count + 1).to_string()).expecting(expected);
                match store.commit(Batch::new().put("count", put)).await {
                    Ok(_) => done += 1,
                    Err(CommitError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                if done == EACH {
                    break;
                }
            }
            done
        });
    }
    let done: usize = writers.join_all().await.into_iter().sum();
    let store = subject.open().await;
    let count = store.get("count").await.expect("a read").expect("the key");
    assert_eq!(count.value, done.to_string());
    assert!(done >= EACH, "nobody got through");
}

/// STO-3: among many who commit at once, those with a conflict fail and the others do not.
pub async fn one_bad_batch_fails_alone(subject: &dyn Subject) {
    let store = subject.open().await;
    let mut writers = JoinSet::new();
    for number in 0..60_u64 {
        let store = store.clone();
        writers.spawn(async move {
            let good = number % 3 != 0;
            let expected = if good {
                Expected::Absent
            } else {
                Expected::Exactly(Version::new(99))
            };
            let batch = Batch::new()
                .put(format!("k/{number:02}"), "value")
                .append("shared", event(number))
                .append(
                    format!("s-{number}"),
                    Append::new(event(number)).expecting(expected),
                );
            (good, store.commit(batch).await)
        });
    }
    let answers = writers.join_all().await;
    for (good, answer) in &answers {
        assert_eq!(answer.is_ok(), *good, "{answer:?}");
    }
    let good = answers.iter().filter(|(good, _)| *good).count();
    let keys = store.list("k/", "", 100).await.expect("a list");
    assert_eq!(keys.len(), good);
    let shared = store.read("shared", Version::START, 100).await;
    let versions: Vec<u64> = shared
        .expect("a read")
        .iter()
        .map(|event| event.version.get())
        .collect();
    assert_eq!(versions, (1..=good as u64).collect::<Vec<_>>());
}

/// STO-4: a reader who follows while many write gets every event once, in the order in which all get them.
pub async fn readers_miss_nothing_while_many_write(subject: &dyn Subject) {
    let mut readers = JoinSet::new();
    for _ in 0..2 {
        let store = subject.open().await;
        readers.spawn(async move {
            let mut tail = store.tail(Position::START);
            let mut seen = Vec::new();
            while seen.len() < WRITERS * EACH * 2 {
                seen.extend(tail.next().await.expect("events"));
            }
            seen
        });
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = subject.open().await;
        writers.spawn(async move {
            for number in 0..EACH {
                let batch = Batch::new()
                    .append(format!("own-{writer}"), event(number))
                    .put(format!("k/{writer}"), number.to_string())
                    .append("shared", event(format!("{writer} {number}")));
                store.commit(batch).await.expect("a commit");
            }
        });
    }
    writers.join_all().await;
    let store = subject.open().await;
    let all = store.read_all(Position::START, 10_000).await;
    let all = all.expect("a read");
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
    let mut versions: HashMap<&str, u64> = HashMap::new();
    for event in &all {
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        assert_eq!(event.version.get(), *version, "{}", event.stream);
    }
    for seen in readers.join_all().await {
        assert_eq!(seen, all);
    }
}
