//! A message that a receiver can't take.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_cqrs::nats::{NatsConsumer, NatsHappened, NatsSource};
use backstay_cqrs::{AsideError, InboxError, Taken};
use backstay_store::Position;
use tokio::time::timeout;

use super::{LONG, STREAM, Theirs, client, ids, relay, server, transport, work};
use crate::world::{Command, commands, memory};

/// CQ-5: a message that can't be taken is set aside with what is behind it, and other keys flow; a person has it taken later, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_is_set_aside_with_what_is_behind_it() {
    let Some(server) = server().await else {
        return;
    };
    let log = memory();
    let (_folder, theirs) = Theirs::new().await;
    let client = client(&server).await;
    let sends = relay(&log, transport(client.clone()).await);
    let accounts = commands(&log);
    let mut last = Position::START;
    for cents in [1, 666, 3, 4] {
        for id in ["7", "8"] {
            let cents = if id == "8" { 1 } else { cents };
            let done = accounts.execute(id, &Command::Deposit(cents)).await;
            last = done.unwrap().position;
        }
    }
    sends.at_least(last, LONG).await.unwrap();
    // One that is no message at all.
    let foreign = client.publish("accounts.0.x", "hello".into());
    foreign.await.unwrap();

    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let consumer = NatsConsumer::new("billing")
        .on_event(move |happened| tell.lock().unwrap().push(happened.clone()));
    let source = NatsSource::connect(client, STREAM, consumer);
    let mut source = source.await.unwrap();
    for _ in 0..8 {
        let delivery = timeout(LONG, source.next()).await.unwrap();
        match theirs.take(delivery.message(), "666").await {
            Ok(_) => {}
            Err(InboxError::Work(error)) => {
                let (message, error) = (delivery.message(), error.to_string());
                theirs.inbox.set_aside(message, &error).await.unwrap();
                // As if the answer had been lost.
                let again = theirs.take(delivery.message(), "666").await.unwrap();
                assert_eq!(again, Taken::Before);
            }
            Err(error) => panic!("{error}"),
        }
        delivery.taken().await.unwrap();
    }
    assert_eq!(theirs.taken("account/7"), ids("account/7", 1));
    assert_eq!(theirs.taken("account/8"), ids("account/8", 4));
    let all = async {
        while source.waiting().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, all).await.unwrap();
    let is_unreadable =
        |happened: &NatsHappened| matches!(happened, NatsHappened::Unreadable { .. });
    assert_eq!(
        told.lock()
            .unwrap()
            .iter()
            .filter(|it| is_unreadable(it))
            .count(),
        1
    );

    // Nothing is mended yet.
    let aside = theirs.inbox.aside().await.unwrap();
    let found: Vec<_> = aside
        .iter()
        .map(|it| (&*it.message.id, it.error.is_some()))
        .collect();
    let expected = [
        ("account/7/2", true),
        ("account/7/3", false),
        ("account/7/4", false),
    ];
    assert_eq!(found, expected);
    let refused = theirs
        .inbox
        .take_aside(&aside[0], work(&aside[0].message, "666"));
    assert!(matches!(refused.await, Err(InboxError::Work(_))));
    let late = theirs
        .inbox
        .take_aside(&aside[1], work(&aside[1].message, "666"))
        .await;
    let is_late = matches!(late, Err(InboxError::Aside(AsideError::NotFirst { .. })));
    assert!(is_late, "{late:?}");

    for aside in &aside {
        let taken = theirs
            .inbox
            .take_aside(aside, work(&aside.message, "nothing"));
        taken.await.unwrap();
    }
    assert_eq!(theirs.taken("account/7"), ids("account/7", 4));
    let done = accounts.execute("7", &Command::Deposit(5)).await.unwrap();
    sends.at_least(done.position, LONG).await.unwrap();
    let delivery = timeout(LONG, source.next()).await.unwrap();
    let taken = theirs.take(delivery.message(), "666").await.unwrap();
    assert_eq!(taken, Taken::Now(()));
}
