use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_cqrs::{Happened, Memory, Projection, Seen, WaitError};
use backstay_store::Position;

use crate::world::{Command, Event, Told, commands, events, memory};

type Balances = BTreeMap<String, u64>;

fn apply(balances: &mut Balances, seen: &Seen<Event>) {
    let balance = balances.entry(seen.id().to_owned()).or_default();
    match seen.event() {
        Event::Deposited { cents } => *balance += cents,
        Event::Withdrawn { cents } => *balance -= cents,
    }
}

const SOON: Duration = Duration::from_secs(20);

/// CQ-2, CQ-3: a model in memory follows the log, what was there and what comes, and shows what was written when asked.
#[tokio::test]
async fn a_model_in_memory_follows() {
    let store = memory();
    let accounts = commands(&store);
    for id in ["1", "2", "1"] {
        accounts.execute(id, &Command::Deposit(5)).await.unwrap();
    }
    let balances: Memory<Balances> =
        Projection::new(store.clone(), "balances", "account", events())
            .memory(|balances, seen| {
                apply(balances, seen);
                Ok::<_, Infallible>(())
            })
            .unwrap();
    let mut last = Position::START;
    for cents in 1..=20 {
        last = accounts
            .execute("2", &Command::Deposit(cents))
            .await
            .unwrap()
            .position;
        balances.at_least(last, SOON).await.unwrap();
        let shown = balances.read(|balances| balances["2"]);
        assert_eq!(shown, 5 + cents * (cents + 1) / 2);
    }
    assert_eq!(balances.read(|balances| balances["1"]), 10);
    let late = Position::new(last.get() + 100);
    let behind = balances.at_least(late, Duration::from_millis(20)).await;
    let Err(WaitError::Behind { wanted, .. }) = behind else {
        panic!("{behind:?}");
    };
    assert_eq!(wanted, late);
    balances.stop().await;
}

/// CQ-5: a thing whose event is refused, or makes the code panic, stands still; the others go on, and nothing of them is lost or
/// taken twice.
#[tokio::test(start_paused = true)]
async fn one_bad_thing_stands_alone() {
    for panics in [false, true] {
        let store = memory();
        let accounts = commands(&store);
        for round in 0..30 {
            for id in ["1", "2", "3"] {
                let cents = if round == 15 && id == "2" { 666 } else { 1 };
                accounts
                    .execute(id, &Command::Deposit(cents))
                    .await
                    .unwrap();
            }
        }
        let told = Told::default();
        let (listener, is_broken) = (told.clone(), Arc::new(AtomicBool::new(false)));
        let broken = is_broken.clone();
        let balances: Memory<Balances> = Projection::new(store, "balances", "account", events())
            .on_event(move |_, happened| listener.lock().unwrap().push(happened.clone()))
            .memory(move |balances, seen| {
                if *seen.event() == (Event::Deposited { cents: 666 }) {
                    assert!(!panics || broken.load(Ordering::Relaxed), "as told");
                    return Err(std::io::Error::other("not this one"));
                }
                apply(balances, seen);
                Ok(())
            })
            .unwrap();
        is_broken.store(false, Ordering::Relaxed);
        let last = accounts.execute("3", &Command::Deposit(1)).await.unwrap();
        balances.at_least(last.position, SOON).await.unwrap();
        let shown = balances.read(Clone::clone);
        assert_eq!(
            shown.into_values().collect::<Vec<_>>(),
            [30, 15, 31],
            "{panics}"
        );
        let told = told.lock().unwrap();
        let aside = told.iter().filter_map(|happened| match happened {
            Happened::SetAside { key, error, .. } => Some((key.clone(), error.clone())),
            _ => None,
        });
        let error = if panics {
            "its code panicked"
        } else {
            "not this one"
        };
        let expected = [("account/2".to_owned(), error.to_owned())];
        assert_eq!(aside.collect::<Vec<_>>(), expected);
        assert_eq!(balances.progress().dead, 15);
    }
}

/// A model is whole whenever it is read: never half of an event.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_read_whole() {
    let store = memory();
    let accounts = commands(&store);
    let pairs: Memory<(u64, u64)> = Projection::new(store, "pairs", "account", events())
        .memory(|pair: &mut (u64, u64), _| {
            pair.0 += 1;
            std::hint::spin_loop();
            pair.1 += 1;
            Ok::<_, Infallible>(())
        })
        .unwrap();
    let pairs = Arc::new(Mutex::new(pairs));
    for _ in 0..200 {
        let done = accounts.execute("1", &Command::Deposit(1)).await.unwrap();
        let (one, other) = pairs.lock().unwrap().read(|pair| *pair);
        assert_eq!(one, other);
        assert!(done.position > Position::START);
    }
}
