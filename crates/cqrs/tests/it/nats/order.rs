//! What a group of receivers is handed out, and when.

use std::time::Duration;

use backstay_cqrs::nats::{Delivery, NatsConsumer, NatsSource, async_nats};
use backstay_cqrs::{Message, SendError, Transport};
use tokio::time::timeout;

use super::{LONG, STREAM, client, server, transport};

/// Long enough for a server on this machine, had it something to hand out.
const A_WHILE: Duration = Duration::from_millis(400);

/// A message as relays send it.
fn message(key: &str, version: u64) -> Message {
    let text = format!(
        r#"{{"specversion":"1.0","id":"{key}/{version}","source":"/accounts","type":"deposited","subject":"{key}",
        "time":"2026-11-28T10:00:00Z","datacontenttype":"application/json","partitionkey":"{key}",
        "sequence":"{version}","data":{{}}}}"#
    );
    Message::from_json(text.as_bytes()).unwrap()
}

async fn send(client: &async_nats::Client, messages: &[Message]) {
    let transport = transport(client.clone()).await;
    for message in messages {
        transport.send(message).await.unwrap();
    }
}

async fn source(client: &async_nats::Client) -> NatsSource {
    let consumer = NatsConsumer::new("billing").ack_wait(Duration::from_secs(2));
    let source = NatsSource::connect(client.clone(), STREAM, consumer);
    source.await.unwrap()
}

async fn next(source: &mut NatsSource) -> Delivery {
    timeout(LONG, source.next()).await.unwrap()
}

async fn is_silent(source: &mut NatsSource) -> bool {
    timeout(A_WHILE, source.next()).await.is_err()
}

/// CQ-5: of a key no later message is handed out to anybody of a group before the earlier one is taken, also when that comes again.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_of_a_key_waits_for_the_one_before_it() {
    let Some(server) = server().await else {
        return;
    };
    let client = client(&server).await;
    let sent: Vec<_> = (1..=3).map(|version| message("a", version)).collect();
    send(&client, &sent).await;
    let (mut one, mut other) = (source(&client).await, source(&client).await);
    let first = tokio::select! {
        first = next(&mut one) => first,
        first = next(&mut other) => first,
    };
    assert_eq!((&*first.message().id, first.attempt()), ("a/1", 1));
    assert!(is_silent(&mut one).await && is_silent(&mut other).await);
    first.later(A_WHILE).await.unwrap();
    let first = tokio::select! {
        first = next(&mut one) => first,
        first = next(&mut other) => first,
    };
    assert_eq!((&*first.message().id, first.attempt()), ("a/1", 2));
    // One that is dropped comes again too.
    drop(first);
    let first = tokio::select! {
        first = next(&mut one) => first,
        first = next(&mut other) => first,
    };
    assert_eq!((&*first.message().id, first.attempt()), ("a/1", 3));
    // And one that nobody answers in time.
    let again = tokio::select! {
        again = next(&mut one) => again,
        again = next(&mut other) => again,
    };
    assert_eq!((&*again.message().id, again.attempt()), ("a/1", 4));
    first.taken().await.unwrap();
    again.taken().await.unwrap();
    for id in ["a/2", "a/3"] {
        let next = tokio::select! {
            next = next(&mut one) => next,
            next = next(&mut other) => next,
        };
        assert_eq!((&*next.message().id, next.attempt()), (id, 1));
        next.refuse().await.unwrap();
    }
    assert!(is_silent(&mut one).await && is_silent(&mut other).await);
    assert_eq!(one.waiting().await.unwrap(), 0);
}

/// CQ-5: what waits of one key does not hold up another, and as many are handed out at once as there are partitions.
#[tokio::test(flavor = "multi_thread")]
async fn other_partitions_go_on() {
    let Some(server) = server().await else {
        return;
    };
    let client = client(&server).await;
    // They are in all four.
    let keys = (0..12).map(|account| format!("account/{account}"));
    let sent: Vec<_> = keys.map(|key| message(&key, 1)).collect();
    send(&client, &sent).await;
    let mut source = source(&client).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let delivery = next(&mut source).await;
        assert_eq!(delivery.attempt(), 1);
        held.push(delivery);
    }
    assert!(is_silent(&mut source).await);
    let id = held[0].message().id.clone();
    held.remove(0).taken().await.unwrap();
    assert_ne!(next(&mut source).await.message().id, id);
}

/// CQ-5: a message that is sent again is in the stream once, and one of another source with the same id is another.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_known_again() {
    let Some(server) = server().await else {
        return;
    };
    let client = client(&server).await;
    let mut other = message("a", 1);
    other.source = "/orders".to_owned();
    send(&client, &[message("a", 1), message("a", 1), other]).await;
    let source = source(&client).await;
    assert_eq!(source.waiting().await.unwrap(), 2);
}

/// CQ-5: a message that is too large for the server is refused, so that others can go on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let Some(server) = server().await else {
        return;
    };
    let transport = transport(client(&server).await).await;
    let mut large = message("a", 1);
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    large.data = serde_json::from_str(&text).unwrap();
    let refused = transport.send(&large).await;
    let is_refused = matches!(refused, Err(SendError::Refused(_)));
    assert!(is_refused, "{refused:?}");
}

/// CQ-5: what the stream has not got is not taken for sent: when it is full, when it is gone, and when the server is.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_acknowledged_is_sent() {
    let Some(mut server) = server().await else {
        return;
    };
    let client = client(&server).await;
    let transport = transport(client.clone()).await;
    let context = async_nats::jetstream::new(client.clone());
    let mut stream = context.get_stream(STREAM).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.max_messages = 1;
    context.update_stream(&config).await.unwrap();
    let (first, second) = (message("a", 1), message("a", 2));
    transport.send(&first).await.unwrap();
    let is_away = |sent: Result<(), SendError>| matches!(sent, Err(SendError::Unavailable(_)));
    assert!(is_away(transport.send(&second).await));
    config.max_messages = 2;
    context.update_stream(&config).await.unwrap();
    transport.send(&second).await.unwrap();
    assert_eq!(source(&client).await.waiting().await.unwrap(), 2);
    context.delete_stream(STREAM).await.unwrap();
    assert!(is_away(transport.send(&first).await));
    server.kill();
    assert!(is_away(transport.send(&first).await));
}

/// CQ-5: a receiver that stops gives back what nobody has asked for, and others get it at once.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_gives_back() {
    let Some(server) = server().await else {
        return;
    };
    let client = client(&server).await;
    let keys = (0..12).map(|account| format!("account/{account}"));
    let sent: Vec<_> = keys.map(|key| message(&key, 1)).collect();
    send(&client, &sent).await;
    let patient = || NatsConsumer::new("billing").ack_wait(Duration::from_secs(3_600));
    let one = NatsSource::connect(client.clone(), STREAM, patient());
    let mut one = one.await.unwrap();
    let first = next(&mut one).await;
    // Long enough for the other three to be there.
    tokio::time::sleep(A_WHILE).await;
    one.stop().await;
    let other = NatsSource::connect(client, STREAM, patient());
    let mut other = other.await.unwrap();
    first.taken().await.unwrap();
    while other.waiting().await.unwrap() > 0 {
        next(&mut other).await.taken().await.unwrap();
    }
}
