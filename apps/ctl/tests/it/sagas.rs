//! The saga that the tests' processes run, and an engine for it.

use std::path::Path;
use std::time::Duration;

use backstay_saga::{
    Attempt, Builder, Cx, Engine, Retry, Saga, Settled, StepError, UndoError, Version,
};
use backstay_store::{SqliteStore, Store};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::process::say;

/// What the step `charge` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Charge {
    /// Nothing goes wrong.
    Work,
    /// It says that it has begun, and never ends.
    Hang,
    /// Nobody knows whether it has happened.
    LoseReply,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: u32,
}

pub(crate) type Orders = Saga<Charge, Order, String>;
pub(crate) type Context = Cx<Charge, Order>;

/// Holds goods, waits for an approval, charges, mails.
pub(crate) fn order(version: u32) -> Orders {
    let saga: Builder<Charge, Order> = Saga::builder("order", Version(version));
    let hold = saga.step("hold", hold).undo(release);
    let approved = saga.signal::<String>("approved", None);
    let approved = approved.after(hold).nothing_to_undo();
    let charge = saga.step("charge", charge).needs(approved);
    let charged = charge.not_idempotent().retry(Retry::attempts(1)).pivot();
    saga.step("mail", mail).needs(charged).until_done();
    saga.build(charged).unwrap()
}

async fn hold(cx: Context) -> Result<String, StepError> {
    Ok(format!("goods of {}", cx.input().number))
}

async fn release(_: Context, _: Attempt<String>) -> Result<(), UndoError> {
    Ok(())
}

async fn charge(cx: Context, _approved: String) -> Result<String, StepError> {
    match cx.app() {
        Charge::Work => Ok("charged".to_owned()),
        Charge::Hang => {
            say("charging");
            sleep(Duration::from_secs(3_600)).await;
            Ok("late".to_owned())
        }
        Charge::LoseReply => Err(StepError::unknown("the bank did not answer")),
    }
}

async fn mail(_: Context, charged: String) -> Result<String, StepError> {
    Ok(format!("mail about {charged}"))
}

pub(crate) async fn engine(file: &Path, charge: Charge, saga: &Orders) -> Engine<Charge> {
    let store = SqliteStore::open(file).await.unwrap();
    engine_on(store.into(), charge, saga).await
}

pub(crate) async fn engine_on(store: Store, charge: Charge, saga: &Orders) -> Engine<Charge> {
    let engine = Engine::builder(store, charge).run(saga);
    // Tests do not wait for long until a killed one is replaced.
    engine
        .ttl(Duration::from_millis(500))
        .start()
        .await
        .unwrap()
}

/// Runs a new engine where another was killed, until the order has come to an end that is not that it is parked.
pub(crate) async fn go_on(file: &Path, charge: Charge) -> Settled<String> {
    let saga = order(1);
    let engine = engine(file, charge, &saga).await;
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    let over = async {
        loop {
            match handle.settled().await.unwrap() {
                Settled::Parked(_) => sleep(Duration::from_millis(50)).await,
                settled => return settled,
            }
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(60), over).await;
    engine.drain(Duration::from_secs(10)).await;
    settled.expect("it takes far less time")
}
