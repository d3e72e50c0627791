use backstay_store::{Change, Recorded, Tail, Unavailable, Version, Watch, WatchError};

use super::Operator;
use super::show::is_hindrance;
use crate::engine::instances::Instances;
use crate::log::Record;
use crate::note::{Note, Standing};

/// What happens to a group's instances, from a moment on.
///
/// It reads all that is written to the store, also by others than sagas.
#[derive(Debug)]
pub struct Follow {
    instances: Instances,
    tail: Tail,
    notes: Watch,
}

/// Something that happened to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Its saga.
    pub saga: String,
    /// Its id.
    pub id: String,
    /// What.
    pub news: News,
}

/// What there is to tell of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// This was written into its log.
    Record {
        /// Its place there, from 1 on.
        version: Version,
        /// What.
        record: Record,
    },
    /// It does not run, and that is not in its log: it needs an upgrade or can't be read.
    Hindered {
        /// How it stands.
        standing: Standing,
        /// Why.
        why: Option<String>,
    },
}

impl Operator {
    /// Follows all instances of the group from now on.
    pub async fn follow(&self) -> Result<Follow, Unavailable> {
        let Instances { store, names } = &self.instances;
        let now = store.head().await?;
        Ok(Follow {
            tail: store.tail(now),
            notes: store.watch(&names.actives(), now),
            instances: self.instances.clone(),
        })
    }
}

impl Follow {
    /// What has happened since it was asked last; waits until something has.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was not returned comes next time.
    pub async fn next(&mut self) -> Result<Vec<Seen>, Unavailable> {
        loop {
            let seen: Vec<Seen> = tokio::select! {
                biased;
                events = self.tail.next() => {
                    events?.iter().filter_map(|event| self.recorded(event)).collect()
                }
                changes = self.notes.next() => match changes {
                    Ok(changes) => {
                        changes.iter().filter_map(|change| self.noted(change)).collect()
                    }
                    Err(error) => self.miss(error).await?,
                },
            };
            if !seen.is_empty() {
                return Ok(seen);
            }
        }
    }

    fn recorded(&self, event: &Recorded) -> Option<Seen> {
        let name = self.instances.names.read_stream(&event.stream)?;
        let news = match serde_json::from_slice(&event.data) {
            Ok(record) => News::Record {
                version: event.version,
                record,
            },
            Err(error) => News::Hindered {
                standing: Standing::Unreadable,
                why: Some(format!("a record can't be read: {error}")),
            },
        };
        Some(Seen {
            saga: name.saga.to_string(),
            id: name.id.to_string(),
            news,
        })
    }

    fn noted(&self, change: &Change) -> Option<Seen> {
        let (_, name) = self.instances.names.read_active(&change.key)?;
        let note = Note::read(change.value.as_ref()?);
        is_hindrance(note.state).then(|| Seen {
            saga: name.saga.to_string(),
            id: name.id.to_string(),
            news: News::Hindered {
                standing: note.state,
                why: note.why,
            },
        })
    }

    /// Deletions that are forgotten are of no interest: goes on after them.
    async fn miss(&mut self, error: WatchError) -> Result<Vec<Seen>, Unavailable> {
        let Instances { store, names } = &self.instances;
        let after = match error {
            WatchError::Unavailable(unavailable) => return Err(unavailable),
            WatchError::Forgotten { until } => until,
            _ => store.head().await?,
        };
        self.notes = store.watch(&names.actives(), after);
        Ok(Vec::new())
    }
}
