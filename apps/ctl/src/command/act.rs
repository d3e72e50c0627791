//! Decisions, with who and why.

use anyhow::bail;
use backstay_saga::{ActError, Json, Listed, Shown};
use serde::Serialize;

use super::To;
use super::list::{Row, row};
use super::show::standing;
use crate::cli::{Decision, Instance, Reason, Skip};
use crate::output::{Format, cut, document, say};

/// For scripts: what was written into the log.
#[derive(Serialize)]
struct Document<'a> {
    group: &'a str,
    saga: &'a str,
    id: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    who: &'a str,
    /// Of what was abandoned: sagas within it that go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Vec<Row<'a>>>,
}

pub(super) async fn retry(to: &To, decision: &Decision) -> anyhow::Result<()> {
    let Decision { instance, reason } = decision;
    let Instance { saga, id } = instance;
    let told = to.place.operator.retry(saga, id, reason.by()?).await;
    decided(to, instance, reason, ("retry", None), told)
}

pub(super) async fn undo(to: &To, decision: &Decision) -> anyhow::Result<()> {
    let Decision { instance, reason } = decision;
    let Instance { saga, id } = instance;
    let told = to.place.operator.undo(saga, id, reason.by()?).await;
    decided(to, instance, reason, ("undo", None), told)
}

pub(super) async fn abandon(to: &To, decision: &Decision) -> anyhow::Result<()> {
    let Decision { instance, reason } = decision;
    let Instance { saga, id } = instance;
    let operator = &to.place.operator;
    let told = operator.abandon(saga, id, reason.by()?).await;
    told.map_err(|error| to.undecided(instance, error))?;
    // It is abandoned, whether it can be shown or not.
    let shown = operator.show(saga, id).await;
    let steps = shown.map(|shown| shown.steps).unwrap_or_default();
    let children: Vec<&Listed> = steps
        .iter()
        .filter_map(|step| step.child.as_ref())
        .collect();
    if to.format == Format::Json {
        return document(&Document {
            children: Some(children.into_iter().map(row).collect()),
            ..written(to, instance, reason, ("abandon", None))
        });
    }
    say(&format!("{instance}: abandoned"))?;
    for child in children {
        let Listed { saga, id, .. } = child;
        let line = format!("saga {saga} {id:?} within it goes on: {}", standing(child));
        say(&cut(&line))?;
    }
    Ok(())
}

pub(super) async fn skip(to: &To, skip: &Skip) -> anyhow::Result<()> {
    let Skip {
        instance,
        step,
        output,
        reason,
    } = skip;
    check(to, skip).await?;
    let Instance { saga, id } = instance;
    let output: Option<Json> = output.clone();
    let operator = &to.place.operator;
    let told = operator.skip(saga, id, step, output, reason.by()?).await;
    decided(to, instance, reason, ("skip", Some(step)), told)
}

/// A step without its output would stop those that read it, and can't be given one later.
async fn check(to: &To, skip: &Skip) -> anyhow::Result<()> {
    let shown = to.shown(&skip.instance).await?;
    if shown.is_going_back && skip.output.is_some() {
        let what = "it is going back, so what is skipped is the undo, which has no --output";
        bail!("{}: {}: {what}", to.place, skip.instance);
    }
    if !shown.is_going_back
        && skip.output.is_none()
        && let Some(reader) = reader(&shown, &skip.step)
    {
        let step = &skip.step;
        let what = format!("step {step:?} has an output that {reader} reads: give it as --output");
        bail!("{}: {}: {what}", to.place, skip.instance);
    }
    Ok(())
}

/// Who reads a step's output.
fn reader(shown: &Shown, step: &str) -> Option<String> {
    let number = shown.graph.step(step)?;
    let mut steps = shown.graph.steps.iter();
    if let Some(other) = steps.find(|other| other.needs.contains(&number)) {
        return Some(format!("step {:?}", other.name));
    }
    let is_output = shown.graph.outputs.contains(&number);
    is_output.then(|| "whoever started the saga".to_owned())
}

fn decided(
    to: &To,
    instance: &Instance,
    reason: &Reason,
    (action, step): (&str, Option<&str>),
    told: Result<(), ActError>,
) -> anyhow::Result<()> {
    told.map_err(|error| to.undecided(instance, error))?;
    match to.format {
        Format::Json => document(&written(to, instance, reason, (action, step))),
        Format::People => {
            let step = step.map(|step| format!(" {step}")).unwrap_or_default();
            let what = format!(
                "{action}{step} is written; its worker, or the next that starts, acts on it"
            );
            Ok(say(&format!("{instance}: {what}"))?)
        }
    }
}

fn written<'a>(
    to: &'a To,
    instance: &'a Instance,
    reason: &'a Reason,
    (action, step): (&'a str, Option<&'a str>),
) -> Document<'a> {
    Document {
        group: &to.place.group,
        saga: &instance.saga,
        id: &instance.id,
        action,
        step,
        who: reason.who(),
        children: None,
    }
}
