use backstay_store::{Batch, CommitError, Expected, Invalid, Put, Timestamp, Unavailable};
use serde::Serialize;

use super::show::standing;
use super::{Operator, ShowError};
use crate::Json;
use crate::engine::Why;
use crate::engine::instances::Loaded;
use crate::engine::names::Name;
use crate::engine::{DEFAULT_REMEMBER, machine_now};
use crate::graph::Work;
use crate::log::{Act, Action, Entry, Outcome, Record};
use crate::machine::{Forward, Phase, State};
use crate::note::{Note, Standing};

/// Who decides, and why: both are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    who: String,
    why: String,
}

/// As many bytes each.
const WORDS: usize = 1_000;
/// As often as somebody else may be first.
const TRIES: u32 = 20;

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
    #[error("saga {saga} {id:?} is {standing:?}: {what}")]
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
        let is_possible = |state: &State| match state.phase {
            Phase::Ended(_) => Err("it has ended".to_owned()),
            Phase::Forward | Phase::Back => Ok(()),
        };
        self.act(saga, id, by, Action::Retry, is_possible).await
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
        let name = Name::new(saga, id);
        let (loaded, _) = self.loaded(&name).await?;
        let Some(number) = loaded.state.graph.step(step) else {
            let limit = "must be a step of the saga";
            return Err(Invalid::new("step", format!("{step:?}"), limit).into());
        };
        let is_possible = move |state: &State| can_skip(state, number);
        let action = Action::Skip {
            step: number,
            output,
        };
        self.act(saga, id, by, action, is_possible).await
    }

    /// Undoes what an instance has done, as long as its pivot is not.
    ///
    /// One that is parked because nobody knows of its pivot: this says that the pivot has not happened. One that is done can
    /// still be undone if it has no pivot.
    pub async fn undo(&self, saga: &str, id: &str, by: By) -> Result<(), ActError> {
        self.act(saga, id, by, Action::Undo, can_undo).await
    }

    /// Ends an instance as it is: what it has done stays, and nothing more happens.
    pub async fn abandon(&self, saga: &str, id: &str, by: By) -> Result<(), ActError> {
        let is_possible = |state: &State| match state.phase {
            Phase::Ended(_) => Err("it has ended".to_owned()),
            Phase::Forward | Phase::Back => Ok(()),
        };
        match self
            .act(saga, id, by.clone(), Action::Abandon, is_possible)
            .await
        {
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

    /// Sends a signal with a value. False if one of this name was sent before: the first counts.
    pub async fn signal(
        &self,
        saga: &str,
        id: &str,
        name: &str,
        value: &(impl Serialize + Sync),
    ) -> Result<bool, ActError> {
        let value = Json::write(value).map_err(|error| {
            Invalid::new(
                "value",
                "(not shown)",
                format!("must be what JSON can hold: {error}"),
            )
        })?;
        let instance = Name::new(saga, id);
        for _ in 0..TRIES {
            let (loaded, _) = self.loaded(&instance).await?;
            let is_known = |node: &crate::graph::Node| {
                node.name == name && matches!(node.work, Work::Signal(_))
            };
            if !loaded.state.graph.steps.iter().any(is_known) {
                let limit = "must be a signal that the saga waits for";
                return Err(Invalid::new("signal", format!("{name:?}"), limit).into());
            }
            if matches!(loaded.state.phase, Phase::Ended(_)) {
                return Err(refused(&instance, &loaded.state, "it has ended".to_owned()));
            }
            if loaded.state.has_signal(name) {
                return Ok(false);
            }
            let entry = Entry::Signal {
                name: name.to_owned(),
                value: value.clone(),
            };
            if self.write(&instance, &loaded, vec![entry], None).await? {
                return Ok(true);
            }
        }
        Err(ActError::Busy)
    }

    async fn act(
        &self,
        saga: &str,
        id: &str,
        by: By,
        action: Action,
        is_possible: impl Fn(&State) -> Result<(), String> + Send,
    ) -> Result<(), ActError> {
        let name = Name::new(saga, id);
        let ends = (action == Action::Abandon).then_some(Outcome::Abandoned);
        let act = Act {
            action,
            by: by.who,
            why: by.why,
        };
        for _ in 0..TRIES {
            let (loaded, _) = self.loaded(&name).await?;
            is_possible(&loaded.state).map_err(|what| refused(&name, &loaded.state, what))?;
            let mut entries = vec![Entry::Act(act.clone())];
            entries.extend(ends.map(|outcome| Entry::End { outcome }));
            if self.write(&name, &loaded, entries, ends).await? {
                return Ok(());
            }
        }
        Err(ActError::Busy)
    }

    /// False if somebody else was first.
    async fn write(
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
        let note = Put::new(note.bytes()).expires_after(DEFAULT_REMEMBER);
        batch.delete(active, Expected::Any).put(ended, note)
    }
}

fn refused(name: &Name, state: &State, what: String) -> ActError {
    ActError::Refused {
        saga: name.saga.to_string(),
        id: name.id.to_string(),
        standing: standing(state),
        what,
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
