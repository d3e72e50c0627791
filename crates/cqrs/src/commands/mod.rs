//! The write side: load, decide, append, or decide again.

mod error;
mod load;
mod once;
mod options;
mod recent;
mod snapshot;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{
    Append, Batch, Commit, CommitError, Conflict, Effect, Expected, Position, Store, Version,
};
use tokio::time::sleep;

use crate::decider::Decider;
use crate::events::Events;
use load::Loaded;
use once::Once;
use options::Options;
use recent::Recent;
use snapshot::Snapshots;

pub use error::{ExecuteError, LoadError};
pub use options::CommandsBuilder;

/// Executes commands on things whose events are streams of a store. Cheap to clone.
pub struct Commands<D: Decider> {
    shared: Arc<Shared<D>>,
}

struct Shared<D: Decider> {
    store: Store,
    /// Its streams are `{name}/{id}`.
    name: String,
    decider: D,
    events: Events<D::Event>,
    snapshots: Option<Snapshots<D::State>>,
    recent: Recent<D::State>,
    options: Options,
}

/// What a command has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Done {
    /// A read side that is at this position shows it.
    pub position: Position,
    /// How many events the thing has had.
    pub version: Version,
    /// How many of them came of this command.
    pub events: u32,
    /// The command's key was used before, and this is what it came to then.
    pub is_repeat: bool,
}

/// A thing as its events tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known<S> {
    /// What it is.
    pub state: S,
    /// How many events it has had.
    pub version: Version,
    /// That of its last event.
    pub position: Position,
}

/// The same batch is committed so often before it is left open whether it is there.
const COMMITS: u32 = 4;
const BETWEEN_COMMITS: Duration = Duration::from_millis(50);

impl<D: Decider> Clone for Commands<D> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        Self { shared }
    }
}

impl<D: Decider> fmt::Debug for Commands<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl<D: Decider> Commands<D> {
    /// Begins the commands of a decider on this store. Its streams are `{name}/{id}`.
    pub fn builder(
        store: impl Into<Store>,
        name: impl Into<String>,
        decider: D,
        events: Events<D::Event>,
    ) -> CommandsBuilder<D> {
        CommandsBuilder::new(store.into(), name.into(), decider, events)
    }

    /// The name that its streams begin with.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// A thing as it is. One that has no events is the default.
    pub async fn known(&self, id: &str) -> Result<Known<D::State>, LoadError> {
        let stream = self.shared.stream(id)?;
        let loaded = self.shared.load(&stream).await?;
        Ok(Known {
            state: loaded.state,
            version: loaded.version,
            position: loaded.position,
        })
    }

    /// Decides what a command comes to, and writes that down.
    ///
    /// When somebody else was first it is decided anew, on what is so then; at most so often as
    /// [`attempts`](CommandsBuilder::attempts) says.
    ///
    /// # Errors
    ///
    /// [`ExecuteError::Refused`] with what the decider says. After [`ExecuteError::Unavailable`] with an unknown effect the
    /// events may be there: [`execute_once`](Self::execute_once) can be repeated then, this can't.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the events are there.
    pub async fn execute(
        &self,
        id: &str,
        command: &D::Command,
    ) -> Result<Done, ExecuteError<D::Error>> {
        let stream = self.shared.stream(id)?;
        match self.shared.execute(&stream, command, None).await? {
            Executed::Done(done) => Ok(done),
            Executed::KeyIsUsed => unreachable!("it has no key"),
        }
    }
}

enum Executed {
    Done(Done),
    /// Another batch has the command's key.
    KeyIsUsed,
}

impl<D: Decider> Shared<D> {
    fn stream(&self, id: &str) -> Result<String, crate::Invalid> {
        let stream = format!("{}/{id}", self.name);
        if id.is_empty() {
            return Err(crate::Invalid::new("id", "\"\"", "must not be empty"));
        }
        Ok(stream)
    }

    async fn execute(
        &self,
        stream: &str,
        command: &D::Command,
        once: Option<&Once>,
    ) -> Result<Executed, ExecuteError<D::Error>> {
        let (mut loaded, mut is_kept) = match self.recent.take(stream) {
            Some(kept) => (kept, true),
            None => (self.load(stream).await?, false),
        };
        let mut attempts = 0;
        while attempts < self.options.attempts {
            let mut decided = self.decider.decide(&loaded.state, command);
            // The commit is refused where what was kept is old. What commits no event has to look.
            if is_kept && decided.as_ref().map_or(true, Vec::is_empty) {
                loaded = self.refresh(stream, loaded).await?;
                is_kept = false;
                decided = self.decider.decide(&loaded.state, command);
            }
            attempts += u32::from(!is_kept);
            let events = match decided {
                Ok(events) => events,
                Err(error) => {
                    self.recent.put(stream, loaded);
                    return Err(ExecuteError::Refused(error));
                }
            };
            let (batch, mut done) = self.write(stream, &mut loaded, &events, once)?;
            if events.is_empty() && once.is_none() {
                self.recent.put(stream, loaded);
                return Ok(Executed::Done(done));
            }
            match self.commit(batch).await {
                Ok(commit) => {
                    if !events.is_empty() {
                        (loaded.position, done.position) = (commit.position, commit.position);
                    }
                    self.recent.put(stream, loaded);
                    return Ok(Executed::Done(done));
                }
                Err(CommitError::Conflict(Conflict::Key { .. })) => {
                    return Ok(Executed::KeyIsUsed);
                }
                // What was decided on is not so any more.
                Err(CommitError::Conflict(_)) => {
                    (loaded, is_kept) = (self.load(stream).await?, false);
                }
                Err(CommitError::Invalid(invalid)) => return Err(invalid.into()),
                Err(CommitError::Unavailable(unavailable)) => {
                    self.recent.clear();
                    return Err(unavailable.into());
                }
                Err(error) => unreachable!("it has no fence: {error}"),
            }
        }
        Err(ExecuteError::Contended {
            attempts: self.options.attempts,
        })
    }

    /// What was decided on what is so, as a batch that is good for nothing else; the thing is what it is then. `once` puts the
    /// command's key.
    fn write(
        &self,
        stream: &str,
        loaded: &mut Loaded<D::State>,
        events: &[D::Event],
        once: Option<&Once>,
    ) -> Result<(Batch, Done), ExecuteError<D::Error>> {
        let before = loaded.version;
        let expected = match before {
            Version::START => Expected::Absent,
            version => Expected::Exactly(version),
        };
        loaded.version = Version::new(before.get() + events.len() as u64);
        let mut written = Vec::with_capacity(events.len());
        for event in events {
            let (stored, read) = self.events.write_and_read(event)?;
            // As the log tells it, which may be less than what was decided.
            self.decider.evolve(&mut loaded.state, &read);
            written.push(stored);
        }
        let done = Done {
            position: loaded.position,
            version: loaded.version,
            events: u32::try_from(events.len()).unwrap_or(u32::MAX),
            is_repeat: false,
        };
        let mut batch = Batch::new();
        if let Some(once) = once {
            batch = once.put(batch, &done, self.options.remember);
        }
        if let Some(snapshots) = &self.snapshots
            && snapshots.is_due(before, loaded.version)
        {
            let limit = self.store.limits().value_bytes;
            let key = self.snapshot_key(stream);
            batch = snapshots.add(batch, (&key, limit), loaded.version, &loaded.state);
        }
        if !events.is_empty() {
            // The last change, so that the commit's position is the last event's.
            let append = Append::new(written).expecting(expected);
            batch = batch.append(stream, append);
        }
        Ok((batch, done))
    }

    /// Commits a batch, again if its answer is lost: it is the same.
    async fn commit(&self, batch: Batch) -> Result<Commit, CommitError> {
        let (mut commits, mut lost) = (1, None);
        loop {
            let error = match self.store.commit(batch.clone()).await {
                Err(CommitError::Unavailable(error)) => error,
                committed => return committed,
            };
            let may_pass = commits < COMMITS && !error.is_lasting();
            // What one of them may have done, a later one that was not heard at all has not undone.
            if error.effect() != Effect::NotExecuted {
                lost = Some(error.clone());
            }
            if !may_pass {
                return Err(lost.unwrap_or(error).into());
            }
            commits += 1;
            sleep(BETWEEN_COMMITS * commits).await;
        }
    }
}
