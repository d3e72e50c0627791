//! Decisions, with who and why.

use anyhow::bail;
use backstay_saga::{ActError, Json, Shown};
use serde::Serialize;

use super::To;
use crate::cli::{Decision, Instance, Reason, Skip};
use crate::output::{Format, document, say};

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
    let told = to.place.operator.abandon(saga, id, reason.by()?).await;
    decided(to, instance, reason, ("abandon", None), told)
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
        Format::Json => document(&Document {
            group: &to.place.group,
            saga: &instance.saga,
            id: &instance.id,
            action,
            step,
            who: reason.who(),
        }),
        Format::People => {
            let what = match (action, step) {
                ("abandon", _) => "abandoned".to_owned(),
                (_, Some(step)) => format!("{action} {step} is written; its worker acts on it"),
                (_, None) => format!("{action} is written; its worker acts on it"),
            };
            Ok(say(&format!("{instance}: {what}"))?)
        }
    }
}
