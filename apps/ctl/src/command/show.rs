use backstay_saga::{Json, Listed, Record, Shown, ShownStep, Start};
use backstay_store::Timestamp;
use serde::Serialize;

use super::To;
use super::list::{Row, row};
use crate::cli::Instance;
use crate::output::{Format, Table, cut, document, say, time};

/// For scripts.
#[derive(Serialize)]
struct Document<'a> {
    group: &'a str,
    saga: &'a str,
    id: &'a str,
    standing: backstay_saga::Standing,
    /// `forward` or `back`.
    direction: &'static str,
    why: Option<String>,
    started: Option<String>,
    start: &'a Start,
    steps: Vec<Step<'a>>,
    timeline: Vec<Happened<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    name: &'a str,
    state: &'a str,
    attempts: u32,
    undo_attempts: u32,
    again_at: Option<String>,
    output: Option<&'a Json>,
    error: Option<&'a str>,
    /// The saga that it waits for.
    child: Option<Row<'a>>,
}

#[derive(Serialize)]
struct Happened<'a> {
    at: String,
    epoch: Option<u64>,
    lines: Vec<String>,
    entries: &'a [backstay_saga::Entry],
}

pub(super) async fn run(to: &To, instance: &Instance) -> anyhow::Result<()> {
    let shown = to.shown(instance).await?;
    let group = &to.place.group;
    match to.format {
        Format::Json => document(&Document {
            group,
            saga: &shown.saga,
            id: &shown.id,
            standing: shown.standing,
            direction: direction(&shown),
            why: why(&shown),
            started: shown.records.first().map(|first| time(first.at)),
            start: &shown.start,
            steps: shown.steps.iter().map(step).collect(),
            timeline: shown
                .records
                .iter()
                .map(|record| happened(&shown, record))
                .collect(),
        }),
        Format::People => {
            let parts = [header(group, &shown), steps(&shown), timeline(&shown)];
            Ok(say(&parts.join("\n"))?)
        }
    }
}

fn direction(shown: &Shown) -> &'static str {
    if shown.is_going_back {
        "back"
    } else {
        "forward"
    }
}

/// Why it does not run, or why it turned back or is parked.
fn why(shown: &Shown) -> Option<String> {
    let cause = || shown.why.as_ref().map(ToString::to_string);
    shown.hindrance.clone().or_else(cause)
}

fn step(step: &ShownStep) -> Step<'_> {
    Step {
        name: &step.name,
        state: step.state,
        attempts: step.attempts.0,
        undo_attempts: step.attempts.1,
        again_at: step.again_at.map(time),
        output: step.output.as_ref(),
        error: step.error.as_deref(),
        child: step.child.as_ref().map(row),
    }
}

fn happened<'a>(shown: &Shown, record: &'a Record) -> Happened<'a> {
    Happened {
        at: time(record.at),
        epoch: record.epoch,
        lines: record
            .entries
            .iter()
            .map(|entry| shown.graph.line(entry))
            .collect(),
        entries: &record.entries,
    }
}

fn header(group: &str, shown: &Shown) -> String {
    let way = if shown.is_going_back {
        ", going back"
    } else {
        ""
    };
    let standing = format!("{}{way}", shown.standing);
    let start = &shown.start;
    let version = format!("{}, graph {}", start.version.0, start.graph);
    let began = shown.records.first().map(|first| first.at);
    let parent = start.parent.as_ref();
    let parent = parent.map(|of| format!("step {:?} of saga {} {:?}", of.step, of.saga, of.id));
    let lines = [
        ("saga", Some(shown.saga.clone())),
        ("id", Some(shown.id.clone())),
        ("group", Some(group.to_owned())),
        ("standing", Some(standing)),
        ("why", why(shown)),
        ("version", Some(version)),
        ("started", began.map(time)),
        ("parent", parent),
        ("input", Some(format!("{:?}", start.input))),
    ];
    let known = lines
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)));
    known.fold(String::new(), |header, (name, text)| {
        header + &format!("{name:<10}{}\n", cut(&text))
    })
}

fn steps(shown: &Shown) -> String {
    let mut table = Table::new([
        "STEP",
        "STATE",
        "ATTEMPTS",
        "UNDO ATTEMPTS",
        "AGAIN AT",
        "ERROR",
    ]);
    for step in &shown.steps {
        table.row([
            step.name.clone(),
            step.state.to_owned(),
            step.attempts.0.to_string(),
            step.attempts.1.to_string(),
            step.again_at.map(time).unwrap_or_default(),
            step.error.as_deref().unwrap_or_default().to_owned(),
        ]);
    }
    table.text() + &children(shown)
}

/// A line for each step that is a saga which has not ended.
fn children(shown: &Shown) -> String {
    let steps = shown.steps.iter();
    let children = steps.filter_map(|step| Some((&step.name, step.child.as_ref()?)));
    children.fold(String::new(), |lines, (step, child)| {
        let Listed { saga, id, .. } = child;
        let line = format!("step {step:?} is saga {saga} {id:?}, {}", standing(child));
        lines + &cut(&line) + "\n"
    })
}

/// How an instance stands, and why.
pub(super) fn standing(one: &Listed) -> String {
    match &one.why {
        Some(why) => format!("{}: {why}", one.standing),
        None => one.standing.to_string(),
    }
}

fn timeline(shown: &Shown) -> String {
    let mut table = Table::new(["TIME", "EPOCH", "WHAT"]);
    for record in &shown.records {
        for entry in &record.entries {
            table.row(moment(record.at, record.epoch, shown.graph.line(entry)));
        }
    }
    table.text()
}

fn moment(at: Timestamp, epoch: Option<u64>, what: String) -> [String; 3] {
    let epoch = epoch.map(|epoch| epoch.to_string());
    [time(at), epoch.unwrap_or_default(), what]
}
