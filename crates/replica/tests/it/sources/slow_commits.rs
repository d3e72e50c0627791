//! Commits on Postgres that overlap, and take long between the position they are given and the moment they are seen.

use std::pin::pin;
use std::sync::Mutex;

use backstay_replica::conformance::{Copy, in_time};
use backstay_store::conformance::START;
use backstay_store::postgres::tokio_postgres::{NoTls, connect};
use backstay_store::{Batch, PostgresStore, TestClock};
use futures_util::FutureExt;
use futures_util::future::{join_all, select};
use test_servers::own_name;
use tokio::time::sleep;

use super::postgres::{self, stored_in};
use super::stores::Of;
use crate::world::MS;

const WRITERS: usize = 6;
const EACH: u32 = 12;

/// The trigger sleeps in `COMMIT` itself.
const TABLE: &str = "CREATE TABLE S.rows (number int8); \
    CREATE FUNCTION S.slow() RETURNS trigger LANGUAGE plpgsql AS \
    'BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END'; \
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON S.rows \
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION S.slow()";

/// The position and the value of each write that was acknowledged, by writer.
type Acknowledged = [Mutex<Vec<(u64, u32)>>; WRITERS];

async fn write(store: &PostgresStore, schema: &str, writer: usize, acknowledged: &Acknowledged) {
    for value in 1..=EACH {
        let batch = Batch::new().put(format!("k/{writer}"), value.to_string());
        let sql = match (writer + value as usize) % 3 {
            0 => "SELECT 1".to_owned(),
            1 => "SELECT pg_sleep(0.03)".to_owned(),
            _ => format!("INSERT INTO {schema}.rows VALUES (1)"),
        };
        let work = store.commit_with(batch, move |rows| {
            let sql = sql.clone();
            async move { rows.batch_execute(&sql).await }.boxed()
        });
        let position = work.await.expect("a commit").commit.position.get();
        let mut acknowledged = acknowledged[writer].lock().expect("nobody panics");
        acknowledged.push((position, value));
    }
}

/// Looks for a read that says a version and does not have what was written up to there.
async fn read(copy: &Copy, acknowledged: &Acknowledged) {
    loop {
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let reading = copy.replica.peek(&*writer.to_string()).expect("a reading");
            let acknowledged = acknowledged.lock().expect("nobody panics");
            let known = acknowledged.iter().rev();
            let mut known = known.filter(|(position, _)| *position <= reading.version.number);
            if let Some((position, value)) = known.next() {
                let read = reading.value.as_deref().copied();
                assert!(read >= Some(*value), "{read:?} of {value} at {position}");
            }
        }
        sleep(MS(1)).await;
    }
}

/// REP-3: whoever reads a version reads all that was committed up to there, though it was committed late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_late_commit_is_missed() {
    let Some(url) = test_servers::postgres() else {
        return;
    };
    let (schema, clock) = (own_name(), TestClock::at(START));
    let writers = [(); 2].map(|()| postgres::connect(&url, &schema, &clock));
    let writers = join_all(writers).await;
    let (client, connection) = connect(&url, NoTls).await.expect("a connection");
    let _connection = tokio::spawn(connection);
    let table = TABLE.replace("S.", &format!("{schema}."));
    client.batch_execute(&table).await.expect("a table");

    let stored = stored_in(&url, &schema, &clock, Of::Keys).await;
    let copy = Copy::of(&stored).await;
    let acknowledged = Acknowledged::default();
    let writing = join_all((0..WRITERS).map(|writer| {
        let store = &writers[writer % writers.len()];
        write(store, &schema, writer, &acknowledged)
    }));
    let reading = pin!(read(&copy, &acknowledged));
    in_time(async {
        drop(select(pin!(writing), reading).await);
    })
    .await;
    let last = acknowledged.iter().filter_map(|all| {
        let all = all.lock().expect("nobody panics");
        all.last().map(|(position, _)| *position)
    });
    let last = last.max().expect("they have written");
    in_time(copy.holds(last)).await;
    for writer in 0..WRITERS {
        assert_eq!(copy.value(&writer.to_string()), Some(EACH));
    }
    copy.has_gone_on();
}
