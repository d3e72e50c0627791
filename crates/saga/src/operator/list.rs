use backstay_store::{Entry, Timestamp, Unavailable};

use super::Operator;
use crate::engine::instances::PAGE;
use crate::engine::names::Name;
use crate::note::{Note, Standing};

/// An instance in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its saga.
    pub saga: String,
    /// Its id.
    pub id: String,
    /// How it stands.
    pub standing: Standing,
    /// Since when, by the clock of the worker that wrote it.
    pub since: Timestamp,
    /// Why it is parked or does not run.
    pub why: Option<String>,
}

/// Some of the instances, and where the next ones begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// In no order that means anything.
    pub instances: Vec<Listed>,
    /// Ask again with this; none if there are no more.
    pub next: Option<String>,
}

impl Operator {
    /// Instances that have not ended, by shard: those that run, are parked, or can't run.
    ///
    /// The first page is after none; each next one after what the page before says.
    pub async fn active(&self, after: Option<&str>) -> Result<Page, Unavailable> {
        let prefix = self.instances.names.actives();
        let page = self
            .instances
            .keys(&prefix, after.unwrap_or_default())
            .await?;
        let name = |key: &str| self.instances.names.read_active(key).map(|(_, name)| name);
        Ok(read(&page, name))
    }

    /// Instances that have ended, as long as they are remembered.
    pub async fn ended(&self, after: Option<&str>) -> Result<Page, Unavailable> {
        let prefix = self.instances.names.all_ended();
        let page = self
            .instances
            .keys(&prefix, after.unwrap_or_default())
            .await?;
        Ok(read(&page, |key| self.instances.names.read_ended(key)))
    }
}

fn read(page: &[Entry], name: impl Fn(&str) -> Option<Name>) -> Page {
    let listed = |entry: &Entry| Some(Listed::new(&name(&entry.key)?, Note::read(&entry.value)));
    let last = page.last().filter(|_| page.len() >= PAGE as usize);
    Page {
        instances: page.iter().filter_map(listed).collect(),
        next: last.map(|last| last.key.clone()),
    }
}

impl Listed {
    pub(super) fn new(name: &Name, note: Note) -> Self {
        Self {
            saga: name.saga.to_string(),
            id: name.id.to_string(),
            standing: note.state,
            since: Timestamp::from_millis(note.since),
            why: note.why,
        }
    }
}
