//! STO-2: a server of its own that is killed in the middle of its work.

use backstay_store::{Append, Batch, CommitError, Effect, Event, Position, PostgresStore, Version};
use test_servers::OwnServer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::server::open;

const WRITERS: usize = 8;
/// Then the server is killed.
const ACKNOWLEDGED: usize = 400;

fn batch(writer: usize, number: usize) -> Batch {
    let event = |data: String| Append::new(Event::new("happened", data));
    Batch::new()
        .append(format!("own-{writer}"), event(number.to_string()))
        .put(format!("k/{writer}"), number.to_string())
        .append("shared", event(writer.to_string()))
}

/// Commits until the server is gone; returns how many were acknowledged, and the batch that was not.
async fn write(store: PostgresStore, writer: usize, done: mpsc::Sender<()>) -> (usize, Batch) {
    for number in 0.. {
        let batch = batch(writer, number);
        match store.commit(batch.clone()).await {
            // Nobody counts any more once there are enough.
            Ok(_) => drop(done.send(()).await),
            Err(CommitError::Unavailable(unavailable)) => {
                assert_ne!(unavailable.effect(), Effect::Executed);
                return (number, batch);
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("it ends with the server")
}

/// STO-2: after `kill -9` of the server all that was acknowledged is there, nothing is there by halves, and a batch whose
/// answer was lost is committed once when it is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_the_servers_death() {
    let Some(server) = OwnServer::postgres() else {
        return;
    };
    let mut server = server.start().await;
    let (done, mut acknowledged) = mpsc::channel(1);
    let mut writers = JoinSet::new();
    let stores = [open(&server).await, open(&server).await];
    for writer in 0..WRITERS {
        let (store, done) = (stores[writer % 2].clone(), done.clone());
        writers.spawn(async move { (writer, write(store, writer, done).await) });
    }
    for _ in 0..ACKNOWLEDGED {
        acknowledged.recv().await.expect("commits");
    }
    server.kill();
    drop(acknowledged);
    let ended = writers.join_all().await;

    let server = server.start().await;
    let store = open(&server).await;
    for (writer, (count, last)) in ended {
        let (own, key) = (format!("own-{writer}"), format!("k/{writer}"));
        let there = store.read(&own, Version::START, 10_000).await;
        let there = there.expect("a read");
        let numbers = there.iter().map(|event| event.data.clone());
        let due = (0..there.len()).map(|number| number.to_string());
        assert!(numbers.eq(due.map(bytes::Bytes::from)), "{there:?}");
        let was_written = there.len() == count + 1;
        assert!(was_written || there.len() == count, "{count}: {there:?}");
        let value = store.get(&key).await.expect("a read");
        let value = value.map(|entry| entry.value);
        assert_eq!(value, there.last().map(|event| event.data.clone()));
        assert_eq!(
            store.find(last.id()).await.map(|found| found.is_some()),
            Ok(was_written)
        );

        store.commit(last.clone()).await.expect("a commit");
        store.commit(last).await.expect("the same");
        let there = store.read(&own, Version::START, 10_000).await;
        assert_eq!(there.expect("a read").len(), count + 1);
    }
    let all = store
        .read_all(Position::START, 10_000)
        .await
        .expect("a read");
    let shared = all.iter().filter(|event| event.stream == "shared").count();
    assert_eq!(shared * 2, all.len(), "no batch is there by halves");
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
}
