//! Hints from the messages of one key.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use backstay_core::Effect;
use backstay_store::Unavailable;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::time::sleep;

use super::bucket::{Bucket, failed};
use super::read;

/// After a stream that has ended or did not begin.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) fn hints(bucket: Arc<Bucket>, name: &str) -> BoxStream<'static, ()> {
    let watch = Watch {
        subject: bucket.subject(name),
        bucket,
        messages: None,
    };
    unfold(watch, |mut watch| async move {
        watch.next().await;
        Some(((), watch))
    })
    .boxed()
}

struct Watch {
    bucket: Arc<Bucket>,
    subject: String,
    messages: Option<Ordered>,
}

impl Watch {
    /// Ends when the watch has begun, and when the key is given away or given up.
    async fn next(&mut self) {
        loop {
            let Some(messages) = &mut self.messages else {
                if let Ok(messages) = open(&self.bucket, &self.subject).await {
                    self.messages = Some(messages);
                    return;
                }
                sleep(LOOK_AGAIN).await;
                continue;
            };
            match messages.next().await {
                Some(Ok(message)) if is_renewal(&message.payload) => {}
                Some(Ok(_)) => return,
                Some(Err(_)) | None => {
                    self.messages = None;
                    sleep(LOOK_AGAIN).await;
                }
            }
        }
    }
}

async fn open(bucket: &Bucket, subject: &str) -> Result<Ordered, Unavailable> {
    let stream = bucket.stream().await?;
    let config = OrderedConfig {
        deliver_subject: bucket.inbox(),
        filter_subject: subject.to_owned(),
        deliver_policy: DeliverPolicy::New,
        replay_policy: ReplayPolicy::Instant,
        ..OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await;
    let consumer = consumer.map_err(|error| failed(Effect::NotExecuted, error))?;
    let messages = consumer.messages().await;
    messages.map_err(|error| failed(Effect::NotExecuted, error))
}

fn is_renewal(value: &[u8]) -> bool {
    read(value).is_ok_and(|holding| holding.revision.is_some())
}
