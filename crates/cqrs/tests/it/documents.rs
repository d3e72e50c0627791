use std::time::Duration;

use backstay_cqrs::{Documents, Operator, Projection, Seen, WaitError};
use backstay_store::{Position, Store};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::world::{Command, Event, commands, events, file, memory};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Balance {
    cents: u64,
    movements: u64,
}

fn change(before: Option<Balance>, seen: &Seen<Event>) -> Option<Balance> {
    let before = before.unwrap_or(Balance {
        cents: 0,
        movements: 0,
    });
    let cents = match seen.event() {
        Event::Deposited { cents } => before.cents + cents,
        Event::Withdrawn { cents } => before.cents - cents,
    };
    // An empty account has no document.
    (cents > 0).then_some(Balance {
        cents,
        movements: before.movements + 1,
    })
}

fn balances(log: &Store, views: &Store) -> Documents<Balance> {
    let projection = Projection::new(log.clone(), "balances", "account", events());
    let projection = projection.ttl(Duration::from_millis(600));
    let keys = |seen: &Seen<Event>| vec![seen.id().to_owned(), "all".to_owned()];
    projection.documents(views.clone(), keys, change).unwrap()
}

const SOON: Duration = Duration::from_secs(20);

/// CQ-2, CQ-3: documents follow the log, in a store of their own, and a second node goes on where the first has stopped.
#[tokio::test(flavor = "multi_thread")]
async fn documents_follow() {
    let (log, (_folder, views)) = (memory(), file().await);
    let accounts = commands(&log);
    let views: Store = views.into();
    let first = balances(&log, &views);
    let second = balances(&log, &views);
    let reader: Documents<Balance> = Documents::reader(views.clone(), "balances");
    for cents in 1..=20 {
        let done = accounts
            .execute("7", &Command::Deposit(cents))
            .await
            .unwrap();
        reader.at_least(done.position, SOON).await.unwrap();
        let seven = reader.get("7").await.unwrap().unwrap();
        assert_eq!(
            (seven.cents, seven.movements),
            (cents * (cents + 1) / 2, cents)
        );
    }
    first.stop().await;
    let done = accounts.execute("8", &Command::Deposit(1)).await.unwrap();
    second.at_least(done.position, SOON).await.unwrap();
    let all = second.list("", 10).await.unwrap();
    let all: Vec<_> = all.iter().map(|one| (&*one.key, one.value.cents)).collect();
    assert_eq!(all, [("7", 210), ("8", 1), ("all", 211)]);
    assert_eq!(second.list("7", 1).await.unwrap()[0].key, "8");
    let done = accounts.execute("8", &Command::Withdraw(1)).await.unwrap();
    second.at_least(done.position, SOON).await.unwrap();
    assert_eq!(second.get("8").await.unwrap(), None);
    let late = Position::new(done.position.get() + 1_000);
    let behind = reader.at_least(late, Duration::from_millis(50)).await;
    assert!(
        matches!(behind, Err(WaitError::Behind { .. })),
        "{behind:?}"
    );
}

/// CQ-4: a read model is built anew beside the live one, which is read until the new one shows as much; both took the same
/// events, each once.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_built_beside() {
    let (log, views) = (memory(), memory());
    let accounts = commands(&log);
    let live = balances(&log, &views);
    let mut last = Position::START;
    for number in 0..300 {
        let id = (number % 7).to_string();
        last = accounts
            .execute(&id, &Command::Deposit(1))
            .await
            .unwrap()
            .position;
    }
    live.at_least(last, SOON).await.unwrap();
    let before = live.checksum().await.unwrap();
    assert_eq!((before.events, before.position), (300, last));
    let operator = Operator::new(log.clone());
    let of_log = operator.checksum("balances", "account", last).await;
    assert_eq!(of_log.unwrap(), before);
    // Somebody has changed what is no event.
    let changed =
        backstay_store::Batch::new().put("view/balances/1", r#"{"cents":0,"movements":0}"#);
    views.commit(changed).await.unwrap();
    assert_eq!(live.get("1").await.unwrap().unwrap().cents, 0);
    live.rebuild().await.unwrap();
    live.rebuild().await.unwrap();
    let rebuilt = async {
        while live.get("1").await.unwrap().unwrap().cents == 0 {
            live.at_least(last, SOON).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, rebuilt).await.unwrap();
    let after = live.checksum().await.unwrap();
    assert_eq!((after.events, after.sum), (before.events, before.sum));
    let done = accounts.execute("1", &Command::Deposit(1)).await.unwrap();
    live.at_least(done.position, SOON).await.unwrap();
    assert_eq!(live.get("1").await.unwrap().unwrap().cents, 44);
}

/// CQ-4: what the old generation has left goes half a minute after the switch, also where the node that has switched is gone by
/// then; it is no consumer any more, and what was taken away stays away.
#[tokio::test(start_paused = true)]
async fn what_was_replaced_goes() {
    let (log, views) = (memory(), memory());
    let accounts = commands(&log);
    for number in 0..30 {
        let id = (number % 7).to_string();
        accounts.execute(&id, &Command::Deposit(1)).await.unwrap();
    }
    let first = balances(&log, &views);
    let last = accounts.execute("1", &Command::Deposit(1)).await.unwrap();
    first.at_least(last.position, SOON).await.unwrap();
    let left = async |generation: &str| {
        let keys = views.list(&format!("view/{generation}/"), "", 100).await;
        keys.unwrap().len()
    };
    let consumers = async || -> Vec<String> {
        let consumers = Operator::new(log.clone()).consumers().await.unwrap();
        consumers.into_iter().map(|one| one.name).collect()
    };
    first.rebuild().await.unwrap();
    while left("balances~2").await == 0 || consumers().await.len() < 2 {
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(1)).await;
    first.stop().await;
    assert_eq!((left("balances").await, left("balances~2").await), (8, 8));
    let second = balances(&log, &views);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((left("balances").await, left("balances~2").await), (0, 8));
    assert_eq!(consumers().await, ["balances~2"]);
    second.rebuild().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((left("balances~2").await, left("balances~3").await), (0, 8));
    assert_eq!(consumers().await, ["balances~3"]);
}
