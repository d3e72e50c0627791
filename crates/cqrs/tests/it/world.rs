//! Accounts that money is paid into and taken from.

use std::sync::Arc;

use backstay_cqrs::{Commands, Decider, Events};
use backstay_store::{MemoryStore, Store};
use serde::{Deserialize, Serialize};

#[derive(Debug)]
pub(crate) struct Accounts;

#[derive(Clone, Debug, Serialize)]
pub(crate) enum Command {
    Deposit(u64),
    Withdraw(u64),
    Nothing,
    /// Several events at once.
    Split(Vec<u64>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    Deposited { cents: u64 },
    Withdrawn { cents: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} cents are asked for, and {there} are there")]
pub(crate) struct TooLittle {
    pub(crate) asked: u64,
    pub(crate) there: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) cents: u64,
}

impl Decider for Accounts {
    type State = Account;
    type Command = Command;
    type Event = Event;
    type Error = TooLittle;

    fn decide(&self, account: &Account, command: &Command) -> Result<Vec<Event>, TooLittle> {
        let there = account.cents;
        Ok(match *command {
            Command::Deposit(cents) => vec![Event::Deposited { cents }],
            Command::Withdraw(cents) if cents <= there => vec![Event::Withdrawn { cents }],
            Command::Withdraw(asked) => return Err(TooLittle { asked, there }),
            Command::Nothing => Vec::new(),
            Command::Split(ref parts) => {
                let deposited = |&cents: &u64| Event::Deposited { cents };
                parts.iter().map(deposited).collect()
            }
        })
    }

    fn evolve(&self, account: &mut Account, event: &Event) {
        match event {
            Event::Deposited { cents } => account.cents += cents,
            Event::Withdrawn { cents } => account.cents -= cents,
        }
    }
}

pub(crate) fn events() -> Events<Event> {
    Events::new().unwrap()
}

pub(crate) fn commands(store: &Store) -> Commands<Accounts> {
    let commands = Commands::builder(store.clone(), "account", Accounts, events());
    commands.build().unwrap()
}

pub(crate) fn memory() -> Store {
    MemoryStore::new().into_store()
}

/// A store in a file, which goes with the folder.
pub(crate) async fn file() -> (tempfile::TempDir, backstay_store::SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = backstay_store::SqliteStore::open(folder.path().join("store.db")).await;
    (folder, store.unwrap())
}

/// What a listener was told.
pub(crate) type Told = Arc<std::sync::Mutex<Vec<backstay_cqrs::Happened>>>;
