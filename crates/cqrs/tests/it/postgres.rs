//! Read models and readers on a real server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backstay_cqrs::{Commands, ExecuteError, Memory, Operator, Projection, Seen, Table};
use backstay_store::postgres::tokio_postgres::{Error as Failed, NoTls, connect};
use backstay_store::{
    Batch, Event as Stored, Position, PostgresOptions, PostgresStore, Transactional,
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use test_servers::OwnServer;
use tokio::time::{sleep, timeout};

use crate::world::{Accounts, Command, Event, events};

fn server() -> Option<(String, String)> {
    Some((test_servers::postgres()?, test_servers::own_name()))
}

async fn store(url: &str, schema: &str) -> PostgresStore {
    let options = PostgresOptions::new().schema(schema).pool(8);
    options.connect(url).await.unwrap()
}

/// A row for each account, in the store's schema.
#[derive(Debug)]
struct Balances(String);

type Rows<'t> = <PostgresStore as Transactional>::Rows<'t>;

impl Table<PostgresStore> for Balances {
    type Event = Event;
    type Error = Failed;

    fn create<'t>(&self, rows: &'t Rows<'t>, generation: u32) -> BoxFuture<'t, Result<(), Failed>> {
        // What is taken twice is refused by the second table's key, and breaks its promise in the first.
        let sql = format!(
            "CREATE TABLE {0}.balances_{generation} (id text PRIMARY KEY, cents int8 NOT NULL);
             CREATE TABLE {0}.taken_{generation} (position int8 PRIMARY KEY)",
            self.0
        );
        async move { rows.batch_execute(&sql).await }.boxed()
    }

    fn apply<'t>(
        &self,
        rows: &'t Rows<'t>,
        generation: u32,
        events: Arc<[Seen<Event>]>,
    ) -> BoxFuture<'t, Result<(), Failed>> {
        let sql = format!(
            "INSERT INTO {}.balances_{generation} AS b VALUES ($1, $2)
             ON CONFLICT (id) DO UPDATE SET cents = b.cents + excluded.cents",
            self.0
        );
        let taken = format!("INSERT INTO {}.taken_{generation} VALUES ($1)", self.0);
        async move {
            for seen in events.iter() {
                let position = seen.position().get().cast_signed();
                rows.execute(&*taken, &[&position]).await?;
                let cents = match *seen.event() {
                    Event::Deposited { cents } => cents.cast_signed(),
                    Event::Withdrawn { cents } => -cents.cast_signed(),
                };
                rows.execute(&*sql, &[&seen.id(), &cents]).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn discard<'t>(
        &self,
        rows: &'t Rows<'t>,
        generation: u32,
    ) -> BoxFuture<'t, Result<(), Failed>> {
        let sql = format!("DROP TABLE {}.balances_{generation}", self.0);
        async move { rows.batch_execute(&sql).await }.boxed()
    }
}

const SOON: Duration = Duration::from_secs(30);

/// CQ-2, CQ-4: rows on a server follow the log with their checkpoint in their own transaction, and another generation is built
/// beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_follow_on_a_server() {
    let Some((url, schema)) = server() else {
        return;
    };
    let store = store(&url, &schema).await;
    let accounts = Commands::builder(store.clone(), "account", Accounts, events());
    let accounts = accounts.attempts(100).build().unwrap();
    let projection = Projection::new(store.clone(), "balances", "account", events());
    let live = projection.tables(&store, Balances(schema.clone())).unwrap();
    let writers = (0..8_u64).map(|writer| {
        let accounts = accounts.clone();
        async move {
            let mut last = Position::START;
            for number in 0..20 {
                let id = ((writer + number) % 5).to_string();
                let done = accounts.execute(&id, &Command::Deposit(1)).await.unwrap();
                last = last.max(done.position);
            }
            last
        }
    });
    let last = join_all(writers).await.into_iter().max().unwrap();
    live.at_least(last, SOON).await.unwrap();
    let (client, connection) = connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let sums = async |generation: u32| {
        let sql = format!("SELECT sum(cents)::int8, count(*) FROM {schema}.balances_{generation}");
        let row = client.query_one(&*sql, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    assert_eq!(sums(1).await, (160, 5));
    let before = live.checksum().await.unwrap();
    live.rebuild().await.unwrap();
    let switched = async {
        while live.live().await.unwrap() == 1 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, switched).await.unwrap();
    assert_eq!(sums(2).await, (160, 5));
    let after = live.checksum().await.unwrap();
    assert_eq!((before.events, before.sum), (after.events, after.sum));
    live.stop().await;
}

/// CQ-2: with writers at once whose commits take long and end in another order than they began, a reader misses nothing. One that
/// asks for what has a higher number than the last that it has seen does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_commits_are_not_missed() {
    let Some((url, schema)) = server() else {
        return;
    };
    let store = store(&url, &schema).await;
    let count: Memory<BTreeMap<String, u64>> =
        Projection::new(store.clone(), "count", "account", events())
            .memory(|count: &mut BTreeMap<String, u64>, seen| {
                *count.entry(seen.id().to_owned()).or_default() += 1;
                Ok::<_, Infallible>(())
            })
            .unwrap();
    let writers = (0..8_u32).map(|writer| {
        let store = store.clone();
        async move {
            for number in 0..15_u32 {
                let event = Stored::new("Deposited", r#"{"cents":1}"#);
                let batch = Batch::new().append(format!("account/{writer}"), event);
                let delay = f64::from((writer * 7 + number * 3) % 10) / 300.0;
                let wait = format!("SELECT pg_sleep({delay})").leak() as &str;
                store
                    .commit_with(batch, |rows| Box::pin(rows.batch_execute(wait)))
                    .await
                    .unwrap();
            }
        }
    });
    join_all(writers).await;
    let last = store.head().await.unwrap();
    let events = store.read_all(Position::START, 1_000).await;
    let last = events.unwrap().last().unwrap().position.min(last);
    count.at_least(last, SOON).await.unwrap();
    let counts = count.read(|count| count.values().copied().collect::<Vec<_>>());
    assert_eq!(counts, [15; 8]);

    // The reader that most write first.
    let (mut slow, connection) = connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let (quick, connection) = connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let table = format!("CREATE TABLE {schema}.naive (id bigserial PRIMARY KEY)");
    quick.batch_execute(&table).await.unwrap();
    let insert = format!("INSERT INTO {schema}.naive DEFAULT VALUES");
    let begun = slow.transaction().await.unwrap();
    begun.batch_execute(&insert).await.unwrap();
    quick.batch_execute(&insert).await.unwrap();
    let read = async |after: i64| {
        let sql = format!("SELECT id FROM {schema}.naive WHERE id > $1 ORDER BY id");
        let rows = quick.query(&*sql, &[&after]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>()
    };
    let first = read(0).await;
    begun.commit().await.unwrap();
    let second = read(*first.last().unwrap()).await;
    assert_eq!((&*first, &*second), (&[2][..], &[][..]));
}

/// CQ-2: a server is killed under command, log and read side, again and again. When it is back each command has happened once,
/// and the rows are what the log says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_follow_over_the_servers_deaths() {
    let Some(server) = OwnServer::postgres() else {
        return;
    };
    let mut server = server.start().await;
    let store = PostgresStore::connect(&server.url).await.unwrap();
    let accounts = Commands::builder(store.clone(), "account", Accounts, events());
    let accounts = accounts.attempts(100).build().unwrap();
    let projection = Projection::new(store.clone(), "balances", "account", events());
    let rows = Balances("backstay".to_owned());
    let live = projection.ttl(Duration::from_secs(1)).tables(&store, rows);
    let live = live.unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let writers = (0..4_u64).map(|writer| {
        let (accounts, written) = (accounts.clone(), written.clone());
        tokio::spawn(async move {
            let mut last = Position::START;
            for number in 0..40 {
                let (id, key) = (writer.to_string(), format!("{writer}-{number}"));
                // It may have happened although nobody heard of it.
                let done = loop {
                    match accounts.execute_once(&id, &key, &Command::Deposit(1)).await {
                        Ok(done) => break done,
                        Err(ExecuteError::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
                        Err(error) => panic!("{error:?}"),
                    }
                };
                last = last.max(done.position);
                written.fetch_add(1, Ordering::Relaxed);
            }
            last
        })
    });
    let writers: Vec<_> = writers.collect();
    for after in [30, 60, 90] {
        while written.load(Ordering::Relaxed) < after {
            sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        server = server.start().await;
    }
    let mut last = Position::START;
    for writer in writers {
        last = last.max(writer.await.unwrap());
    }
    live.at_least(last, SOON).await.unwrap();
    let (client, connection) = connect(&server.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT cents FROM backstay.balances_1 ORDER BY id";
    let cents = client.query(sql, &[]).await.unwrap();
    let cents: Vec<i64> = cents.iter().map(|row| row.get(0)).collect();
    assert_eq!(cents, [40; 4]);
    let shown = live.checksum().await.unwrap();
    let log = Operator::new(store.clone());
    let told = log.checksum("balances", "account", shown.position).await;
    assert_eq!(told.unwrap(), shown);
    live.stop().await;
}
