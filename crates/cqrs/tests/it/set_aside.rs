//! An event that the read side refuses, what is behind it, and what a person does about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backstay_cqrs::{DecideError, Happened, Operator, Projection, Seen, Table, Tables};
use backstay_store::sqlite::rusqlite;
use backstay_store::{Position, SqliteStore, Store};
use tokio::time::{sleep, timeout};

use crate::world::{Command, Event, Told, commands, events, file, memory};

/// Every deposit as a row, none of 666 until that is mended.
#[derive(Debug, Default)]
struct Deposits {
    is_mended: Arc<AtomicBool>,
}

type Rows<'t> = <SqliteStore as backstay_store::Transactional>::Rows<'t>;
type Failed = rusqlite::Error;

impl Table<SqliteStore> for Deposits {
    type Event = Event;
    type Error = Failed;

    fn create<'t>(&self, rows: &'t Rows<'t>, generation: u32) -> Result<(), Failed> {
        rows.execute_batch(&format!(
            "CREATE TABLE deposits_{generation} (number INTEGER PRIMARY KEY, id TEXT NOT NULL, cents INTEGER NOT NULL)"
        ))
    }

    fn apply<'t>(
        &self,
        rows: &'t Rows<'t>,
        generation: u32,
        events: Arc<[Seen<Event>]>,
    ) -> Result<(), Failed> {
        let sql = format!("INSERT INTO deposits_{generation} (id, cents) VALUES (?1, ?2)");
        for seen in events.iter() {
            let Event::Deposited { cents } = *seen.event() else {
                continue;
            };
            if cents == 666 && !self.is_mended.load(Ordering::Relaxed) {
                return Err(Failed::InvalidColumnName("666".to_owned()));
            }
            rows.execute(&sql, (seen.id(), cents.cast_signed()))?;
        }
        Ok(())
    }

    fn discard<'t>(&self, rows: &'t Rows<'t>, generation: u32) -> Result<(), Failed> {
        rows.execute_batch(&format!("DROP TABLE deposits_{generation}"))
    }
}

const SOON: Duration = Duration::from_secs(20);

fn deposits(log: &Store, views: &SqliteStore, table: Deposits, told: &Told) -> Tables {
    let told = told.clone();
    let projection = Projection::new(log.clone(), "deposits", "account", events())
        .ttl(Duration::from_millis(600))
        .attempts(2)
        .on_event(move |_, happened| told.lock().unwrap().push(happened.clone()));
    projection.tables(views, table).unwrap()
}

fn rows(views: &SqliteStore, id: &str) -> Vec<i64> {
    let rows = rusqlite::Connection::open(views.path()).unwrap();
    let sql = "SELECT cents FROM deposits_1 WHERE id = ?1 ORDER BY number";
    let mut rows = rows.prepare(sql).unwrap();
    let rows = rows.query_map([id], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

async fn until(told: &Told, what: impl Fn(&Happened) -> bool) {
    let seen = async {
        while !told.lock().unwrap().iter().any(&what) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, seen).await.unwrap();
}

/// CQ-4, CQ-5: a refused event and what is behind it wait, in order, over a change of nodes; others go on; what is replayed is taken
/// once and in order, and what is skipped is kept with who and why.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_waits_for_a_person() {
    let (log, (_folder, views)) = (memory(), file().await);
    let accounts = commands(&log);
    let told = Told::default();
    let mut last = Position::START;
    for cents in [1, 666, 3, 4] {
        for id in ["7", "8"] {
            let cents = if id == "8" { cents.min(9) } else { cents };
            last = accounts
                .execute(id, &Command::Deposit(cents))
                .await
                .unwrap()
                .position;
        }
    }
    let view = deposits(&log, &views, Deposits::default(), &told);
    view.at_least(last, SOON).await.unwrap();
    assert_eq!(
        (rows(&views, "7"), rows(&views, "8")),
        (vec![1], vec![1, 9, 3, 4])
    );
    view.stop().await;

    // Another node knows what waits.
    let mended = Arc::new(AtomicBool::new(false));
    let table = Deposits {
        is_mended: mended.clone(),
    };
    let view = deposits(&log, &views, table, &told);
    let done = accounts.execute("7", &Command::Deposit(5)).await.unwrap();
    view.at_least(done.position, SOON).await.unwrap();
    assert_eq!(rows(&views, "7"), [1]);
    let operator = Operator::new(log.clone());
    let dead = operator.dead("deposits").await.unwrap();
    assert_eq!(dead.len(), 4);
    assert!(dead.iter().all(|dead| dead.key == "account/7"));
    let errors: Vec<_> = dead.iter().map(|dead| dead.error.as_deref()).collect();
    assert_eq!(errors, [Some("Invalid column name: 666"), None, None, None]);
    let event = operator.event(&dead[0]).await.unwrap().unwrap();
    assert_eq!(&*event.data, br#"{"cents":666}"#);
    let listed = operator.consumers().await.unwrap();
    assert_eq!((&*listed[0].name, listed[0].dead), ("deposits", 4));

    // Nothing is mended yet.
    let replay = || operator.replay("deposits", "account/7", "eva", "it is mended");
    replay().await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(operator.dead("deposits").await.unwrap().len(), 4);
    assert_eq!(rows(&views, "7"), [1]);

    mended.store(true, Ordering::Relaxed);
    replay().await.unwrap();
    until(&told, |happened| {
        matches!(happened, Happened::Recovered { .. })
    })
    .await;
    assert_eq!(rows(&views, "7"), [1, 666, 3, 4, 5]);
    assert_eq!(operator.dead("deposits").await.unwrap(), []);
    let done = accounts.execute("7", &Command::Deposit(6)).await.unwrap();
    view.at_least(done.position, SOON).await.unwrap();
    assert_eq!(rows(&views, "7"), [1, 666, 3, 4, 5, 6]);
    // Each of them once: ten events, whichever way they came.
    assert_eq!(view.checksum().await.unwrap().events, 10);

    // One that nobody wants any more.
    mended.store(false, Ordering::Relaxed);
    for cents in [666, 8] {
        let done = accounts
            .execute("9", &Command::Deposit(cents))
            .await
            .unwrap();
        last = done.position;
    }
    view.at_least(last, SOON).await.unwrap();
    let dead = operator.dead("deposits").await.unwrap();
    let skip = |position| operator.skip("deposits", "account/9", position, "eva", "a test of ours");
    let nobody = operator
        .skip("deposits", "account/9", dead[0].position, "", "x")
        .await;
    assert!(matches!(nobody, Err(DecideError::Invalid(_))), "{nobody:?}");
    skip(dead[0].position).await.unwrap();
    let gone = async {
        while !operator.dead("deposits").await.unwrap().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, gone).await.unwrap();
    assert_eq!(rows(&views, "9"), [8]);
    let nothing = skip(last).await;
    assert!(
        matches!(nothing, Err(DecideError::NotFound { .. })),
        "{nothing:?}"
    );
    let checksum = view.checksum().await.unwrap();
    let expected = operator.checksum("deposits", "account", checksum.position);
    assert_eq!(expected.await.unwrap(), checksum);
    let audit = log
        .read("cqrs/deposits/audit", backstay_store::Version::START, 10)
        .await;
    let audit = audit.unwrap();
    let text = String::from_utf8_lossy(&audit[0].data).into_owned();
    assert!(
        text.contains(r#""who":"eva","why":"a test of ours""#),
        "{text}"
    );
}

/// CQ-5: what is behind a refused event stays behind it also when so many are set aside that nothing goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_behind_stays_behind_when_all_is_halted() {
    let (log, (_folder, views)) = (memory(), file().await);
    let accounts = commands(&log);
    for cents in [666, 2, 3] {
        accounts
            .execute("7", &Command::Deposit(cents))
            .await
            .unwrap();
    }
    let told = Told::default();
    let (table, listener) = (Deposits::default(), told.clone());
    let mended = table.is_mended.clone();
    let projection = Projection::new(log.clone(), "deposits", "account", events())
        .attempts(1)
        .dead_limit(1)
        .on_event(move |_, happened| listener.lock().unwrap().push(happened.clone()));
    let view = projection.tables(&views, table).unwrap();
    until(&told, |happened| {
        matches!(happened, Happened::SetAside { .. })
    })
    .await;
    // More than there may be: what comes now has to wait.
    while !told
        .lock()
        .unwrap()
        .iter()
        .any(|happened| matches!(happened, Happened::Halted { .. }))
    {
        let _ = accounts.execute("7", &Command::Deposit(4)).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    mended.store(true, Ordering::Relaxed);
    let operator = Operator::new(log);
    let all = async {
        while rows(&views, "7").len() < 4 {
            // What could not be set aside is, once there is room.
            let _ = operator
                .replay("deposits", "account/7", "eva", "mended")
                .await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, all).await.unwrap();
    assert_eq!(rows(&views, "7")[..4], [666, 2, 3, 4]);
    view.stop().await;
}
