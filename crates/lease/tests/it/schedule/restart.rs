//! A process that ends and begins anew, with its store in a file.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_lease::Election;
use backstay_lease::schedule::{EventKind, Job, Missed, Schedule};
use backstay_store::{SqliteStore, TestClock};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::kit::{EVERY_MINUTE, MIDNIGHT, MINUTE, minutes};

/// Leads until it has been told of so many events.
async fn lead(
    path: &Path,
    clock: &TestClock,
    ran: &Arc<Mutex<Vec<i64>>>,
    events: usize,
) -> Vec<String> {
    let store = SqliteStore::open(path).await.expect("a store").store();
    let ran = ran.clone();
    let job = Job::new("a", EVERY_MINUTE, move |firing| {
        ran.lock().expect("nobody panics").push(minutes(firing.due));
        std::future::ready(())
    });
    let (tell, mut told) = mpsc::unbounded_channel();
    let schedule = Schedule::builder(store.clone(), "jobs")
        .job(job.missed(Missed::All(2)))
        .clock(clock.clone())
        .on_event(move |event| {
            let said = match event.kind {
                EventKind::Planned => "planned".to_owned(),
                EventKind::Done { due } => format!("done {}", minutes(due)),
                EventKind::Skipped { count, .. } => format!("skipped {count}"),
                EventKind::Started { .. } => return,
                ref other => panic!("it is not expected: {other:?}"),
            };
            let _ = tell.send(said);
        })
        .build()
        .expect("good options");
    let election = Election::builder(store, "leader")
        .build()
        .expect("good options");
    let leads = {
        let election = election.clone();
        tokio::spawn(async move { election.run(|leads| schedule.run(leads)).await })
    };
    let mut said = Vec::new();
    while said.len() < events {
        let one = timeout(Duration::from_secs(60), told.recv()).await;
        said.push(one.expect("it is told in a minute").expect("it leads"));
    }
    election.resign().await;
    assert!(leads.await.expect("no panic").is_err(), "it has resigned");
    said
}

/// LEA-7: what has run before a restart does not run after it, and what was missed meanwhile follows the policy.
#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let (clock, ran) = (TestClock::at(MIDNIGHT), Arc::default());
    assert_eq!(lead(&path, &clock, &ran, 1).await, ["planned"]);
    clock.advance(MINUTE);
    assert_eq!(lead(&path, &clock, &ran, 1).await, ["done 1"]);
    clock.advance(5 * MINUTE);
    assert_eq!(
        lead(&path, &clock, &ran, 3).await,
        ["skipped 3", "done 5", "done 6"]
    );
    assert_eq!(*ran.lock().expect("nobody panics"), [1, 5, 6]);
}
