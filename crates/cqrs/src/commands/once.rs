//! Commands with a key, which is used in the commit of what they come to.

use std::time::Duration;

use backstay_store::{Batch, Expected, Position, Put, Version};
use serde::{Deserialize, Serialize};

use super::{Commands, Done, ExecuteError, Executed, Shared};
use crate::Invalid;
use crate::decider::Decider;
use crate::hash;

/// A command's key.
pub(super) struct Once {
    key: String,
    /// Which command it is.
    command: String,
}

/// What a command with a key has come to.
#[derive(Serialize, Deserialize)]
struct Record {
    command: String,
    version: u64,
    events: u32,
}

/// The longest key of a command, in bytes.
const MAX_KEY: usize = 1_000;

impl<D: Decider> Commands<D>
where
    D::Command: Serialize,
{
    /// The same as [`execute`](Self::execute), once for each key: a repeat comes to what the first came to.
    ///
    /// The key is used in the commit of the events. It is the thing's own, 1 to 1,000 bytes, and is remembered as long as
    /// [`remember`](super::CommandsBuilder::remember) says. A command that was refused has not used it.
    ///
    /// # Errors
    ///
    /// [`ExecuteError::OtherCommand`] if the key was used for a command that is not equal as JSON.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the events are there. Repeat it to know.
    pub async fn execute_once(
        &self,
        id: &str,
        key: &str,
        command: &D::Command,
    ) -> Result<Done, ExecuteError<D::Error>> {
        let shared = &self.shared;
        let stream = shared.stream(id)?;
        let once = shared.once(&stream, key, command)?;
        match shared.execute(&stream, command, Some(&once)).await {
            Ok(Executed::Done(done)) => Ok(done),
            Ok(Executed::KeyIsUsed) => {
                let before = shared.before(&stream, &once).await?;
                // Its time has just passed.
                before.ok_or(ExecuteError::Contended { attempts: 1 })
            }
            // Perhaps because it has happened.
            Err(ExecuteError::Refused(error)) => {
                let before = shared.before(&stream, &once).await?;
                before.ok_or(ExecuteError::Refused(error))
            }
            Err(error) => Err(error),
        }
    }
}

impl<D: Decider> Shared<D> {
    fn once(&self, stream: &str, key: &str, command: &D::Command) -> Result<Once, Invalid>
    where
        D::Command: Serialize,
    {
        if !(1..=MAX_KEY).contains(&key.len()) {
            let limit = format!("must have 1 to {MAX_KEY} bytes");
            return Err(Invalid::new("key", format!("{key:?}"), limit));
        }
        // As a value, so that it has one order.
        let command = serde_json::to_value(command).map_err(|error| {
            let limit = format!("must be what JSON can hold: {error}");
            Invalid::new("command", "(not shown)", limit)
        })?;
        let digits = hash::hex(&[stream.as_bytes(), key.as_bytes()]);
        Ok(Once {
            key: format!("cqrs/{}/once/{}", self.name, &digits[..32]),
            command: hash::hex(&[command.to_string().as_bytes()]),
        })
    }

    /// What a command came to that was executed before; none if it was not.
    async fn before(
        &self,
        stream: &str,
        once: &Once,
    ) -> Result<Option<Done>, ExecuteError<D::Error>> {
        let Some(entry) = self.store.get(&once.key).await? else {
            return Ok(None);
        };
        let record: Option<Record> = serde_json::from_slice(&entry.value).ok();
        let Some(record) = record.filter(|record| record.command == once.command) else {
            return Err(ExecuteError::OtherCommand);
        };
        let version = Version::new(record.version);
        let position = match record.version.checked_sub(1) {
            Some(before) => {
                let event = self.store.read(stream, Version::new(before), 1).await?;
                event
                    .first()
                    .map_or(Position::START, |event| event.position)
            }
            None => Position::START,
        };
        Ok(Some(Done {
            position,
            version,
            events: record.events,
            is_repeat: true,
        }))
    }
}

impl Once {
    pub(super) fn put(&self, batch: Batch, done: &Done, remember: Duration) -> Batch {
        let record = Record {
            command: self.command.clone(),
            version: done.version.get(),
            events: done.events,
        };
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        let put = Put::new(bytes).expires_after(remember);
        batch.put(self.key.clone(), put.expecting(Expected::Absent))
    }
}
