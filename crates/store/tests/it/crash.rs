//! A process that commits is killed; what it was told stands.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use backstay_store::{Batch, Event, Position, SqliteStore, Version};
use tokio::task::JoinSet;

const FILE: &str = "BACKSTAY_TEST_CRASH_FILE";
const WRITERS: usize = 16;

/// Killed when the test ends, however it ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the child runs: many who commit at once, each telling what was acknowledged.
#[test]
fn child() {
    let Ok(file) = std::env::var(FILE) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open(file).await.expect("a store").store();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            writers.spawn(async move {
                // Bounded, in case nobody kills it.
                for _ in 0..2_000 {
                    let batch = Batch::new()
                        .append(format!("own-{writer}"), Event::new("written", ""))
                        .append("shared", Event::new("written", writer.to_string()))
                        .put(format!("k/{writer}"), writer.to_string());
                    let commit = store.commit(batch).await.expect("a commit");
                    println!("ack {}", commit.position);
                }
            });
        }
        writers.join_all().await;
    });
}

/// STO-2: what was acknowledged before `kill -9` is there afterwards, and no batch is there in part.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    let mut after = Position::START;
    for round in 0..25_usize {
        let mut child = Started(
            Command::new(std::env::current_exe().expect("this test"))
                .args(["crash::child", "--exact", "--nocapture"])
                .env(FILE, &file)
                .stdout(Stdio::piped())
                .spawn()
                .expect("a child"),
        );
        let lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
        let acks = lines.filter_map(|line| {
            let number = line.ok()?.strip_prefix("ack ")?.parse().ok()?;
            Some(Position::new(number))
        });
        // Another moment each round; what it has said by the time it is dead counts too.
        let mut last = Position::START;
        for (number, position) in acks.enumerate() {
            last = last.max(position);
            if number == 3 + round * 7 {
                child.0.kill().expect("it runs");
            }
        }
        assert!(last > after, "round {round}: nothing was acknowledged");

        let store = SqliteStore::open(&file).await.expect("it opens");
        assert_eq!(store.check().await, Ok(Vec::new()), "round {round}");
        assert!(store.head().await.expect("the head") >= last);
        after = whole(&store, after, last).await;
    }
}

/// Every batch after a position is there with all its parts; at least up to `last`.
async fn whole(store: &SqliteStore, after: Position, last: Position) -> Position {
    let mut at = after;
    loop {
        let page = store.read_all(at, 10_000).await.expect("a page");
        if page.is_empty() {
            break;
        }
        // Each batch has two events, one after the other, then a key.
        for batch in page.chunks(2) {
            let [own, shared] = batch else {
                panic!("half a batch at {at}");
            };
            assert_eq!(
                own.stream,
                format!("own-{}", String::from_utf8_lossy(&shared.data))
            );
            assert_eq!(shared.stream, "shared");
            assert_eq!(shared.position.get(), own.position.get() + 1);
            at = shared.position;
        }
    }
    // The last change of all is that of a key.
    let head = store.head().await.expect("the head");
    assert_eq!(head.get(), at.get() + 1);
    assert!(head >= last);
    let newest = store.list("k/", "", 100).await.expect("keys");
    assert!(newest.iter().any(|entry| entry.revision == head));
    for writer in 0..WRITERS {
        let stream = format!("own-{writer}");
        let events = store.read(&stream, Version::START, 10_000).await;
        let dense = events
            .expect("a read")
            .iter()
            .enumerate()
            .all(|(place, event)| event.version.get() == place as u64 + 1);
        assert!(dense, "{stream}");
    }
    at
}
