use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use backstay_saga::{Entry, Follow, Graph, News, Record, Seen, Standing};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::To;
use crate::cli::{Instance, Watch};
use crate::output::{Format, cut, document, say, time};

/// For scripts: one a line.
#[derive(Serialize)]
struct Document<'a> {
    saga: &'a str,
    id: &'a str,
    /// The record's place in the log, from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "<[Entry]>::is_empty")]
    entries: &'a [Entry],
    /// Of what does not run, and whose log does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

pub(super) async fn run(to: &To, watch: &Watch) -> anyhow::Result<()> {
    let instance = watch.instance();
    let watching = async {
        match &instance {
            Some(instance) => one(to, instance).await,
            None => all(to).await,
        }
    };
    let told = tokio::select! {
        biased;
        // If it can't be heard, it ends the process as it does by itself.
        Ok(()) = tokio::signal::ctrl_c() => return Ok(()),
        told = within(watch.within, watching) => told,
    };
    match (told, &instance, watch.within) {
        (Some(told), _, _) => told,
        (None, Some(instance), Some(within)) => {
            let what = anyhow!("it has not ended within {within:?}");
            Err(to.failed_at(instance, what))
        }
        (None, ..) => Ok(()),
    }
}

/// None if the time was over first.
async fn within<T>(time: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match time {
        Some(time) => timeout(time, work).await.ok(),
        None => Some(work.await),
    }
}

/// All of the group, from now on.
async fn all(to: &To) -> anyhow::Result<()> {
    let follow = to.place.operator.follow().await;
    let mut follow = follow.map_err(|error| to.failed(error))?;
    let mut graphs = Graphs::default();
    loop {
        for seen in next(to, &mut follow).await {
            tell(to, &mut graphs, &seen).await?;
        }
    }
}

/// One from its start on, until it has ended.
async fn one(to: &To, instance: &Instance) -> anyhow::Result<()> {
    let operator = &to.place.operator;
    let follow = operator.follow().await;
    let mut follow = follow.map_err(|error| to.failed_at(instance, error))?;
    let shown = to.shown(instance).await?;
    let mut graphs = Graphs::default();
    graphs.keep(instance, shown.graph.clone());
    let mut told = 0;
    for record in &shown.records {
        told += 1;
        recorded(to, &mut graphs, instance, told, record).await?;
    }
    if let Some(why) = &shown.hindrance {
        hindered(to, instance, shown.standing, Some(why))?;
    }
    if shown.records.last().is_some_and(ends) {
        return Ok(());
    }
    loop {
        for seen in next(to, &mut follow).await {
            let is_it = seen.saga == instance.saga && seen.id == instance.id;
            match &seen.news {
                _ if !is_it => {}
                // Told already: it was written between the two looks.
                News::Record { version, .. } if version.get() <= told => {}
                news => {
                    tell(to, &mut graphs, &seen).await?;
                    if matches!(news, News::Record { record, .. } if ends(record)) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// A store that is away for a while is waited for, and that is told once.
async fn next(to: &To, follow: &mut Follow) -> Vec<Seen> {
    let mut is_told = false;
    loop {
        match follow.next().await {
            Ok(seen) => return seen,
            Err(error) => {
                if !is_told {
                    let error = to.failed(error);
                    crate::complain(&format!("{error:#}; asking again until it is there"));
                    is_told = true;
                }
                sleep(AGAIN).await;
            }
        }
    }
}

const AGAIN: Duration = Duration::from_millis(500);

fn ends(record: &Record) -> bool {
    let ends = |entry: &Entry| matches!(entry, Entry::End { .. });
    record.entries.last().is_some_and(ends)
}

async fn tell(to: &To, graphs: &mut Graphs, seen: &Seen) -> anyhow::Result<()> {
    let instance = Instance {
        saga: seen.saga.clone(),
        id: seen.id.clone(),
    };
    match &seen.news {
        News::Record {
            version, record, ..
        } => recorded(to, graphs, &instance, version.get(), record).await,
        News::Hindered { standing, why, .. } => hindered(to, &instance, *standing, why.as_ref()),
        _ => Ok(()),
    }
}

async fn recorded(
    to: &To,
    graphs: &mut Graphs,
    instance: &Instance,
    version: u64,
    record: &Record,
) -> anyhow::Result<()> {
    let Instance { saga, id } = instance;
    if to.format == Format::Json {
        return document(&Document {
            saga,
            id,
            version: Some(version),
            at: Some(time(record.at)),
            epoch: record.epoch,
            entries: &record.entries,
            standing: None,
            why: None,
        });
    }
    let graph = graphs.of(to, instance).await;
    for entry in &record.entries {
        let what = match &graph {
            Some(graph) => graph.line(entry),
            None => serde_json::to_string(entry)?,
        };
        line(&time(record.at), instance, &what)?;
    }
    if ends(record) {
        graphs.forget(instance);
    }
    Ok(())
}

fn hindered(
    to: &To,
    instance: &Instance,
    standing: Standing,
    why: Option<&String>,
) -> anyhow::Result<()> {
    let why = why.map(String::as_str);
    if to.format == Format::Json {
        return document(&Document {
            saga: &instance.saga,
            id: &instance.id,
            version: None,
            at: None,
            epoch: None,
            entries: &[],
            standing: Some(standing),
            why,
        });
    }
    let what = format!("{standing}: {}", why.unwrap_or_default());
    line(NO_TIME, instance, &what)
}

/// As wide as a time.
const NO_TIME: &str = "-                       ";

fn line(at: &str, instance: &Instance, what: &str) -> anyhow::Result<()> {
    let Instance { saga, id } = instance;
    let (name, what) = (cut(&format!("{saga} {id}")), cut(what));
    Ok(say(&format!("{at}  {name}  {what}"))?)
}

/// Graphs of the instances that are told of, for the names of their steps.
#[derive(Default)]
struct Graphs(HashMap<(String, String), Arc<Graph>>);

/// More are asked for again.
const MOST_GRAPHS: usize = 10_000;

impl Graphs {
    fn keep(&mut self, instance: &Instance, graph: Arc<Graph>) {
        if self.0.len() >= MOST_GRAPHS {
            self.0.clear();
        }
        self.0.insert(key(instance), graph);
    }

    fn forget(&mut self, instance: &Instance) {
        self.0.remove(&key(instance));
    }

    /// None if its log can't be read now.
    async fn of(&mut self, to: &To, instance: &Instance) -> Option<Arc<Graph>> {
        if let Some(graph) = self.0.get(&key(instance)) {
            return Some(graph.clone());
        }
        let operator = &to.place.operator;
        let shown = operator.show(&instance.saga, &instance.id).await.ok()?;
        self.keep(instance, shown.graph.clone());
        Some(shown.graph)
    }
}

fn key(instance: &Instance) -> (String, String) {
    (instance.saga.clone(), instance.id.clone())
}
