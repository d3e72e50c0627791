//! On a Postgres server.

use std::sync::{Arc, Mutex};

use backstay_lease::fencing::sql::Table;
use backstay_store::postgres::tokio_postgres::error::SqlState;
use backstay_store::postgres::tokio_postgres::{Client, NoTls, connect};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{fence, orders};

async fn open(url: &str) -> Client {
    let (client, connection) = connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// A transaction of one leader in a task of its own: each message lets it make a step.
struct Leader {
    go: mpsc::UnboundedSender<()>,
    done: mpsc::UnboundedReceiver<()>,
    process: i32,
    waits: bool,
    task: JoinHandle<()>,
}

impl Leader {
    async fn new(
        url: &str,
        table: &Table,
        level: &'static str,
        token: u64,
        committed: &Arc<Mutex<Vec<u64>>>,
    ) -> Self {
        let client = open(url).await;
        let process = client.query_one("SELECT pg_backend_pid()", &[]).await;
        let process = process.expect("a number").get(0);
        let ((go, mut may), (did, done)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (table, committed) = (table.clone(), committed.clone());
        let task = tokio::spawn(async move {
            let mut next = async || may.recv().await.expect("a step");
            next().await;
            let begin = format!("BEGIN ISOLATION LEVEL {level}");
            client.batch_execute(&begin).await.expect("it begins");
            did.send(()).expect("the test waits");
            next().await;
            let fence = fence(token);
            let raise = table.raise(&fence).expect("a good token");
            let passed = match client
                .execute(raise.sql(), &[&raise.name(), &raise.token()])
                .await
            {
                Ok(rows) => raise.changed(rows).is_ok(),
                Err(error) => {
                    assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
                    false
                }
            };
            did.send(()).expect("the test waits");
            next().await;
            if passed {
                client.batch_execute("COMMIT").await.expect("it commits");
                committed.lock().expect("nobody panics").push(token);
            } else {
                client
                    .batch_execute("ROLLBACK")
                    .await
                    .expect("it rolls back");
            }
            // The test may have seen the last of them.
            let _ = did.send(());
        });
        Self {
            go,
            done,
            process,
            waits: false,
            task,
        }
    }

    /// Makes a step; returns when it is made or waits for the other.
    async fn step(&mut self, watcher: &Client) {
        self.go.send(()).expect("it has a step left");
        if self.waits {
            return;
        }
        loop {
            if self.done.try_recv().is_ok() {
                return;
            }
            let waits = "SELECT cardinality(pg_blocking_pids($1)) > 0";
            let waits = watcher.query_one(waits, &[&self.process]).await;
            if waits.expect("an answer").get(0) {
                self.waits = true;
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// LEA-8: on Postgres no lower token commits after a higher one, in every order of two transactions.
#[tokio::test]
async fn no_lower_token_commits_after_a_higher_one() {
    let Some(url) = test_servers::postgres() else {
        return;
    };
    let setup = open(&url).await;
    let mut waited = 0;
    let levels = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];
    for level in levels {
        for known in [false, true] {
            for order in orders() {
                let name = test_servers::own_name();
                let table = Table::new(&name).expect("a name");
                setup.batch_execute(&table.ddl()).await.expect("a table");
                if known {
                    let fence = fence(3);
                    let raise = table.raise(&fence).expect("a good token");
                    let rows = setup
                        .execute(raise.sql(), &[&raise.name(), &raise.token()])
                        .await;
                    assert_eq!(raise.changed(rows.expect("it runs")), Ok(()));
                }
                let committed = Arc::new(Mutex::new(Vec::new()));
                let mut old = Leader::new(&url, &table, level, 33, &committed).await;
                let mut new = Leader::new(&url, &table, level, 34, &committed).await;
                for is_new in order {
                    let leader = if is_new { &mut new } else { &mut old };
                    leader.step(&setup).await;
                }
                waited += u32::from(old.waits || new.waits);
                old.task.await.expect("it ends");
                new.task.await.expect("it ends");
                let committed = committed.lock().expect("nobody panics").clone();
                assert!(
                    committed.is_sorted() && !committed.is_empty(),
                    "{level} {order:?}: {committed:?}"
                );
                let highest = setup.query_one(&table.highest(), &[&"sweeper"]).await;
                let highest: i64 = highest.expect("a row").get(0);
                assert_eq!(
                    Some(&highest.cast_unsigned()),
                    committed.last(),
                    "{level} {order:?}"
                );
                let drop = format!("DROP TABLE {name}");
                setup.batch_execute(&drop).await.expect("it is there");
            }
        }
    }
    assert!(waited > 0, "no transaction had to wait for another");
}

/// LEA-8: on Postgres a table may have a word of SQL for a name.
#[tokio::test]
async fn a_word_of_sql_is_a_name() {
    let Some(url) = test_servers::postgres() else {
        return;
    };
    let client = open(&url).await;
    let schema = test_servers::own_name();
    let make = format!("CREATE SCHEMA {schema}; SET search_path TO {schema}");
    client.batch_execute(&make).await.expect("a schema");
    let table = Table::new("order").expect("a name");
    client.batch_execute(&table.ddl()).await.expect("a table");
    let fence = fence(7);
    let raise = table.raise(&fence).expect("a good token");
    let rows = client
        .execute(raise.sql(), &[&raise.name(), &raise.token()])
        .await;
    assert_eq!(raise.changed(rows.expect("it runs")), Ok(()));
    let highest = client.query_one(&table.highest(), &[&raise.name()]).await;
    assert_eq!(highest.expect("a row").get::<_, i64>(0), 7);
    let drop = format!("DROP SCHEMA {schema} CASCADE");
    client.batch_execute(&drop).await.expect("it is there");
}

/// LEA-8: on Postgres an equal token passes, a lower one is refused and says by what.
#[tokio::test]
async fn equal_passes_and_lower_is_refused() {
    let Some(url) = test_servers::postgres() else {
        return;
    };
    let client = open(&url).await;
    let table = Table::new(&test_servers::own_name()).expect("a name");
    client.batch_execute(&table.ddl()).await.expect("a table");
    client
        .batch_execute(&table.ddl())
        .await
        .expect("it is there already");
    let raise = async |token| {
        let fence = fence(token);
        let raise = table.raise(&fence).expect("a good token");
        let rows = client
            .execute(raise.sql(), &[&raise.name(), &raise.token()])
            .await;
        raise.changed(rows.expect("it runs"))
    };
    for token in [7, 7, i64::MAX.cast_unsigned()] {
        assert_eq!(raise(token).await, Ok(()));
    }
    let stale = raise(8).await.expect_err("it is lower");
    let highest = client.query_one(&table.highest(), &[&stale.name]).await;
    let stale = stale.with_highest(highest.expect("a row").get(0));
    assert_eq!(
        (stale.token, stale.highest),
        (8, Some(i64::MAX.cast_unsigned()))
    );
    let drop = table
        .ddl()
        .replace("CREATE TABLE IF NOT EXISTS", "DROP TABLE");
    let drop = drop.split(" (").next().expect("the first part");
    client.batch_execute(drop).await.expect("it is there");
}
