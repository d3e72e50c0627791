//! A bucket as the stream that it is. What is asked of it goes to the stream's leader.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::Client;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::stream::{Config, Info, RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use backstay_core::Invalid;
use futures_util::TryStreamExt;

use crate::SourceError;

const NAME_BYTES: usize = 200;

#[derive(Clone)]
pub(super) struct Bucket {
    client: Client,
    context: Context,
    name: String,
}

/// What the leader says of the bucket.
pub(super) struct Head {
    /// When it was made: no two buckets of a name are made at the same time.
    pub(super) made: [u8; 16],
    /// Of the last message, also where that is gone.
    pub(super) last: u64,
    /// How many keys there are, and how many more that were deleted.
    pub(super) names: u64,
}

impl Bucket {
    pub(super) fn new(client: Client, name: String) -> Result<Self, Invalid> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !(1..=NAME_BYTES).contains(&name.len()) || !name.chars().all(is_plain) {
            let limit = format!("must be 1 to {NAME_BYTES} of letters, digits, - and _");
            return Err(Invalid::new("bucket", format!("{name:?}"), limit));
        }
        Ok(Self {
            context: jetstream::new(client.clone()),
            client,
            name,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name of a key in a subject.
    pub(super) fn key<'s>(&self, subject: &'s str) -> Option<&'s str> {
        let key = subject.strip_prefix("$KV.")?.strip_prefix(&self.name)?;
        key.strip_prefix('.')
    }

    fn all(&self) -> String {
        format!("$KV.{}.>", self.name)
    }

    pub(super) async fn head(&self) -> Result<Head, SourceError> {
        let info = self.stream().await?.get_info().await;
        let info = info.map_err(SourceError::new)?;
        self.check(&info.config)?;
        Ok(Head::of(&info))
    }

    /// All names there are, those that were deleted among them.
    pub(super) async fn names(&self) -> Result<HashSet<String>, SourceError> {
        let stream = self.stream().await?;
        let subjects = stream.info_with_subjects(self.all()).await;
        let subjects = subjects.map_err(SourceError::new)?;
        let names =
            subjects.try_filter_map(async |(subject, _)| Ok(self.key(&subject).map(str::to_owned)));
        names.try_collect().await.map_err(SourceError::new)
    }

    /// Whether there is any message after this one.
    pub(super) async fn has_more(&self, after: u64) -> Result<bool, SourceError> {
        let question = self.stream().await?.raw_message_builder();
        let question = question.sequence(after + 1).next_by_subject(self.all());
        match question.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(SourceError::new(error)),
        }
    }

    pub(super) async fn messages(&self, from: DeliverPolicy) -> Result<Ordered, SourceError> {
        let config = OrderedConfig {
            deliver_subject: self.client.new_inbox(),
            filter_subject: self.all(),
            deliver_policy: from,
            replay_policy: ReplayPolicy::Instant,
            ..OrderedConfig::default()
        };
        let consumer = self.stream().await?.create_consumer(config).await;
        let messages = consumer.map_err(SourceError::new)?.messages().await;
        messages.map_err(SourceError::new)
    }

    /// Nothing is asked for that.
    async fn stream(&self) -> Result<Stream<()>, SourceError> {
        let stream = format!("KV_{}", self.name);
        let stream = self.context.get_stream_no_info(stream).await;
        stream.map_err(SourceError::new)
    }

    /// Refuses what can't be followed.
    fn check(&self, config: &Config) -> Result<(), SourceError> {
        let wrong = |field: &str, found: String, limit: &str| {
            let field = format!("{field} of the bucket {}", self.name);
            Err(SourceError::new(Invalid::new(field, found, limit)))
        };
        if config.mirror.is_some() || config.sources.as_ref().is_some_and(|all| !all.is_empty()) {
            let limit = "must be none: what a mirror says is late, follow the bucket it is of";
            return wrong("mirror", "set".to_owned(), limit);
        }
        if config.subjects != [self.all()] {
            let limit = format!("must be {}", self.all());
            return wrong("subjects", config.subjects.join(", "), &limit);
        }
        if !config.deny_delete {
            let limit = "must be true: an older value would stand in the place of a message that was deleted";
            return wrong("deny_delete", "false".to_owned(), limit);
        }
        Ok(())
    }
}

impl Head {
    fn of(info: &Info) -> Self {
        let made = SystemTime::from(info.created).duration_since(UNIX_EPOCH);
        Self {
            made: made.map_or(0, |made| made.as_nanos()).to_be_bytes(),
            last: info.state.last_sequence,
            names: info.state.subjects_count,
        }
    }
}
