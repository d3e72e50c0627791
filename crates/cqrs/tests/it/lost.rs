//! Answers that are lost, logs that are busy or go back, and what a consumer says meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_cqrs::{Documents, ExecuteError, Happened, Operator, Projection, WaitError};
use backstay_store::{
    Backend, Batch, Between, Cause, Commit, CommitError, Effect, Event as Stored, MemoryStore,
    Pending, Position, Store, Unavailable, Version,
};
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};

use crate::world::{Command, Event, Told, commands, events, memory};

/// What becomes of a commit.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It happens, and nobody hears of it.
    Lost,
    /// It does not happen, and that is said.
    Away,
}

/// A store behind a connection that fails so, commit after commit, and is well after that.
#[derive(Debug)]
struct Lossy {
    store: MemoryStore,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

impl Between for Lossy {
    type Below = MemoryStore;

    fn below(&self) -> &MemoryStore {
        &self.store
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        let fate = self.fates.lock().unwrap().pop_front();
        async move {
            match fate {
                None => self.store.commit(batch).await,
                Some(Fate::Lost) => {
                    self.store.commit(batch).await?;
                    Err(Unavailable::new(Cause::Storage, Effect::Unknown).into())
                }
                Some(Fate::Away) => {
                    Err(Unavailable::new(Cause::Storage, Effect::NotExecuted).into())
                }
            }
        }
        .boxed()
    }
}

/// CQ-1: an answer that was lost is not made good by later ones that say that nothing was done: the events may be there.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_stays_unknown() {
    let fates = Arc::<Mutex<VecDeque<Fate>>>::default();
    let store = Store::new(Lossy {
        store: MemoryStore::new(),
        fates: fates.clone(),
    });
    let accounts = commands(&store);
    let deposit = async || accounts.execute("7", &Command::Deposit(1)).await;
    let effect = |done: Result<_, ExecuteError<_>>| match done {
        Err(ExecuteError::Unavailable(error)) => Some(error.effect()),
        _ => None,
    };
    fates.lock().unwrap().extend([Fate::Away; 4]);
    assert_eq!(effect(deposit().await), Some(Effect::NotExecuted));
    fates
        .lock()
        .unwrap()
        .extend([Fate::Away, Fate::Lost, Fate::Away, Fate::Away]);
    assert_eq!(effect(deposit().await), Some(Effect::Unknown));
    // It is the same batch, so one answer is enough.
    fates.lock().unwrap().extend([Fate::Lost, Fate::Away]);
    assert_eq!(deposit().await.unwrap().version, Version::new(2));
    assert_eq!(accounts.known("7").await.unwrap().state.cents, 2);
}

const SOON: Duration = Duration::from_secs(60);

/// The sum of each account, but of none that has had 666.
fn sums(log: &Store, views: &Store, told: &Told) -> Documents<u64> {
    let told = told.clone();
    let projection = Projection::new(log.clone(), "sums", "account", events())
        .on_event(move |_, happened| told.lock().unwrap().push(happened.clone()));
    projection
        .documents(
            views.clone(),
            |seen| vec![seen.id().to_owned()],
            |sum: Option<u64>, seen| {
                let Event::Deposited { cents } = *seen.event() else {
                    return sum;
                };
                assert!(cents != 666, "as told");
                Some(sum.unwrap_or_default() + cents)
            },
        )
        .unwrap()
}

/// CQ-2, CQ-3: where others write to the log without a pause, a read side says all the same that it has seen what they wrote.
#[tokio::test(start_paused = true)]
async fn a_busy_log_does_not_hold_up_what_is_seen() {
    let (log, views) = (memory(), memory());
    let sums = sums(&log, &views, &Told::default());
    let writer = tokio::spawn({
        let log = log.clone();
        async move {
            loop {
                let other = Batch::new().append("other/1", Stored::new("Happened", "null"));
                log.commit(other).await.unwrap();
                sleep(Duration::from_millis(40)).await;
            }
        }
    });
    sleep(Duration::from_secs(1)).await;
    let other = Batch::new().append("other/2", Stored::new("Happened", "null"));
    let position = log.commit(other).await.unwrap().position;
    sums.at_least(position, Duration::from_secs(2))
        .await
        .unwrap();
    writer.abort();
}

/// CQ-2: who looks at the log's store only sees no lag where all was taken, also when nothing happens after that.
#[tokio::test(start_paused = true)]
async fn an_idle_consumer_has_no_lag() {
    let (log, views) = (memory(), memory());
    let (accounts, sums) = (commands(&log), sums(&log, &views, &Told::default()));
    for _ in 0..2 {
        let done = accounts.execute("7", &Command::Deposit(1)).await.unwrap();
        sums.at_least(done.position, SOON).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(10)).await;
    let listed = Operator::new(log).consumers().await.unwrap();
    assert_eq!((&*listed[0].name, listed[0].lag), ("sums", None));
}

/// CQ-2: a read side that is further than its log, because that was restored, takes nothing and says why.
#[tokio::test(start_paused = true)]
async fn a_log_that_went_back_is_told() {
    let (log, views) = (memory(), memory());
    let first = sums(&log, &views, &Told::default());
    for _ in 0..5 {
        let done = commands(&log).execute("7", &Command::Deposit(1)).await;
        first.at_least(done.unwrap().position, SOON).await.unwrap();
    }
    first.stop().await;
    let (restored, told) = (memory(), Told::default());
    commands(&restored)
        .execute("8", &Command::Deposit(1))
        .await
        .unwrap();
    let _second = sums(&restored, &views, &told);
    sleep(Duration::from_secs(5)).await;
    let told = told.lock().unwrap();
    let stalled = told.iter().find_map(|happened| match happened {
        Happened::Stalled { error } => Some(error.clone()),
        _ => None,
    });
    let error = "was the log restored from a backup?";
    assert!(stalled.is_some_and(|told| told.ends_with(error)));
    assert!(
        !told
            .iter()
            .any(|happened| matches!(happened, Happened::Began { .. }))
    );
}

/// CQ-4: a generation that has set aside what the live one shows does not take its place; it can be given up.
#[tokio::test(start_paused = true)]
async fn what_shows_less_does_not_go_live() {
    let (log, views) = (memory(), memory());
    let accounts = commands(&log);
    let told = Told::default();
    let first = Projection::new(log.clone(), "sums", "account", events());
    let first: Documents<u64> = first
        .documents(
            views.clone(),
            |seen| vec![seen.id().to_owned()],
            |sum: Option<u64>, seen| match *seen.event() {
                Event::Deposited { cents } => Some(sum.unwrap_or_default() + cents),
                Event::Withdrawn { .. } => sum,
            },
        )
        .unwrap();
    let mut last = Position::START;
    for cents in [1, 666, 2] {
        last = accounts
            .execute("7", &Command::Deposit(cents))
            .await
            .unwrap()
            .position;
    }
    first.at_least(last, SOON).await.unwrap();
    first.stop().await;

    // The new code can't take what the old one could.
    let second = sums(&log, &views, &told);
    second.rebuild().await.unwrap();
    sleep(Duration::from_secs(120)).await;
    let operator = Operator::new(log.clone());
    assert_eq!(operator.dead("sums~2").await.unwrap().len(), 2);
    assert_eq!(second.get("7").await.unwrap(), Some(669));
    second.abandon_rebuild().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let left = views.list("view/sums~2/", "", 10).await.unwrap();
    assert_eq!(
        (left.len(), operator.dead("sums~2").await.unwrap().len()),
        (0, 0)
    );
    let consumers = operator.consumers().await.unwrap();
    assert_eq!(consumers.len(), 1, "{consumers:?}");

    // A person says that it is not wanted; then it shows as much.
    second.rebuild().await.unwrap();
    let dead = async || operator.dead("sums~3").await.unwrap();
    while dead().await.len() < 2 {
        sleep(Duration::from_millis(100)).await;
    }
    let (bad, behind) = (dead().await[0].position, dead().await[1].position);
    let not_first = operator
        .skip("sums~3", "account/7", behind, "eva", "x")
        .await;
    assert!(
        not_first
            .unwrap_err()
            .to_string()
            .contains(&format!("is at {bad}"))
    );
    operator
        .skip("sums~3", "account/7", bad, "eva", "not wanted")
        .await
        .unwrap();
    let switched = async {
        while second.get("7").await.unwrap() != Some(3) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, switched).await.unwrap();
    let late = Position::new(last.get() + 1_000_000);
    let behind = second.at_least(late, Duration::ZERO).await;
    assert!(
        matches!(behind, Err(WaitError::Behind { .. })),
        "{behind:?}"
    );
}

/// CQ-2: a read side whose streams were changed does not go on where it was.
#[tokio::test(start_paused = true)]
async fn other_streams_need_another_name() {
    let (log, views) = (memory(), memory());
    let first = sums(&log, &views, &Told::default());
    let done = commands(&log).execute("7", &Command::Deposit(1)).await;
    first.at_least(done.unwrap().position, SOON).await.unwrap();
    first.stop().await;
    let told = Told::default();
    let listener = told.clone();
    let others = Projection::new(log, "sums", "card", events())
        .on_event(move |_, happened| listener.lock().unwrap().push(happened.clone()));
    let _others: Documents<u64> = others
        .documents(
            views,
            |seen| vec![seen.id().to_owned()],
            |sum: Option<u64>, _| sum,
        )
        .unwrap();
    sleep(Duration::from_secs(5)).await;
    let told = told.lock().unwrap();
    let error = r#"it has followed the streams "account", and now "card""#;
    let is_told = |happened: &Happened| matches!(happened, Happened::Stalled { error: told } if told.starts_with(error));
    assert!(told.iter().all(is_told) && !told.is_empty(), "{told:?}");
}
