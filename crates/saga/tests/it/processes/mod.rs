//! Workers that are processes of their own, killed and stopped at random, and a service that counts what they do to it.

mod service;
mod worker;

use std::collections::BTreeMap;
use std::time::Duration;

use backstay_saga::{Operator, Standing};
use backstay_store::postgres::PostgresOptions;
use backstay_store::{SqliteStore, Store};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use service::{Service, What};
use worker::Process;

/// A home that processes share.
#[derive(Clone, Debug)]
pub(crate) enum Home {
    File(String),
    Server { url: String, schema: String },
}

impl Home {
    pub(crate) async fn open(&self) -> Store {
        match self {
            Self::File(path) => SqliteStore::open(path).await.expect("a store").into(),
            Self::Server { url, schema } => {
                let options = PostgresOptions::new().schema(schema).pool(4);
                options.connect(url).await.expect("a store").into()
            }
        }
    }
}

const WORKERS: usize = 3;
/// As many, if the sagas have not ended sooner.
const FAULTS: usize = 100;
/// Longer than anything here takes on a slow machine; it ends with the last saga.
const WITHIN: Duration = Duration::from_secs(480);

/// Kills, stops and starts workers until all sagas have ended, then asks the service what was done to it.
async fn storm(home: Home, sagas: u32) {
    let service = Service::start().await;
    let operator = Operator::new(home.open().await);
    let worker = |number: usize| {
        let own = (0..sagas).filter(|saga| *saga as usize % WORKERS == number);
        Process::start(&home, service.address(), &own.collect::<Vec<_>>())
    };
    let mut workers: Vec<_> = (0..WORKERS).map(worker).collect();
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut killed, mut stopped) = (0_usize, 0_usize);
    let until = Instant::now() + WITHIN;
    loop {
        sleep(Duration::from_millis(random.u64(50..400))).await;
        assert!(
            Instant::now() < until,
            "not all have ended: {killed} killed, {stopped} stopped"
        );
        let number = random.usize(..WORKERS);
        if killed + stopped >= FAULTS {
            // A slow machine needs the time to end what it has begun.
        } else if random.bool() {
            killed += 1;
            workers[number] = worker(number);
        } else {
            stopped += 1;
            workers[number].signal(Signal::STOP);
            // Long enough that others take what it has.
            sleep(worker::TTL * 2).await;
            workers[number].signal(Signal::CONT);
        }
        if killed + stopped >= 12 && ended(&operator).await.len() == sagas as usize {
            break;
        }
    }
    drop(workers);
    let ended = ended(&operator).await;
    let calls = service.calls();
    let mut by_saga: BTreeMap<String, Vec<(String, What)>> = BTreeMap::new();
    for (saga, step, what) in calls {
        by_saga.entry(saga).or_default().push((step, what));
    }
    for (id, standing) in &ended {
        let calls = by_saga.get(id).cloned().unwrap_or_default();
        let all = ["hold", "seat", "charge"];
        let done: Vec<&str> = of(&calls, What::Done);
        let undone: Vec<&str> = of(&calls, What::Undone);
        let twice = all
            .iter()
            .any(|step| done.iter().filter(|done| *done == step).count() > 1);
        assert!(!twice, "saga {id}: an effect twice: {calls:?}");
        match standing {
            Standing::Done => {
                assert_eq!(
                    (done, undone),
                    (all.to_vec(), vec![]),
                    "saga {id}: {calls:?}"
                );
            }
            Standing::Undone => {
                let back: Vec<&str> = done.iter().rev().copied().collect();
                assert_eq!(undone, back, "saga {id}: {calls:?}");
            }
            standing => panic!("saga {id} is {standing:?}: {calls:?}"),
        }
        // Every fourth is refused the charge.
        let is_refused = id.parse::<u32>().unwrap() % 4 == 0;
        assert_eq!(
            *standing == Standing::Undone,
            is_refused,
            "saga {id}: {calls:?}"
        );
    }
    eprintln!("{killed} killed, {stopped} stopped, {} sagas", ended.len());
}

fn of(calls: &[(String, What)], what: What) -> Vec<&str> {
    let those = calls.iter().filter(|(_, of)| *of == what);
    those.map(|(step, _)| step.as_str()).collect()
}

/// Instances that have ended or are parked, by id.
async fn ended(operator: &Operator) -> BTreeMap<String, Standing> {
    let mut all = BTreeMap::new();
    let mut after = None;
    loop {
        let Ok(page) = operator.ended(after.as_deref()).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let listed = page.instances.into_iter();
        all.extend(listed.map(|listed| (listed.id, listed.standing)));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

/// SAG-1, SAG-2, SAG-3, SAG-7: on a file, nothing is done twice, forgotten, or undone out of order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sagas.db").display().to_string();
    storm(Home::File(path), 1_000).await;
}

/// SAG-1, SAG-2, SAG-3, SAG-7: the same on a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_server() {
    let Some(url) = test_servers::postgres() else {
        return;
    };
    let schema = test_servers::own_name();
    storm(Home::Server { url, schema }, 1_000).await;
}
