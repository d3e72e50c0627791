use std::sync::Arc;

use backstay_store::{Recorded, Timestamp, Unavailable, Version};

use super::{Listed, Operator, ShowError};
use crate::Json;
use crate::engine::Why;
use crate::engine::instances::Loaded;
use crate::engine::names::Name;
use crate::graph::{Graph, Work};
use crate::log::{Record, Start};
use crate::machine::{Back, Forward, Phase, State};
use crate::note::{Note, Standing};
use crate::timeline;

const PAGE: u32 = 1_000;

/// An instance with all that is known of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Shown {
    /// Its saga.
    pub saga: String,
    /// Its id.
    pub id: String,
    /// How it stands.
    pub standing: Standing,
    /// Whether what was done is being undone.
    pub is_going_back: bool,
    /// Why the workers that have its shard can't run it.
    pub hindrance: Option<String>,
    /// Why it turned back or is parked.
    pub why: Option<Why>,
    /// How it began.
    pub start: Start,
    /// What it runs.
    pub graph: Arc<Graph>,
    /// In the order of the graph.
    pub steps: Vec<ShownStep>,
    /// Its log.
    pub records: Vec<Record>,
}

/// A step of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShownStep {
    /// Its name.
    pub name: String,
    /// In a word: `waiting`, `running`, `resting`, `done`, `failed`, `unknown`, `undoing`, `undo resting`, `undo failed`, `undone`.
    pub state: &'static str,
    /// Attempts, and those of its undo, since a person last said to try again.
    pub attempts: (u32, u32),
    /// When it is tried again.
    pub again_at: Option<Timestamp>,
    /// What came of it.
    pub output: Option<Json>,
    /// What its last failed attempt said.
    pub error: Option<Arc<str>>,
    /// The saga that it is, from when it has begun until that has ended: the step waits for it.
    pub child: Option<Listed>,
}

impl Operator {
    /// An instance as its log tells it.
    pub async fn show(&self, saga: &str, id: &str) -> Result<Shown, ShowError> {
        let name = Name::new(saga, id);
        let (loaded, records) = self.loaded(&name).await?;
        let Loaded { start, state, .. } = loaded;
        let graph = state.graph.clone();
        let mut steps = Vec::new();
        for step in 0..graph.steps.len() {
            let child = self.child(&name, &start, &state, step).await?;
            steps.push(shown(&state, step, child));
        }
        let cause = state.parked.as_ref().or(state.turned.as_ref());
        let hindered = self.hindered(&name, &start, &state).await?;
        let (standing, hindrance) =
            hindered.map_or_else(|| (standing(&state), None), |note| (note.state, note.why));
        Ok(Shown {
            saga: saga.to_owned(),
            id: id.to_owned(),
            standing,
            is_going_back: state.phase == Phase::Back,
            hindrance,
            why: cause.map(|cause| Why::of(cause, &state)),
            start,
            steps,
            graph,
            records,
        })
    }

    /// What workers say that can't run an instance whose log says that it runs.
    async fn hindered(
        &self,
        name: &Name,
        start: &Start,
        state: &State,
    ) -> Result<Option<Note>, Unavailable> {
        if standing(state) != Standing::Running {
            return Ok(None);
        }
        let key = self.instances.names.active(start.shard, name);
        let note = self.instances.store.get(&key).await?;
        let note = note.map(|note| Note::read(&note.value));
        Ok(note.filter(|note| is_hindrance(note.state)))
    }

    /// The saga that a step is, if it has not ended.
    async fn child(
        &self,
        name: &Name,
        start: &Start,
        state: &State,
        step: usize,
    ) -> Result<Option<Listed>, Unavailable> {
        let node = &state.graph.steps[step];
        let Work::Child { saga, .. } = &node.work else {
            return Ok(None);
        };
        let child = name.child(saga, &node.name, state.steps[step].trial);
        let key = self.instances.names.active(start.shard, &child);
        let entry = self.instances.store.get(&key).await?;
        Ok(entry.map(|entry| Listed::new(&child, Note::read(&entry.value))))
    }

    /// The events of an instance's log as the store has them, whether they can be read or not; none if there is no
    /// instance.
    pub async fn events(&self, saga: &str, id: &str) -> Result<Vec<Recorded>, Unavailable> {
        let stream = self.instances.names.stream(&Name::new(saga, id));
        let mut all: Vec<Recorded> = Vec::new();
        loop {
            let after = all.last().map_or(Version::START, |last| last.version);
            let page = self.instances.store.read(&stream, after, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    pub(super) async fn loaded(&self, name: &Name) -> Result<(Loaded, Vec<Record>), ShowError> {
        let records = self.instances.records(name).await?;
        let loaded = self.instances.loaded(&records).await?;
        let loaded = loaded.ok_or_else(|| ShowError::NotFound {
            saga: name.saga.to_string(),
            id: name.id.to_string(),
        })?;
        Ok((
            loaded,
            records.into_iter().map(|(_, record)| record).collect(),
        ))
    }
}

impl Shown {
    /// Its log for people, a line for each entry: time since the start, the worker's epoch, what happened.
    pub fn timeline(&self) -> String {
        timeline::lines(&self.graph, &self.records)
    }
}

/// Whether it is the workers that can't run it.
pub(super) fn is_hindrance(standing: Standing) -> bool {
    matches!(standing, Standing::NeedsUpgrade | Standing::Unreadable)
}

pub(super) fn standing(state: &State) -> Standing {
    use crate::log::Outcome;
    match (&state.parked, &state.phase) {
        (Some(_), _) => Standing::Parked,
        (None, Phase::Forward | Phase::Back) => Standing::Running,
        (None, Phase::Ended(Outcome::Done)) => Standing::Done,
        (None, Phase::Ended(Outcome::Undone)) => Standing::Undone,
        (None, Phase::Ended(Outcome::Abandoned)) => Standing::Abandoned,
    }
}

fn shown(state: &State, number: usize, child: Option<Listed>) -> ShownStep {
    let step = &state.steps[number];
    let (word, again_at) = match (&step.back, &step.forward) {
        (Back::Running, _) => ("undoing", None),
        (Back::Resting(at), _) => ("undo resting", Some(*at)),
        (Back::Failed, _) => ("undo failed", None),
        (Back::Done, _) => ("undone", None),
        (Back::Waiting, Forward::Waiting) => ("waiting", None),
        (Back::Waiting, Forward::Running(_)) => ("running", None),
        (Back::Waiting, Forward::Resting(at)) => ("resting", Some(*at)),
        (Back::Waiting, Forward::Done(_)) => ("done", None),
        (Back::Waiting, Forward::Failed) => ("failed", None),
        (Back::Waiting, Forward::Unknown) => ("unknown", None),
    };
    ShownStep {
        name: state.graph.steps[number].name.clone(),
        state: word,
        attempts: (step.attempts, step.undo_attempts),
        again_at,
        output: step.output().cloned(),
        error: step.error.clone(),
        child,
    }
}
