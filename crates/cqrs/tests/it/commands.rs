use std::collections::BTreeMap;
use std::time::Duration;

use backstay_cqrs::{Commands, ExecuteError, LoadError};
use backstay_store::{Batch, Event as Stored, Position, Version};
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::world::{Account, Accounts, Command, TooLittle, commands, events, file, memory};

/// CQ-1, CQ-3: a command appends what it comes to and says where that is.
#[tokio::test]
async fn a_command_says_where_it_is() {
    let store = memory();
    let accounts = commands(&store);
    let first = accounts.execute("7", &Command::Deposit(5)).await.unwrap();
    assert_eq!((first.version, first.events), (Version::new(1), 1));
    let both = Command::Split(vec![1, 2]);
    let second = accounts.execute("7", &both).await.unwrap();
    assert_eq!((second.version, second.events), (Version::new(3), 2));
    assert!(second.position > first.position);
    let events = store.read("account/7", Version::START, 10).await.unwrap();
    assert_eq!(events[0].position, first.position);
    assert_eq!(events[2].position, second.position);

    let nothing = accounts.execute("7", &Command::Nothing).await.unwrap();
    assert_eq!(nothing.position, second.position);
    assert_eq!((nothing.version, nothing.events), (Version::new(3), 0));
    let of_none = accounts.execute("8", &Command::Nothing).await.unwrap();
    assert_eq!(of_none.position, Position::START);

    let refused = accounts.execute("7", &Command::Withdraw(9)).await;
    let Err(ExecuteError::Refused(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error, TooLittle { asked: 9, there: 8 });
    let known = accounts.known("7").await.unwrap();
    assert_eq!(known.state, Account { cents: 8 });
    assert_eq!(known.version, Version::new(3));
}

/// CQ-1: of those who decide at once each sees what the others have done, and nothing is lost or taken twice.
#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_decided_anew() {
    let (_folder, store) = file().await;
    let accounts = Commands::builder(store, "account", Accounts, events());
    let accounts = accounts.attempts(100).build().unwrap();
    accounts.execute("7", &Command::Deposit(20)).await.unwrap();
    let all = (0..32).map(|_| accounts.execute("7", &Command::Withdraw(1)));
    let all = join_all(all).await;
    let done = all.iter().filter(|done| done.is_ok()).count();
    let refused =
        |error: &Result<_, ExecuteError<TooLittle>>| matches!(error, Err(ExecuteError::Refused(_)));
    assert_eq!(
        (done, all.iter().filter(|done| refused(done)).count()),
        (20, 12)
    );
    assert_eq!(accounts.known("7").await.unwrap().state.cents, 0);
}

/// CQ-1: it is decided so often and not once more.
#[tokio::test]
async fn conflicts_are_bounded() {
    let (_folder, store) = file().await;
    let accounts = Commands::builder(store, "account", Accounts, events());
    let accounts = accounts.attempts(1).build().unwrap();
    let all = (0..32).map(|_| accounts.execute("7", &Command::Deposit(1)));
    let all = join_all(all).await;
    let done = all.iter().filter(|done| done.is_ok()).count();
    let contended = |error: &Result<_, ExecuteError<TooLittle>>| {
        matches!(error, Err(ExecuteError::Contended { attempts: 1 }))
    };
    assert_eq!(all.iter().filter(|done| contended(done)).count(), 32 - done);
    assert_eq!(accounts.known("7").await.unwrap().state.cents, done as u64);
    assert!((1..32).contains(&done), "{done}");
}

/// A command with a key happens once, whatever is so when it is repeated, and other commands under the key are refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_used_once() {
    let (_folder, store) = file().await;
    let accounts = Commands::builder(store, "account", Accounts, events());
    let accounts = accounts.attempts(50).build().unwrap();
    accounts.execute("7", &Command::Deposit(5)).await.unwrap();
    let take = Command::Withdraw(5);
    let all = (0..8).map(|_| accounts.execute_once("7", "k", &take));
    let all: Vec<_> = join_all(all)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(all.iter().filter(|done| !done.is_repeat).count(), 1);
    for done in &all {
        assert_eq!(done.position, all[0].position);
        assert_eq!((done.version, done.events), (Version::new(2), 1));
    }
    // There is nothing left to take, and it was taken.
    let again = accounts.execute_once("7", "k", &take).await.unwrap();
    assert!(again.is_repeat);
    let other = accounts.execute_once("7", "k", &Command::Deposit(5)).await;
    assert!(
        matches!(other, Err(ExecuteError::OtherCommand)),
        "{other:?}"
    );
    // A refused one has not used its key.
    let refused = accounts.execute_once("7", "l", &take).await;
    assert!(
        matches!(refused, Err(ExecuteError::Refused(_))),
        "{refused:?}"
    );
    accounts.execute("7", &Command::Deposit(5)).await.unwrap();
    assert!(
        !accounts
            .execute_once("7", "l", &take)
            .await
            .unwrap()
            .is_repeat
    );
    // The key is the thing's own, and nothing is something that can be repeated.
    let nothing = accounts
        .execute_once("8", "k", &Command::Nothing)
        .await
        .unwrap();
    assert_eq!((nothing.events, nothing.is_repeat), (0, false));
    let nothing = accounts
        .execute_once("8", "k", &Command::Nothing)
        .await
        .unwrap();
    assert_eq!((nothing.events, nothing.is_repeat), (0, true));
    for key in ["", &"k".repeat(1_001)] {
        let invalid = accounts.execute_once("7", key, &take).await;
        assert!(
            matches!(invalid, Err(ExecuteError::Invalid(_))),
            "{invalid:?}"
        );
    }
}

/// A snapshot says the same as the events before it; one of another schema, or that can't be read, is not looked at.
#[tokio::test]
async fn snapshots_change_nothing() {
    let store = memory();
    let with = |schema| {
        let commands = Commands::builder(store.clone(), "account", Accounts, events());
        commands.snapshots(10, schema).build().unwrap()
    };
    let accounts = with(1);
    for cents in 1..=25 {
        accounts
            .execute("7", &Command::Deposit(cents))
            .await
            .unwrap();
    }
    let keys = store.list("cqrs/account/snapshot/", "", 10).await.unwrap();
    let text = String::from_utf8_lossy(&keys[0].value).into_owned();
    assert_eq!(text, r#"{"schema":1,"version":20,"state":{"cents":210}}"#);
    let known = accounts.known("7").await.unwrap();
    assert_eq!((known.state.cents, known.version), (325, Version::new(25)));
    // What it is made of is read from there on only.
    let lie = r#"{"schema":1,"version":20,"state":{"cents":1}}"#;
    let key = keys[0].key.clone();
    store
        .commit(Batch::new().put(key.clone(), lie))
        .await
        .unwrap();
    assert_eq!(accounts.known("7").await.unwrap().state.cents, 116);
    assert_eq!(with(2).known("7").await.unwrap().state.cents, 325);
    for broken in ["", "{", r#"{"schema":1,"version":20,"state":{"euros":1}}"#] {
        store
            .commit(Batch::new().put(key.clone(), broken))
            .await
            .unwrap();
        assert_eq!(accounts.known("7").await.unwrap().state.cents, 325);
    }
    // The thirtieth event is the snapshot's own.
    for cents in 26..=30 {
        accounts
            .execute("7", &Command::Deposit(cents))
            .await
            .unwrap();
    }
    let last = accounts.execute("7", &Command::Nothing).await.unwrap();
    let known = accounts.known("7").await.unwrap();
    assert_eq!((known.version, known.state.cents), (Version::new(30), 465));
    assert_eq!(known.position, last.position);
}

/// CQ-6: nothing is decided without an event that this code does not know.
#[tokio::test]
async fn an_unknown_event_is_not_passed_over() {
    let store = memory();
    let accounts = commands(&store);
    accounts.execute("7", &Command::Deposit(5)).await.unwrap();
    let frozen = Stored::new("Frozen", "{}");
    store
        .commit(Batch::new().append("account/7", frozen))
        .await
        .unwrap();
    let refused = accounts.execute("7", &Command::Withdraw(5)).await;
    let Err(ExecuteError::Unknown(LoadError::UnknownEvent { kind, version, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((&*kind, version), ("Frozen", Version::new(2)));
}

/// What can't be used is refused by its name and limit.
#[tokio::test]
async fn options_have_limits() {
    let store = memory();
    let builder = |name: &str| Commands::builder(store.clone(), name, Accounts, events());
    let errors = [
        builder("a/b").build().unwrap_err(),
        builder("").build().unwrap_err(),
        builder("a").attempts(0).build().unwrap_err(),
        builder("a").remember(Duration::ZERO).build().unwrap_err(),
        builder("a").snapshots(1, 1).build().unwrap_err(),
    ];
    let fields = ["name", "name", "attempts", "remember", "snapshots"];
    for (error, field) in errors.iter().zip(fields) {
        assert!(error.to_string().starts_with(field), "{error}");
    }
    let empty = commands(&store).execute("", &Command::Nothing).await;
    assert!(matches!(empty, Err(ExecuteError::Invalid(_))), "{empty:?}");
}

proptest! {
    /// CQ-1: what a process keeps of a thing changes nothing: of several processes each decides on what all of them have done,
    /// by one attempt where nobody decides at the same time.
    #[test]
    fn what_is_kept_is_never_old(steps in vec((0..3_usize, 0..2_u8, 0..4_u8, 1..5_u64), 1..60)) {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let store = memory();
            let processes: Vec<_> = (0..3)
                .map(|_| Commands::builder(store.clone(), "account", Accounts, events()))
                .map(|accounts| accounts.attempts(1).build().unwrap())
                .collect();
            let mut truth = BTreeMap::<u8, (u64, u64)>::new();
            for (number, (process, id, kind, cents)) in steps.into_iter().enumerate() {
                let (there, version) = truth.entry(id).or_default();
                let command = match kind {
                    0 | 1 => Command::Deposit(cents),
                    2 => Command::Withdraw(cents * 3),
                    _ => Command::Nothing,
                };
                let (accounts, id) = (&processes[process], id.to_string());
                let done = if number % 3 == 0 {
                    accounts.execute_once(&id, &number.to_string(), &command).await
                } else {
                    accounts.execute(&id, &command).await
                };
                match command {
                    Command::Deposit(cents) => (*there, *version) = (*there + cents, *version + 1),
                    Command::Withdraw(cents) if cents <= *there => {
                        (*there, *version) = (*there - cents, *version + 1);
                    }
                    Command::Withdraw(asked) => {
                        let there = *there;
                        let Err(ExecuteError::Refused(error)) = done else {
                            panic!("{done:?}");
                        };
                        assert_eq!(error, TooLittle { asked, there });
                        continue;
                    }
                    _ => {}
                }
                let done = done.unwrap();
                assert_eq!(done.version, Version::new(*version));
                let last = Version::new(version.saturating_sub(1));
                let last = store.read(&format!("account/{id}"), last, 1).await.unwrap();
                let last = last.first().map_or(Position::START, |event| event.position);
                assert_eq!(done.position, last);
            }
        });
    }
}
