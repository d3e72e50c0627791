//! Messages that a receiver can't take, and what is behind them, until a person says what is to be done.

use std::error::Error;

use backstay_store::{
    Batch, BatchId, CommitError, Conflict, Event, Expected, Position, Put, Transactional,
    Unavailable,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::inbox::{Refused, done};
use super::{Inbox, InboxError, Message};
use crate::hash;

/// A message that was set aside.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Aside {
    /// What was set aside.
    pub message: Message,
    /// Why; none if it only came behind another of its key.
    pub error: Option<String>,
    number: u64,
}

/// Why nothing was done about a message that is, or was to be, set aside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AsideError {
    /// As many of its key are set aside as may be.
    #[error("{MOST} messages of {key:?} are set aside")]
    Full {
        /// The key.
        key: String,
    },
    /// It is not the first of its key that is set aside.
    #[error("it is not the first of {key:?} that is set aside")]
    NotFirst {
        /// The key.
        key: String,
    },
    /// Others were faster. Look again.
    #[error("others were faster")]
    Contended,
    /// The batch breaks a limit of the store, or the store can't be asked.
    #[error(transparent)]
    Store(CommitError),
}

/// What is behind one message may grow to this, then its key has to wait where it comes from.
const MOST: u64 = 10_000;
/// Others that set aside something of the same key at the same time.
const TRIES: u32 = 16;
const PAGE: u32 = 10_000;

/// That something of a key is set aside: the numbers from the first up to, and without, the next.
#[derive(Serialize, Deserialize)]
struct Mark {
    first: u64,
    next: u64,
}

/// What stands for a message that was set aside.
#[derive(Serialize, Deserialize)]
struct Letter {
    message: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<S: Transactional> Inbox<S> {
    /// Sets a message aside, because it can't be taken. From now on what comes of its key is set aside behind it.
    ///
    /// Then it is with the inbox for good: its sender can be told that it is taken. It does nothing if the message was taken or set
    /// aside before. As many as 10,000 of a key can be set aside.
    pub async fn set_aside(&self, message: &Message, error: &str) -> Result<(), AsideError> {
        self.put_aside(message, Some(error)).await
    }

    /// Without an error it is only set aside if something of its key already is.
    pub(super) async fn put_aside(
        &self,
        message: &Message,
        error: Option<&str>,
    ) -> Result<(), AsideError> {
        let row = self.row(&message.source, &message.id);
        let json = String::from_utf8(message.to_json().to_vec());
        let json = json.ok().and_then(|json| RawValue::from_string(json).ok());
        let letter = Letter {
            message: json.unwrap_or_default(),
            error: error.map(str::to_owned),
        };
        let letter = serde_json::to_vec(&letter).unwrap_or_default();
        for _ in 0..TRIES {
            let (mark, expected) = match self.marked(message).await? {
                Some((mark, revision)) => (mark, Expected::Exactly(revision)),
                None if error.is_some() => (Mark { first: 0, next: 0 }, Expected::Absent),
                None => return Err(AsideError::Contended),
            };
            if mark.next - mark.first >= MOST {
                let key = message.key.clone();
                return Err(AsideError::Full { key });
            }
            let taken = Put::new(Vec::new()).expires_after(self.remember);
            let batch = Batch::new()
                .put(&row, taken.expecting(Expected::Absent))
                .put(self.letter(message, mark.next), Put::new(letter.clone()))
                .put(
                    self.mark(&message.source, &message.key),
                    Mark {
                        next: mark.next + 1,
                        ..mark
                    }
                    .put(expected),
                );
            match self.store.store().commit(batch).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict(Conflict::Key { key, .. })) if key == row => {
                    return Ok(());
                }
                Err(CommitError::Conflict(_)) => {}
                Err(error) => return Err(AsideError::Store(error)),
            }
        }
        Err(AsideError::Contended)
    }

    /// What is set aside, each key's together and in order; the first 10,000.
    pub async fn aside(&self) -> Result<Vec<Aside>, Unavailable> {
        let prefix = format!("cqrs/{}/aside/", self.name);
        let entries = self.store.store().list(&prefix, "", PAGE).await?;
        let read = |entry: &backstay_store::Entry| {
            let letter: Letter = serde_json::from_slice(&entry.value).ok()?;
            Some(Aside {
                message: Message::from_json(letter.message.get().as_bytes()).ok()?,
                error: letter.error,
                number: entry.key.rsplit_once('/')?.1.parse().ok()?,
            })
        };
        Ok(entries.iter().filter_map(read).collect())
    }

    /// Takes the first message of its key that is set aside, because what was wrong is mended. What is behind it is next.
    ///
    /// `work` is as that of [`take`](Self::take). When it says no the message stays where it is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the message is taken. Look what is set aside to know.
    pub async fn take_aside<T, E>(
        &self,
        aside: &Aside,
        work: impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, T, E> + Send + Sync + 'static,
    ) -> Result<(), InboxError<E>>
    where
        T: Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let without = self.without(aside).await?;
        let made = move |_: T| Ok::<_, Refused<E>>((without.batch(), ()));
        let committed = self.store.commit_made(BatchId::new(), work, made).await;
        match done(committed) {
            Err(InboxError::Store(backstay_store::CommitWithError::Commit(
                CommitError::Conflict(_),
            ))) => Err(AsideError::Contended.into()),
            done => done.map(drop),
        }
    }

    /// Leaves out the first message of its key that is set aside. Who and why are kept in the stream `cqrs/{inbox}/audit`.
    pub async fn skip_aside(&self, aside: &Aside, who: &str, why: &str) -> Result<(), AsideError> {
        let without = self.without(aside).await?;
        let skipped = LeftOut {
            skipped: &aside.message.id,
            source: &aside.message.source,
            error: aside.error.as_deref(),
            who,
            why,
        };
        let text = serde_json::to_vec(&skipped).unwrap_or_default();
        let audit = format!("cqrs/{}/audit", self.name);
        let batch = without.batch().append(audit, Event::new("skipped", text));
        match self.store.store().commit(batch).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(_)) => Err(AsideError::Contended),
            Err(error) => Err(AsideError::Store(error)),
        }
    }

    async fn without(&self, aside: &Aside) -> Result<Without, AsideError> {
        let message = &aside.message;
        match self.marked(message).await? {
            Some((mark, revision)) if mark.first == aside.number => Ok(Without {
                letter: self.letter(message, aside.number),
                key: self.mark(&message.source, &message.key),
                next: mark.next,
                number: aside.number,
                revision,
            }),
            _ => Err(AsideError::NotFirst {
                key: message.key.clone(),
            }),
        }
    }

    async fn marked(&self, message: &Message) -> Result<Option<(Mark, Position)>, AsideError> {
        let key = self.mark(&message.source, &message.key);
        let entry = self.store.store().get(&key).await;
        let entry = entry.map_err(|error| AsideError::Store(error.into()))?;
        Ok(entry.and_then(|entry| {
            let mark = serde_json::from_slice(&entry.value).ok()?;
            Some((mark, entry.revision))
        }))
    }

    /// What says that something of a key is set aside.
    pub(super) fn mark(&self, source: &str, key: &str) -> String {
        format!("cqrs/{}/held/{}", self.name, short(source, key))
    }

    fn letter(&self, message: &Message, number: u64) -> String {
        let short = short(&message.source, &message.key);
        format!("cqrs/{}/aside/{short}/{number:020}", self.name)
    }
}

fn short(source: &str, key: &str) -> String {
    hash::hex(&[source.as_bytes(), key.as_bytes()])[..32].to_owned()
}

impl Mark {
    fn put(&self, expected: Expected<Position>) -> Put {
        Put::new(serde_json::to_vec(self).unwrap_or_default()).expecting(expected)
    }
}

/// What takes the first letter of a key away.
struct Without {
    letter: String,
    key: String,
    number: u64,
    next: u64,
    revision: Position,
}

impl Without {
    fn batch(&self) -> Batch {
        let expected = Expected::Exactly(self.revision);
        let batch = Batch::new().delete(&self.letter, Expected::Any);
        let first = self.number + 1;
        if first == self.next {
            return batch.delete(&self.key, expected);
        }
        let next = self.next;
        batch.put(&self.key, Mark { first, next }.put(expected))
    }
}

/// What is kept of a message that was skipped.
#[derive(Serialize)]
struct LeftOut<'s> {
    skipped: &'s str,
    source: &'s str,
    error: Option<&'s str>,
    who: &'s str,
    why: &'s str,
}
