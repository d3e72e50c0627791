//! What expires goes, and holds nobody up.

use std::time::Duration;

use backstay_store::conformance::START;
use backstay_store::postgres::PostgresOptions;
use backstay_store::{Batch, TestClock};

use super::server::Schema;

const BACKLOG: u64 = 50_000;

/// STO-3: while a large backlog is swept commits go on, one after each part of it, and all of it goes.
#[tokio::test]
async fn commits_go_on_between_the_parts_of_a_sweep() {
    let Some(schema) = Schema::new() else { return };
    let clock = TestClock::at(START);
    let options = PostgresOptions::new().pool(1).clock(clock.clone());
    let store = schema.open_with(options).await;
    schema
        .run(&format!(
            "INSERT INTO S.keys SELECT 'k/' || i, 'v', i, i, 0 FROM generate_series(1, {BACKLOG}) i; \
             UPDATE S.state SET head = {BACKLOG}"
        ))
        .await;
    clock.advance(Duration::from_secs(61));
    let commit = async || {
        let commit = store.commit(Batch::new().put("other", "v")).await;
        commit.expect("a commit").position.get()
    };
    let (first, mut commits) = (commit().await, 1);
    let mut last = first;
    while last < first + BACKLOG {
        let next = commit().await;
        let swept = next - last - 1;
        assert!(swept <= 1_000, "{swept} came before a commit");
        (last, commits) = (next, commits + 1);
    }
    let left = schema.named("SELECT count(*) FROM S.keys WHERE expires_at IS NOT NULL");
    let left = schema.stranger().await.query_one(&left, &[]).await;
    let left: i64 = left.expect("a count").get(0);
    assert!(commits > 50, "{commits}");
    assert_eq!(left, 0);
}

/// A sweep that the server does not finish in time takes less at its next turn.
#[tokio::test]
async fn a_sweep_that_is_too_large_becomes_smaller() {
    let Some(schema) = Schema::new() else { return };
    let clock = TestClock::at(START);
    let options = PostgresOptions::new()
        .statement_timeout(Duration::from_millis(500))
        .clock(clock.clone());
    let store = schema.open_with(options).await;
    // As if each row took 2 ms.
    schema
        .run(
            "INSERT INTO S.keys SELECT 'k/' || i, 'v', i, i, 0 FROM generate_series(1, 1000) i; \
             UPDATE S.state SET head = 1000; \
             CREATE FUNCTION S.slow() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END'; \
             CREATE TRIGGER slow BEFORE UPDATE ON S.keys FOR EACH ROW \
             WHEN (OLD.expires_at IS NOT NULL) EXECUTE FUNCTION S.slow()",
        )
        .await;
    assert!(store.sweep().await.is_err(), "whoever asks is told");
    let swept = async {
        for commits in 1.. {
            clock.advance(Duration::from_secs(61));
            let commit = store.commit(Batch::new().put("other", "v")).await;
            if commit.expect("a commit").position.get() == 1_000 + commits + 1_000 {
                return;
            }
        }
    };
    backstay_store::conformance::in_time(swept).await;
}
