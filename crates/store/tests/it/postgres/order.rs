//! STO-4, on a server where commits of several processes overlap.

use backstay_store::{Append, Batch, Event, Position};
use tokio::task::JoinSet;

use super::server::{Schema, runs};

const WRITERS: usize = 6;
const EACH: usize = 8;

/// STO-4: a reader misses nothing while commits are slow and overlap, on two stores of one schema.
///
/// The work of some sleeps before the batch is written; a trigger of others sleeps in `COMMIT` itself, after the
/// positions are given and before anybody sees them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_misses_nothing_while_commits_are_slow() {
    let Some(schema) = Schema::new() else { return };
    let stores = [schema.open().await, schema.open().await];
    schema
        .run(
            "CREATE TABLE S.rows (number int8); \
             CREATE FUNCTION S.slow() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON S.rows \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION S.slow()",
        )
        .await;
    let reader = schema.open().await;
    let reading = tokio::spawn(async move {
        let mut tail = reader.tail(Position::START);
        let mut seen = Vec::new();
        while seen.len() < WRITERS * EACH {
            seen.extend(tail.next().await.expect("events"));
        }
        seen
    });
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = stores[writer % 2].clone();
        let sql = match writer % 3 {
            0 => None,
            1 => Some(schema.named("SELECT pg_sleep(0.05)")),
            _ => Some(schema.named("INSERT INTO S.rows VALUES (1)")),
        };
        writers.spawn(async move {
            for number in 0..EACH {
                let event = Event::new("happened", format!("{writer} {number}"));
                let batch = Batch::new().append("shared", Append::new(event));
                let Some(sql) = &sql else {
                    store.commit(batch).await.expect("a commit");
                    continue;
                };
                let work = store.commit_with(batch, runs(sql)).await;
                work.expect("a commit");
            }
        });
    }
    writers.join_all().await;
    let seen = reading.await.expect("no panic");
    let all = stores[0].read_all(Position::START, 10_000).await;
    assert_eq!(seen, all.expect("a read"));
    assert!(seen.is_sorted_by(|a, b| (a.position, a.version) < (b.position, b.version)));
}

/// STO-5: a commit of one process stirs those who wait in another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_processes_are_told() {
    let Some(schema) = Schema::new() else { return };
    let (store, other) = (schema.open().await, schema.open().await);
    assert!(store.capabilities().notifies_across_processes);
    let listener = schema.stranger_who_hears().await;
    let batch = Batch::new().append("stream", Event::new("happened", ""));
    let commit = store.commit(batch).await.expect("a commit");
    listener.await.expect("a notice");
    let waited = other.wait_for(commit.position, std::time::Duration::from_secs(60));
    assert_eq!(waited.await, Ok(true));
}
