use std::ops::RangeInclusive;
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use super::{NatsError, check};
use crate::Invalid;
use crate::hash;

/// How a stream of NATS keeps messages.
///
/// A name does as well where the defaults will do: `NatsTransport::connect(client, "orders")`.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something connects with them"]
pub struct NatsStream {
    pub(super) name: String,
    pub(super) partitions: usize,
    max_age: Duration,
    duplicate_window: Duration,
    replicas: usize,
}

/// As many messages are taken at once: more than most receivers have connections to their database.
const PARTITIONS: usize = 16;
const MOST_PARTITIONS: usize = 256;
/// Half of what an inbox remembers by default, so that none is taken again when it has been forgotten.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);
const MAX_AGES: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 3_600);
/// As long as a relay takes over, with much to spare. NATS has the ids of that time in memory.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(2 * 60);
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
const MOST_REPLICAS: usize = 5;

impl NatsStream {
    /// A stream of this name, 1 to 64 of letters, digits, `-` and `_`. Its subjects are `{name}.{partition}.{key}`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: PARTITIONS,
            max_age: MAX_AGE,
            duplicate_window: DUPLICATE_WINDOW,
            replicas: 1,
        }
    }

    /// As many messages, of as many keys, can be taken at once: 1 to 256; 16. It can't be changed: keys would move.
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions;
        self
    }

    /// What is older goes, **also what nobody has taken yet**: 1 min to 366 days; 7 days. Inboxes have to remember longer than that.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// So long NATS drops a message that it has: 1 s to the age; 2 min. What comes again later is twice in the stream, and inboxes
    /// take it once.
    pub fn duplicate_window(mut self, window: Duration) -> Self {
        self.duplicate_window = window;
        self
    }

    /// On how many servers it lies: 1 to 5; 1. In a cluster take 3: with 1, what only that server's memory had is gone when its
    /// machine goes.
    pub fn replicas(mut self, servers: usize) -> Self {
        self.replicas = servers;
        self
    }

    fn validate(&self) -> Result<(), Invalid> {
        check("stream", &self.name)?;
        if !(1..=MOST_PARTITIONS).contains(&self.partitions) {
            let limit = format!("must be in 1..={MOST_PARTITIONS}");
            return Err(Invalid::new("partitions", self.partitions, limit));
        }
        if !MAX_AGES.contains(&self.max_age) {
            let limit = "must be in 1 min..=366 days";
            return Err(Invalid::new(
                "max_age",
                format!("{:?}", self.max_age),
                limit,
            ));
        }
        if !(SHORTEST_WINDOW..=self.max_age).contains(&self.duplicate_window) {
            let (found, limit) = (
                format!("{:?}", self.duplicate_window),
                "must be in 1 s..=max_age",
            );
            return Err(Invalid::new("duplicate_window", found, limit));
        }
        if !(1..=MOST_REPLICAS).contains(&self.replicas) {
            let limit = format!("must be in 1..={MOST_REPLICAS}");
            return Err(Invalid::new("replicas", self.replicas, limit));
        }
        Ok(())
    }

    fn config(&self) -> Config {
        Config {
            name: self.name.clone(),
            subjects: subjects(&self.name, self.partitions),
            max_age: self.max_age,
            duplicate_window: self.duplicate_window,
            num_replicas: self.replicas,
            storage: StorageType::File,
            // Of all groups of receivers, each has to get it.
            retention: RetentionPolicy::Limits,
            // A full disk stops the relay. The other policy would drop what nobody has taken.
            discard: DiscardPolicy::New,
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            ..Config::default()
        }
    }

    /// Finds the stream, or makes it.
    pub(super) async fn ensure(&self, context: &Context) -> Result<(), NatsError> {
        self.validate()?;
        let found = match find(context, &self.name).await {
            Ok(found) => found,
            Err(NatsError::Missing { .. }) => {
                let made = context.create_stream(self.config()).await;
                made.map_err(NatsError::unavailable)?
                    .cached_info()
                    .config
                    .clone()
            }
            Err(error) => return Err(error),
        };
        Ok(self.check(&found)?)
    }

    fn check(&self, found: &Config) -> Result<(), Invalid> {
        let wrong = |field: &str, found: String, limit: String| {
            let field = format!("{field} of the stream {}", self.name);
            Err(Invalid::new(field, found, limit))
        };
        check_order(found)?;
        let partitions = found.subjects.len();
        if partitions != self.partitions {
            let limit = format!("must be {}", self.partitions);
            return wrong("partitions", partitions.to_string(), limit);
        }
        for (field, found, wanted) in [
            ("max_age", found.max_age, self.max_age),
            (
                "duplicate_window",
                found.duplicate_window,
                self.duplicate_window,
            ),
        ] {
            if found != wanted {
                return wrong(field, format!("{found:?}"), format!("must be {wanted:?}"));
            }
        }
        if found.num_replicas < self.replicas {
            let limit = format!("must be {} at least", self.replicas);
            return wrong("replicas", found.num_replicas.to_string(), limit);
        }
        if found.storage != StorageType::File {
            return wrong(
                "storage",
                format!("{:?}", found.storage),
                "must be a file".to_owned(),
            );
        }
        let keeps_all = found.max_messages_per_subject <= 0;
        if found.discard != DiscardPolicy::New || found.no_ack || !keeps_all {
            let limit = "must refuse what is new, acknowledge, and keep all of a subject";
            return wrong("discard", format!("{:?}", found.discard), limit.to_owned());
        }
        Ok(())
    }
}

impl<S: Into<String>> From<S> for NatsStream {
    fn from(name: S) -> Self {
        Self::new(name)
    }
}

/// The settings of a stream that is there.
pub(super) async fn find(context: &Context, name: &str) -> Result<Config, NatsError> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(stream.cached_info().config.clone()),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                let stream = name.to_owned();
                Err(NatsError::Missing { stream })
            }
            _ => Err(NatsError::unavailable(error)),
        },
    }
}

/// Refuses a stream that does not have the subjects of partitions, or takes away what one of several groups has taken.
pub(super) fn check_order(found: &Config) -> Result<(), Invalid> {
    let name = &found.name;
    if found.subjects != subjects(name, found.subjects.len()) {
        let field = format!("subjects of the stream {name}");
        let limit = format!("must be {name}.0.>, {name}.1.> and so on");
        return Err(Invalid::new(field, found.subjects.join(", "), limit));
    }
    if found.retention != RetentionPolicy::Limits {
        let field = format!("retention of the stream {name}");
        let limit = "must be of limits";
        return Err(Invalid::new(field, format!("{:?}", found.retention), limit));
    }
    Ok(())
}

fn subjects(name: &str, partitions: usize) -> Vec<String> {
    (0..partitions).map(|number| filter(name, number)).collect()
}

/// All subjects of a partition.
pub(super) fn filter(name: &str, partition: usize) -> String {
    format!("{name}.{partition}.>")
}

/// Which partition a key is in.
pub(super) fn partition(key: &str, partitions: usize) -> usize {
    let digest = hash::digest(&[key.as_bytes()]);
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    number as usize % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CQ-5: a key has the same partition for ever, or its order is lost.
    #[test]
    fn a_key_stays_in_its_partition() {
        let of = |key| partition(key, 16);
        assert_eq!(
            ["order/1", "order/2", "order/3", ""].map(of),
            [13, 14, 11, 5]
        );
    }
}
