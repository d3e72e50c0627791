//! Messages to NATS: by the relay, and by hand.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream;
use backstay::cqrs::Relay;
use backstay::cqrs::nats::{NatsStream, NatsTransport};
use backstay::store::SqliteStore;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use uuid::Uuid;

use super::work::{AT_ONCE, LONG, fill, per_second};
use crate::clock;

async fn client() -> Result<async_nats::Client> {
    let url = env::var("BACKSTAY_NATS_URL").context(
        "no NATS server: run this by `cargo xtask bench`, or leave it out with `--without nats`",
    )?;
    Ok(async_nats::connect(url).await?)
}

fn own_name() -> String {
    format!("bench_{}", Uuid::now_v7().simple())
}

/// What lies in the log is sent from its start; each is acknowledged before it counts.
pub(super) async fn relayed(store: &SqliteStore, messages: u64) -> Result<f64> {
    let last = fill(store, messages).await?;
    let (client, name) = (client().await?, own_name());
    let transport = NatsTransport::connect(client.clone(), NatsStream::new(&name)).await?;
    let since = clock::now();
    let relaying = Relay::new(store.clone(), "bench", "account", "/bench").start(transport)?;
    relaying.at_least(last, LONG).await?;
    let rate = per_second(messages, since);
    relaying.stop().await;
    jetstream::new(client).delete_stream(&name).await?;
    Ok(rate)
}

/// As large, as many at once, each acknowledged, and nothing noted.
pub(super) async fn published(messages: u64) -> Result<f64> {
    let (client, name) = (client().await?, own_name());
    let jetstream = jetstream::new(client);
    let config = jetstream::stream::Config {
        name: name.clone(),
        subjects: vec![format!("{name}.>")],
        duplicate_window: Duration::from_mins(2),
        ..Default::default()
    };
    jetstream.create_stream(config).await?;
    let payload = vec![b'x'; SIZE];
    let since = clock::now();
    let publish = |number: u64| {
        let (jetstream, payload) = (jetstream.clone(), payload.clone());
        let subject = format!("{name}.{}", number % 1_000);
        async move {
            let message = jetstream::message::PublishMessage::build()
                .payload(payload.into())
                .message_id(number.to_string());
            jetstream.send_publish(subject, message).await?.await?;
            anyhow::Ok(())
        }
    };
    let published = stream::iter(0..messages)
        .map(publish)
        .buffer_unordered(AT_ONCE);
    published.try_collect::<()>().await?;
    let rate = per_second(messages, since);
    jetstream.delete_stream(&name).await?;
    Ok(rate)
}

/// Of a message as the relay sends it.
const SIZE: usize = 330;
