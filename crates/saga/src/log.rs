//! What is written of an instance: records of a stream, each with what happened at once.

use backstay_store::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Json;
use crate::error::StepEffect;
use crate::graph::{Fingerprint, Version};

/// The kind of the events in the store.
pub(crate) const KIND: &str = "saga";

/// What happened at once, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// When, by the clock of who wrote it: milliseconds since 1970.
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// The worker's epoch; none if it was not a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// What happened.
    pub entries: Vec<Entry>,
}

/// One thing that happened. Steps are given by their place in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Entry {
    /// The instance is there.
    Start(Start),
    /// A step is about to run.
    Begin {
        /// Which.
        step: usize,
    },
    /// A step is done.
    Done {
        /// Which.
        step: usize,
        /// What came of it.
        output: Json,
    },
    /// An attempt of a step was not.
    Failed {
        /// Which.
        step: usize,
        /// What it leaves behind.
        effect: StepEffect,
        /// Why, as text.
        error: String,
        /// When it is tried again; none if it is not.
        #[serde(
            default,
            with = "millis_option",
            skip_serializing_if = "Option::is_none"
        )]
        again_at: Option<Timestamp>,
    },
    /// From here on what was done is undone.
    Turn {
        /// Why.
        cause: Cause,
    },
    /// A step is about to be undone.
    BeginUndo {
        /// Which.
        step: usize,
    },
    /// A step is undone.
    Undone {
        /// Which.
        step: usize,
    },
    /// An attempt to undo a step was not.
    UndoFailed {
        /// Which.
        step: usize,
        /// Why, as text.
        error: String,
        /// When it is tried again; none if it is not.
        #[serde(
            default,
            with = "millis_option",
            skip_serializing_if = "Option::is_none"
        )]
        again_at: Option<Timestamp>,
    },
    /// Nothing is begun any more until a person says how to go on.
    Park {
        /// Why.
        cause: Cause,
    },
    /// Somebody sent a signal.
    Signal {
        /// Its name.
        name: String,
        /// Its value.
        value: Json,
        /// Who, as they say. Empty, as `why`, where an older version wrote it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        by: String,
        /// Why, as they say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
    },
    /// From here on it runs another graph. Nothing else is in its record.
    Migrate {
        /// Which.
        graph: Fingerprint,
        /// Where the old graph's steps are in it; none for one that had not begun.
        steps: Vec<Option<usize>>,
    },
    /// A person, or the owner of the instance, decided something.
    Act(Act),
    /// The instance has ended.
    End {
        /// How.
        outcome: Outcome,
    },
}

/// How an instance began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Start {
    /// The saga's version.
    pub version: Version,
    /// The graph that it runs, until it is migrated.
    pub graph: Fingerprint,
    /// Where it belongs among the group's.
    pub shard: u32,
    /// With what it was started.
    pub input: Json,
    /// The instance that it is a step of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

/// The step that an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parent {
    /// The parent's saga.
    pub saga: String,
    /// The parent's id.
    pub id: String,
    /// The step's name.
    pub step: String,
}

/// Why a saga turned back or was parked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// A step can't be done.
    Step(usize),
    /// The pivot may have happened or not, and can't be tried again.
    PivotUnclear(usize),
    /// A step after the pivot can't be done.
    AfterPivot(usize),
    /// A step can't be undone.
    Undo(usize),
    /// What is in the log can't be read by the code: a step, and what is wrong.
    Unreadable(usize, String),
    /// The history is as long as it may be.
    HistoryFull,
    /// It was asked for.
    Asked,
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// All steps are done.
    Done,
    /// All that was done is undone.
    Undone,
    /// A person said that nothing more is done about it.
    Abandoned,
}

/// A decision from outside, with who and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Act {
    /// What.
    pub action: Action,
    /// Who, as they say.
    pub by: String,
    /// Why, as they say.
    pub why: String,
}

/// What can be decided from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Tries again what it is parked for or waits to try, with all attempts.
    Retry,
    /// Takes a step, or its undo, for done: with this output, if it is to be done forward.
    Skip {
        /// Which.
        step: usize,
        /// What came of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Json>,
    },
    /// Undoes what was done. If it is parked because nobody knows of the pivot, that has not happened.
    Undo,
    /// Ends it as it is.
    Abandon,
}

impl Record {
    pub(crate) fn bytes(&self) -> Bytes {
        let text = serde_json::to_vec(self);
        text.expect("a record is JSON").into()
    }
}

impl Entry {
    /// How large what the user gave is in it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Done { output, .. } => output.text().len(),
            Self::Failed { error, .. } | Self::UndoFailed { error, .. } => error.len(),
            _ => 0,
        }
    }
}

mod millis {
    use backstay_store::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.as_millis())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(from).map(Timestamp::from_millis)
    }
}

mod millis_option {
    use backstay_store::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes it so")]
    pub(super) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(Timestamp::as_millis).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Timestamp::from_millis))
    }
}
