//! Consumers of events, what they have set aside, and what a person decides about it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backstay_cqrs::{Commands, Decider, Events, InProcess, Relay};
use backstay_store::SqliteStore;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::tempdir;
use tokio::time::{sleep, timeout};

use crate::run::events;

struct Orders;

#[derive(Serialize, Deserialize)]
enum Event {
    Placed { number: u32 },
}

#[derive(Debug, thiserror::Error)]
enum Never {}

impl Decider for Orders {
    type State = ();
    type Command = u32;
    type Event = Event;
    type Error = Never;

    fn decide(&self, (): &(), number: &u32) -> Result<Vec<Event>, Never> {
        Ok(vec![Event::Placed { number: *number }])
    }

    fn evolve(&self, (): &mut (), _: &Event) {}
}

fn json(file: &Path, words: &[&str]) -> Value {
    let ran = events(file, &[words, &["--json"]].concat());
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{words:?}");
    serde_json::from_str(&ran.out).unwrap()
}

async fn until_aside(file: &Path, count: u64) {
    let reached = async {
        // It is not known before it has begun.
        while events(file, &["dead", "relay:to-them"]).code != Some(0)
            || json(file, &["dead", "relay:to-them"])["total"] != count
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), reached).await.unwrap();
}

const BY: [&str; 4] = ["--who", "eva", "--why", "they have mended it"];

fn wrong_names_are_told(file: &Path) {
    for wrong in [
        &["dead", "to-them"][..],
        &[&["replay", "to-them", "order/2"][..], &BY].concat(),
    ] {
        let ran = events(file, wrong);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let error = r#"no consumer is called "to-them"; there are: relay:to-them"#;
        assert!(ran.err.contains(error), "{ran:?}");
    }
}

async fn until_no_lag(file: &Path) {
    let reached = async {
        while json(file, &["lag"])["consumers"][0]["lag_seconds"] != Value::Null {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), reached).await.unwrap();
}

/// CQ-5: a person sees what a relay has set aside and how far it is, and has it sent again or left out.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_seen_and_decided() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let orders = Commands::builder(store.clone(), "order", Orders, Events::new().unwrap());
    let orders = orders.build().unwrap();
    for (id, number) in [("1", 1), ("2", 13), ("2", 2), ("3", 13), ("3", 3)] {
        orders.execute(id, &number).await.unwrap();
    }
    let nobody = events(&file, &["lag"]);
    assert_eq!(nobody.out, "no consumer has said how far it is\n");

    let (out, mut received) = InProcess::new(10);
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let taking = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(message) = received.recv().await {
            let id = message.message().id.clone();
            if message.message().data.get().contains("13") && !mended.load(Ordering::Relaxed) {
                message.refuse("thirteen is unlucky");
            } else {
                message.taken();
                taken.push(id);
            }
        }
        taken
    });
    let relay = Relay::new(store.clone(), "to-them", "order", "/orders").attempts(1);
    let relaying = relay.start(out).unwrap();
    until_aside(&file, 4).await;
    wrong_names_are_told(&file);
    let dead = events(&file, &["dead", "relay:to-them"]).out;
    assert!(
        dead.contains("it was refused: thirteen is unlucky"),
        "{dead}"
    );
    assert!(dead.contains("behind another"), "{dead}");
    let found = json(&file, &["dead", "relay:to-them", "--limit", "1"]);
    let first = &found["events"][0];
    let (key, position) = (
        first["key"].as_str().unwrap(),
        first["position"].to_string(),
    );
    until_no_lag(&file).await;
    let lag = json(&file, &["lag"]);
    assert_eq!(lag["consumers"][0]["consumer"], "relay:to-them");
    assert_eq!(lag["consumers"][0]["dead"], 4);

    let skip = [&["skip", "relay:to-them", key, &position], &BY[..]].concat();
    assert_eq!(json(&file, &skip)["decided"], "skip");
    until_aside(&file, 2).await;
    is_mended.store(true, Ordering::Relaxed);
    let other = if key == "order/2" {
        "order/3"
    } else {
        "order/2"
    };
    let again = [&["replay", "relay:to-them", other], &BY[..]].concat();
    let said = events(&file, &again);
    let told =
        format!("consumer relay:to-them, {other:?}: all is tried again when its node looks\n");
    assert_eq!(said.out, told);
    until_aside(&file, 0).await;
    relaying.stop().await;
    let mut taken = taking.await.unwrap();
    taken.sort();
    let skipped = format!("{key}/1");
    let all = [
        "order/1/1",
        "order/2/1",
        "order/2/2",
        "order/3/1",
        "order/3/2",
    ];
    let left: Vec<_> = all.into_iter().filter(|id| *id != skipped).collect();
    assert_eq!(taken, left);

    let none = events(&file, &again);
    assert_eq!(none.code, Some(1));
    let why = format!("consumer relay:to-them has set nothing aside of {other:?}\n");
    assert!(none.err.ends_with(&why), "{}", none.err);
    let tail = events(
        &file,
        &[
            "tail",
            "--streams",
            "order/",
            "--after",
            "0",
            "--for",
            "300ms",
        ],
    );
    assert_eq!(tail.out.lines().count(), 5, "{}", tail.out);
    assert!(
        tail.out.contains("order/2/1  Placed  {\"number\":13}"),
        "{}",
        tail.out
    );
}
