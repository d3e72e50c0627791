use std::sync::Arc;
use std::time::Duration;

use backstay_cqrs::{Projection, Seen, Table, Tables};
use backstay_store::sqlite::rusqlite;
use backstay_store::{SqliteStore, Store};
use tokio::time::{sleep, timeout};

use crate::world::{Command, Event, commands, events, file, memory};

/// A row for each account.
#[derive(Debug)]
struct Balances;

type Rows<'t> = <SqliteStore as backstay_store::Transactional>::Rows<'t>;
type Failed = rusqlite::Error;

impl Table<SqliteStore> for Balances {
    type Event = Event;
    type Error = Failed;

    fn create<'t>(&self, rows: &'t Rows<'t>, generation: u32) -> Result<(), Failed> {
        rows.execute_batch(&format!(
            "CREATE TABLE balances_{generation} (id TEXT PRIMARY KEY, cents INTEGER NOT NULL)"
        ))
    }

    fn apply<'t>(
        &self,
        rows: &'t Rows<'t>,
        generation: u32,
        events: Arc<[Seen<Event>]>,
    ) -> Result<(), Failed> {
        let mut change = rows.prepare_cached(&format!(
            "INSERT INTO balances_{generation} (id, cents) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET cents = cents + excluded.cents"
        ))?;
        for seen in events.iter() {
            let cents = match *seen.event() {
                Event::Deposited { cents } => cents.cast_signed(),
                Event::Withdrawn { cents } => -cents.cast_signed(),
            };
            change.execute((seen.id(), cents))?;
        }
        Ok(())
    }

    fn discard<'t>(&self, rows: &'t Rows<'t>, generation: u32) -> Result<(), Failed> {
        rows.execute_batch(&format!("DROP TABLE balances_{generation}"))
    }
}

const SOON: Duration = Duration::from_secs(20);

fn balances(log: &Store, views: &SqliteStore) -> Tables {
    let projection = Projection::new(log.clone(), "balances", "account", events());
    let projection = projection.ttl(Duration::from_millis(600));
    projection.tables(views, Balances).unwrap()
}

fn cents(views: &SqliteStore, generation: u32, id: &'static str) -> i64 {
    let sql = format!("SELECT cents FROM balances_{generation} WHERE id = ?1");
    let rows = rusqlite::Connection::open(views.path()).unwrap();
    rows.query_row(&sql, [id], |row| row.get(0)).unwrap()
}

/// CQ-2, CQ-4: rows follow the log with their checkpoint in their own transaction; another generation is built beside them, and
/// the old one goes.
#[tokio::test(flavor = "multi_thread")]
async fn rows_follow() {
    let (log, (_folder, views)) = (memory(), file().await);
    let accounts = commands(&log);
    for number in 0..700 {
        let id = (number % 7).to_string();
        accounts.execute(&id, &Command::Deposit(1)).await.unwrap();
    }
    let live = balances(&log, &views);
    let done = accounts.execute("1", &Command::Withdraw(30)).await.unwrap();
    live.at_least(done.position, SOON).await.unwrap();
    assert_eq!(live.live().await.unwrap(), 1);
    assert_eq!((cents(&views, 1, "1"), cents(&views, 1, "2")), (70, 100));
    let before = live.checksum().await.unwrap();
    assert_eq!(before.events, 701);
    live.rebuild().await.unwrap();
    let switched = async {
        while live.live().await.unwrap() == 1 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, switched).await.unwrap();
    assert_eq!((cents(&views, 2, "1"), cents(&views, 2, "2")), (70, 100));
    let after = live.checksum().await.unwrap();
    assert_eq!((after.events, after.sum), (701, before.sum));
    live.stop().await;
}
