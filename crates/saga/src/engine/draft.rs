use std::sync::Arc;

#[cfg(feature = "test-util")]
use backstay_store::{Append, Event};
use backstay_store::{Batch, Expected, Fence, Put, Timestamp, Version};

use super::instances;
use super::names::Name;
use super::settled::Why;
use super::worker::Worker;
use crate::Json;
use crate::log::{Entry, Outcome, Record};
use crate::machine::{Illegal, State};
use crate::note::{Note, Standing};
#[cfg(feature = "test-util")]
use crate::testkit::Flaw;

/// The next record of an instance, as long as nobody else writes one.
pub(super) struct Draft<App> {
    pub(super) worker: Arc<Worker<App>>,
    pub(super) name: Name,
    pub(super) stream: Arc<str>,
    pub(super) shard: u32,
    pub(super) version: Version,
    pub(super) fence: Fence,
    pub(super) now: Timestamp,
    /// What follows may begin.
    pub(super) goes_on: bool,
    pub(super) before: Arc<State>,
}

impl<App: Send + Sync + 'static> Draft<App> {
    /// That a step, or its undo, is done, and what follows.
    pub(super) fn ended(
        &self,
        step: usize,
        is_undo: bool,
        output: &Json,
    ) -> Result<(Vec<Entry>, State), Illegal> {
        let mut next = State::clone(&self.before);
        let done = if is_undo {
            Entry::Undone { step }
        } else {
            let output = output.clone();
            Entry::Done { step, output }
        };
        next.apply_entry(&done, self.now)?;
        let mut entries = vec![done];
        if self.goes_on {
            let more = next.advance(self.now, &entries)?;
            entries.extend(more);
        }
        next.count();
        Ok((entries, next))
    }

    /// The entries and what else changes with them. Refused if anybody else has written to the instance, or runs it.
    pub(super) fn batch(&self, entries: Vec<Entry>, next: &State) -> Batch {
        let record = Record {
            at: self.now,
            epoch: Some(self.fence.token),
            entries,
        };
        self.noted(self.append(&record), next)
    }

    fn append(&self, record: &Record) -> Batch {
        #[cfg(feature = "test-util")]
        if self.worker.has_flaw(Flaw::NoFence) && self.version != Version::START {
            let append = Append::new(Event::new(crate::log::KIND, record.bytes()));
            return Batch::new().append(&*self.stream, append);
        }
        let batch = instances::append(&*self.stream, self.version, record);
        batch.fenced(self.fence.clone())
    }

    /// What stands beside the log changes with it.
    fn noted(&self, batch: Batch, next: &State) -> Batch {
        let names = self.worker.names();
        let active = names.active(self.shard, &self.name);
        let note = |standing| Note::new(standing, self.now);
        let ended = match next.outcome() {
            None if next.parked == self.before.parked && self.version != Version::START => {
                return batch;
            }
            None => {
                let note = match &next.parked {
                    Some(cause) => {
                        note(Standing::Parked).because(&Why::of(cause, next).to_string())
                    }
                    None => note(Standing::Running),
                };
                return batch.put(active, note.bytes());
            }
            Some(Outcome::Done) => Standing::Done,
            Some(Outcome::Undone) => Standing::Undone,
            Some(Outcome::Abandoned) => Standing::Abandoned,
        };
        let ended = Put::new(note(ended).bytes()).expires_after(self.worker.options.remember);
        let batch = batch.delete(active, Expected::Any);
        batch.put(names.ended(&self.name), ended)
    }
}
