//! Sagas within sagas.

use std::time::Duration;

use backstay_saga::{Builder, Engine, Operator, Saga, Standing, StepError, Version};
use backstay_store::SqliteStore;
use tempfile::tempdir;
use tokio::time::sleep;

use crate::run::{done, json};
use crate::sagas::{Charge, Context, Order, order};

const BY: [&str; 4] = ["--who", "eva", "--why", "the customer has gone"];

async fn given(cx: Context) -> Result<Order, StepError> {
    Ok(cx.input().clone())
}

/// SAG-10: a saga that waits for one within it says for which, and how that stands; whoever abandons it is told what goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_within_is_told() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let trip: Builder<Charge, Order> = Saga::builder("trip", Version(1));
    let given = trip.step("given", given).nothing_to_undo();
    let ordered = trip.child("order", &order(1)).needs(given).pivot();
    let trip = trip.build(ordered).unwrap();
    let store = SqliteStore::open(&file).await.unwrap();
    let engine = Engine::builder(store.clone(), Charge::LoseReply).run(&trip);
    let engine = engine.start().await.unwrap();
    engine.start(&trip, "7", Order { number: 7 }).await.unwrap();

    let operator = Operator::new(store);
    let child = async || {
        let shown = operator.show("trip", "7").await.unwrap();
        shown.steps[1].child.clone()
    };
    while child().await.is_none() {
        sleep(Duration::from_millis(20)).await;
    }
    let yes = ["signal", "order", "trip/7/order", "approved"];
    done(&file, &[&yes[..], &["--value", "\"yes\""], &BY].concat());
    while child().await.unwrap().standing != Standing::Parked {
        sleep(Duration::from_millis(20)).await;
    }

    let why = "nobody knows whether the pivot \"charge\" has happened: the bank did not answer";
    let shown = done(&file, &["show", "trip", "7"]);
    assert!(shown.contains("standing  running\n"), "{shown}");
    let line = format!("step \"order\" is saga order \"trip/7/order\", parked: {why}\n");
    assert!(shown.contains(&line), "{shown}");
    let shown = json(&file, &["show", "trip", "7"]);
    assert_eq!(shown["steps"][0]["child"], serde_json::Value::Null);
    let child = &shown["steps"][1]["child"];
    assert_eq!(
        (&child["saga"], &child["id"], &child["standing"]),
        (&"order".into(), &"trip/7/order".into(), &"parked".into())
    );
    assert_eq!(child["why"], why);

    let abandoned = done(&file, &[&["abandon", "trip", "7"][..], &BY].concat());
    let goes_on = format!("saga order \"trip/7/order\" within it goes on: parked: {why}\n");
    assert_eq!(abandoned, format!("saga trip \"7\": abandoned\n{goes_on}"));
    let end = ["abandon", "order", "trip/7/order"];
    let ended = json(&file, &[&end[..], &BY].concat());
    assert_eq!(ended["children"], serde_json::json!([]));
}
