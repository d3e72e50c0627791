use backstay_store::{Batch, CommitError, Expected, Invalid, Put, Timestamp, Unavailable};

use super::show::standing;
use super::{Operator, ShowError};
use crate::Json;
use crate::engine::Why;
use crate::engine::instances::Loaded;
use crate::engine::machine_now;
use crate::engine::names::Name;
use crate::log::{Act, Action, Entry, Outcome, Record};
use crate::machine::{Forward, Phase, State};
use crate::note::{Note, Standing};

/// Who decides, and why: both are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub(super) who: String,
    pub(super) why: String,
}

/// As many bytes each.
const WORDS: usize = 1_000;
/// As often as somebody else may be first.
pub(super) const TRIES: u32 = 20;

impl By {
    /// Each 1 to 1,000 bytes.
    pub fn new(who: impl Into<String>, why: impl Into<String>) -> Result<Self, Invalid> {
        let (who, why) = (who.into(), why.into());
        for (field, text) in [("who", &who), ("why", &why)] {
            if !(1..=WORDS).contains(&text.trim().len()) {
                let limit = format!("must have 1 to {WORDS} bytes");
                return Err(Invalid::new(field, format!("{text:?}"), limit));
            }
        }
        Ok(Self { who, why })
    }
}

/// Why nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActError {
    /// There is no such instance, or it can't be read.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// As the instance stands, it can't be done.
    #[error("saga {saga} {id:?} is {standing}: {what}")]
    Refused {
        /// The saga.
        saga: String,
        /// The id.
        id: String,
        /// How it stands.
        standing: Standing,
        /// What would have to be so.
        what: String,
    },
    /// Others wrote to it all the time.
    #[error("others were first {TRIES} times")]
    Busy,
    /// A value breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store can't say whether it was written, or can't do it now. What was decided twice counts once.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Operator {
    /// Tries again what an instance is parked for or waits to try, with all attempts.
    pub async fn retry(&self, saga: &str, id: &str, by: By) -> Result<(), ActError> {
        let decide = |state: &State| {
            has_not_ended(state)?;
            Ok(Action::Retry)
        };
        self.act(saga, id, by, decide).await
    }

    /// Takes a step for done, or its undo where the instance goes back, because a person has seen to it.
    ///
    /// `output` is what a step is to have come to, as JSON: steps that need it read it.
    pub async fn skip(
        &self,
        saga: &str,
        id: &str,
        step: &str,
        output: Option<Json>,
        by: By,
    ) -> Result<(), ActError> {
        let decide = |state: &State| {
            // Each time anew: a worker may move the instance to another graph in between.
            let step = state.graph.step(step).ok_or_else(|| {
                let limit = "must be a step of the saga";
                Invalid::new("step", format!("{step:?}"), limit)
            })?;
            can_skip(state, step)?;
            let output = output.clone();
            Ok(Action::Skip { step, output })
        };
        self.act(saga, id, by, decide).await
    }

    /// Undoes what an instance has done, as long as its pivot is not.
    ///
    /// One that is parked because nobody knows of its pivot: this says that the pivot has not happened. One that is done can
    /// still be undone if it has no pivot.
    pub async fn undo(&self, saga: &str, id: &str, by: By) -> Result<(), ActError> {
        let decide = |state: &State| {
            can_undo(state)?;
            Ok(Action::Undo)
        };
        self.act(saga, id, by, decide).await
    }

    /// Ends an instance as it is: what it has done stays, and nothing more happens.
    ///
    /// Sagas within it that have not ended go on: [`ShownStep::child`](super::ShownStep::child) tells which. Each can be
    /// decided about by its own name.
    pub async fn abandon(&self, saga: &str, id: &str, by: By) -> Result<(), ActError> {
        let decide = |state: &State| {
            has_not_ended(state)?;
            Ok(Action::Abandon)
        };
        match self.act(saga, id, by.clone(), decide).await {
            Err(ActError::Show(ShowError::Illegal(_))) => self.abandon_unread(saga, id, by).await,
            acted => acted,
        }
    }

    /// Ends an instance whose log can't be, so that no worker looks at it again.
    async fn abandon_unread(&self, saga: &str, id: &str, by: By) -> Result<(), ActError> {
        let name = Name::new(saga, id);
        let act = Act {
            action: Action::Abandon,
            by: by.who,
            why: by.why,
        };
        let outcome = Outcome::Abandoned;
        for _ in 0..TRIES {
            let events = self.events(saga, id).await?;
            let Some(last) = events.last() else {
                let (saga, id) = (saga.to_owned(), id.to_owned());
                return Err(ShowError::NotFound { saga, id }.into());
            };
            let now = machine_now();
            let record = Record {
                at: now,
                epoch: None,
                entries: vec![Entry::Act(act.clone()), Entry::End { outcome }],
            };
            let batch = self.instances.append(&name, last.version, &record);
            // Where its start can't be read, its shard is that of one that is no child.
            let start = self.instances.start(&name).await.ok().flatten();
            let shard = start.map_or_else(|| name.shard(), |start| start.shard);
            let batch = self.noted(batch, &name, shard, Some(outcome), None, now);
            if self.commit(batch).await? {
                return Ok(());
            }
        }
        Err(ActError::Busy)
    }

    async fn act(
        &self,
        saga: &str,
        id: &str,
        by: By,
        decide: impl Fn(&State) -> Result<Action, Not> + Send,
    ) -> Result<(), ActError> {
        let name = Name::new(saga, id);
        for _ in 0..TRIES {
            let (loaded, _) = self.loaded(&name).await?;
            let action = decide(&loaded.state).map_err(|not| not.told(&name, &loaded.state))?;
            let ends = (action == Action::Abandon).then_some(Outcome::Abandoned);
            let By { who: by, why } = by.clone();
            let mut entries = vec![Entry::Act(Act { action, by, why })];
            entries.extend(ends.map(|outcome| Entry::End { outcome }));
            if self.write(&name, &loaded, entries, ends).await? {
                return Ok(());
            }
        }
        Err(ActError::Busy)
    }

    /// False if somebody else was first.
    pub(super) async fn write(
        &self,
        name: &Name,
        loaded: &Loaded,
        entries: Vec<Entry>,
        ends: Option<Outcome>,
    ) -> Result<bool, ActError> {
        let now = machine_now();
        let record = Record {
            at: now,
            epoch: None,
            entries,
        };
        let batch = self.instances.append(name, loaded.version, &record);
        let is_signal = matches!(record.entries[..], [Entry::Signal { .. }]);
        let parked = loaded.state.parked.as_ref().filter(|_| is_signal);
        let parked = parked.map(|cause| Why::of(cause, &loaded.state).to_string());
        let batch = self.noted(
            batch,
            name,
            loaded.start.shard,
            ends,
            parked.as_deref(),
            now,
        );
        self.commit(batch).await
    }

    /// False if somebody else was first.
    async fn commit(&self, batch: Batch) -> Result<bool, ActError> {
        match self.instances.store.commit(batch).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict(_)) => Ok(false),
            Err(CommitError::Invalid(invalid)) => Err(invalid.into()),
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(error) => unreachable!("it has no fence: {error}"),
        }
    }

    /// What stands beside the log, so that the worker looks.
    fn noted(
        &self,
        batch: Batch,
        name: &Name,
        shard: u32,
        ends: Option<Outcome>,
        stays: Option<&str>,
        now: Timestamp,
    ) -> Batch {
        let names = &self.instances.names;
        let (active, ended) = (names.active(shard, name), names.ended(name));
        if ends.is_none() {
            let note = match stays {
                // A signal changes nothing of it.
                Some(parked) => Note::new(Standing::Parked, now).because(parked),
                None => Note::new(Standing::Running, now),
            };
            return batch.put(active, note.bytes()).delete(ended, Expected::Any);
        }
        let note = Note::new(Standing::Abandoned, now);
        let note = Put::new(note.bytes()).expires_after(self.remember);
        batch.delete(active, Expected::Any).put(ended, note)
    }
}

/// Why something can't be, as an instance stands.
pub(super) enum Not {
    Possible(String),
    Valid(Invalid),
}

impl From<String> for Not {
    fn from(what: String) -> Self {
        Self::Possible(what)
    }
}

impl From<Invalid> for Not {
    fn from(invalid: Invalid) -> Self {
        Self::Valid(invalid)
    }
}

impl Not {
    pub(super) fn told(self, name: &Name, state: &State) -> ActError {
        match self {
            Self::Possible(what) => ActError::Refused {
                saga: name.saga.to_string(),
                id: name.id.to_string(),
                standing: standing(state),
                what,
            },
            Self::Valid(invalid) => invalid.into(),
        }
    }
}

pub(super) fn has_not_ended(state: &State) -> Result<(), String> {
    match state.phase {
        Phase::Ended(_) => Err("it has ended".to_owned()),
        Phase::Forward | Phase::Back => Ok(()),
    }
}

fn can_skip(state: &State, step: usize) -> Result<(), String> {
    let name = &state.graph.steps[step].name;
    match state.phase {
        Phase::Ended(_) => Err("it has ended".to_owned()),
        Phase::Back if state.has_to_be_undone(step) => Ok(()),
        Phase::Back => Err(format!("step {name:?} need not be undone")),
        Phase::Forward => match state.steps[step].forward {
            Forward::Waiting => Err(format!("step {name:?} has not begun")),
            Forward::Done(_) => Err(format!("step {name:?} is done")),
            _ => Ok(()),
        },
    }
}

fn can_undo(state: &State) -> Result<(), String> {
    let pivot = state.graph.pivot();
    if pivot.is_some_and(|pivot| state.steps[pivot].is_done()) {
        return Err("its pivot is done, so it only goes forward".to_owned());
    }
    match state.phase {
        Phase::Back => Err("it is being undone".to_owned()),
        Phase::Ended(Outcome::Undone) => Err("it is undone".to_owned()),
        Phase::Ended(Outcome::Abandoned) => Err("it was abandoned".to_owned()),
        Phase::Forward | Phase::Ended(Outcome::Done) => Ok(()),
    }
}
