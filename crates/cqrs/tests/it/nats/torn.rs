//! Relay, receivers and server are cut off again and again.

use std::time::Duration;

use backstay_cqrs::nats::{NatsConsumer, NatsSource};
use backstay_store::Position;
use tokio::time::{sleep, timeout};

use super::{LONG, STREAM, Theirs, client, ids, relay, server, transport};
use crate::world::{Command, commands, memory};

const ACCOUNTS: usize = 12;
const EACH: usize = 12;
const ROUNDS: usize = 6;
const ACK_WAIT: Duration = Duration::from_secs(2);
/// In none of the accounts.
const NOTHING_BAD: &str = "nothing";

/// A receiver that is cut off somewhere, and answers some messages late, twice or not at all.
async fn receive(theirs: Theirs, client: backstay_cqrs::nats::async_nats::Client) {
    let consumer = NatsConsumer::new("billing").ack_wait(ACK_WAIT);
    // While the server is away.
    let Ok(mut source) = NatsSource::connect(client, STREAM, consumer).await else {
        return;
    };
    loop {
        let delivery = source.next().await;
        let theirs = theirs.clone();
        tokio::spawn(async move {
            let dice = fastrand::u8(..16);
            if dice == 0 {
                let _ = delivery.later(Duration::from_millis(20)).await;
                return;
            }
            let taken = theirs.take(delivery.message(), NOTHING_BAD).await;
            taken.unwrap();
            // What is dropped without an answer comes again.
            if dice != 1 {
                let _ = delivery.taken().await;
            }
        });
    }
}

/// CQ-5: all that was written arrives once and in order, wherever relay, receivers and server are cut off.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_on_the_way() {
    let Some(mut server) = server().await else {
        return;
    };
    let log = memory();
    let (_folder, theirs) = Theirs::new().await;
    let accounts = commands(&log);
    let mut last = Position::START;
    let mut written = 0;
    for round in 0..ROUNDS {
        let client = client(&server).await;
        let sends = relay(&log, transport(client.clone()).await);
        // Two of one group.
        let receivers: Vec<_> = (0..2)
            .map(|_| tokio::spawn(receive(theirs.clone(), client.clone())))
            .collect();
        let until = (round + 1) * ACCOUNTS * EACH / ROUNDS;
        while written < until {
            let id = (written % ACCOUNTS).to_string();
            let done = accounts.execute(&id, &Command::Deposit(1)).await.unwrap();
            (last, written) = (done.position, written + 1);
        }
        sleep(Duration::from_millis(fastrand::u64(..200))).await;
        // Each of them in another order.
        if fastrand::bool() {
            server.kill();
            server = server.start().await;
        }
        drop(sends);
        for receiver in receivers {
            receiver.abort();
        }
        server.kill();
        server = server.start().await;
    }
    let client = client(&server).await;
    let sends = relay(&log, transport(client.clone()).await);
    let consumer = NatsConsumer::new("billing").ack_wait(ACK_WAIT);
    let source = NatsSource::connect(client, STREAM, consumer);
    let mut source = source.await.unwrap();
    let all = async {
        loop {
            tokio::select! {
                delivery = source.next() => {
                    let taken = theirs.take(delivery.message(), NOTHING_BAD).await;
                    taken.unwrap();
                    delivery.taken().await.unwrap();
                }
                () = sleep(Duration::from_millis(50)) => {
                    let is_sent = sends.progress().position >= last;
                    if is_sent && source.waiting().await.unwrap() == 0 {
                        return;
                    }
                }
            }
        }
    };
    timeout(LONG, all).await.unwrap();
    for account in 0..ACCOUNTS {
        let key = format!("account/{account}");
        assert_eq!(theirs.taken(&key), ids(&key, EACH));
    }
}
