use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::recent::Recent;
use super::snapshot::Snapshots;
use super::{Commands, Shared};
use crate::Invalid;
use crate::decider::Decider;
use crate::events::Events;
use crate::name::check_name;

/// Options of commands.
pub struct CommandsBuilder<D: Decider> {
    store: Store,
    name: String,
    decider: D,
    events: Events<D::Event>,
    snapshots: Option<(u64, Snapshots<D::State>)>,
    options: Options,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) attempts: u32,
    pub(super) remember: Duration,
}

/// Ten writers of one thing at once all come through; a hundred are better led by one.
const ATTEMPTS: u32 = 10;
/// Longer than anybody repeats: a message that waited for a person over a weekend is still known.
const REMEMBER: Duration = Duration::from_secs(7 * DAY);
const DAY: u64 = 24 * 3_600;
const YEAR: Duration = Duration::from_secs(366 * DAY);
const SNAPSHOT_EVERY: RangeInclusive<u64> = 10..=1_000_000;

impl<D: Decider> fmt::Debug for CommandsBuilder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandsBuilder")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<D: Decider> CommandsBuilder<D> {
    pub(super) fn new(store: Store, name: String, decider: D, events: Events<D::Event>) -> Self {
        Self {
            store,
            name,
            decider,
            events,
            snapshots: None,
            options: Options {
                attempts: ATTEMPTS,
                remember: REMEMBER,
            },
        }
    }

    /// So often a command is decided when others are first: 1 to 1,000. Default: 10.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = attempts;
        self
    }

    /// How long keys of commands are remembered: 1 s to a year. Default: 7 days.
    #[must_use]
    pub fn remember(mut self, time: Duration) -> Self {
        self.options.remember = time;
        self
    }

    /// Keeps the state after each so many events, 10 to 1,000,000, in the commit that reaches them. Default: never.
    ///
    /// Worth it for things with many hundreds of events. `schema` is a number that you change with the state's form, or with
    /// what [`evolve`](Decider::evolve) does: what was kept under another is not read. What is too large for a value of the
    /// store is not kept.
    #[must_use]
    pub fn snapshots(mut self, every: u64, schema: u32) -> Self
    where
        D::State: Serialize + DeserializeOwned,
    {
        self.snapshots = Some((every, Snapshots::new(every, schema)));
        self
    }

    /// The commands, unless an option can't be used.
    pub fn build(self) -> Result<Commands<D>, Invalid> {
        check_name("name", &self.name)?;
        if !(1..=1_000).contains(&self.options.attempts) {
            let limit = "must be in 1..=1000";
            return Err(Invalid::new("attempts", self.options.attempts, limit));
        }
        if !(Duration::from_secs(1)..=YEAR).contains(&self.options.remember) {
            let value = format!("{:?}", self.options.remember);
            return Err(Invalid::new("remember", value, "must be in 1 s..=366 days"));
        }
        let snapshots = match self.snapshots {
            Some((every, _)) if !SNAPSHOT_EVERY.contains(&every) => {
                let limit = format!("must be in {SNAPSHOT_EVERY:?}");
                return Err(Invalid::new("snapshots", every, limit));
            }
            snapshots => snapshots.map(|(_, snapshots)| snapshots),
        };
        Ok(Commands {
            shared: Arc::new(Shared {
                store: self.store,
                name: self.name,
                decider: self.decider,
                events: self.events,
                snapshots,
                recent: Recent::new(),
                options: self.options,
            }),
        })
    }
}
