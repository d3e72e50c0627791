//! A log as lines for people.

use std::fmt::Write;

use crate::engine::Why;
use crate::graph::Graph;
use crate::log::{Action, Entry, Record};

/// A line for each entry: when, by whom, what.
pub(crate) fn lines<'r>(graph: &Graph, records: impl IntoIterator<Item = &'r Record>) -> String {
    let mut text = String::new();
    let mut first = None;
    for record in records {
        let first = *first.get_or_insert(record.at.as_millis());
        let after = record.at.as_millis().saturating_sub(first);
        let epoch = record
            .epoch
            .map_or("-".to_owned(), |epoch| epoch.to_string());
        for entry in &record.entries {
            let _ = writeln!(text, "{after:>8} ms  {epoch:>3}  {}", line(graph, entry));
        }
    }
    text
}

impl Graph {
    /// An entry of an instance's log as a line for people.
    pub fn line(&self, entry: &Entry) -> String {
        line(self, entry)
    }
}

fn line(graph: &Graph, entry: &Entry) -> String {
    let name = |step: &usize| graph.steps.get(*step).map_or("?", |step| &step.name);
    match entry {
        Entry::Start(start) => format!("start   {}", start.input.text()),
        Entry::Begin { step } => format!("begin   {}", name(step)),
        Entry::Done { step, output } => format!("done    {}: {}", name(step), output.text()),
        Entry::Failed {
            step,
            effect,
            error,
            again_at,
        } => {
            let again = if again_at.is_some() { ", again" } else { "" };
            format!("failed  {}: {effect:?}{again}: {error}", name(step))
        }
        Entry::Turn { cause } => format!("turn    {}", Why::named(cause, graph)),
        Entry::BeginUndo { step } => format!("undo    {}", name(step)),
        Entry::Undone { step } => format!("undone  {}", name(step)),
        Entry::UndoFailed {
            step,
            error,
            again_at,
        } => {
            let again = if again_at.is_some() { ", again" } else { "" };
            format!("not undone  {}{again}: {error}", name(step))
        }
        Entry::Park { cause } => format!("park    {}", Why::named(cause, graph)),
        Entry::Signal {
            name,
            value,
            by,
            why,
        } => {
            let by = if by.is_empty() {
                String::new()
            } else {
                format!("  by {by}: {why}")
            };
            format!("signal  {name}: {}{by}", value.text())
        }
        Entry::Migrate { graph, .. } => format!("migrate {graph}"),
        Entry::Act(act) => {
            let what = match &act.action {
                Action::Retry => "retry".to_owned(),
                Action::Skip { step, .. } => format!("skip {}", name(step)),
                Action::Undo => "undo".to_owned(),
                Action::Abandon => "abandon".to_owned(),
            };
            format!("{what}  by {}: {}", act.by, act.why)
        }
        Entry::End { outcome } => format!("end     {outcome:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SAG-10: a signal says who sent it and why; one in a log from before it did is read.
    #[test]
    fn a_signal_says_who_and_why() {
        let graph = Graph {
            saga: "order".to_owned(),
            version: crate::graph::Version(1),
            steps: Vec::new(),
            outputs: Vec::new(),
        };
        for (entry, expected) in [
            (
                r#"{"signal":{"name":"paid","value":7,"by":"eva","why":"seen"}}"#,
                "signal  paid: 7  by eva: seen",
            ),
            (r#"{"signal":{"name":"paid","value":7}}"#, "signal  paid: 7"),
        ] {
            let read: Entry = serde_json::from_str(entry).unwrap();
            assert_eq!(graph.line(&read), expected);
            assert_eq!(serde_json::to_string(&read).unwrap(), entry);
        }
    }
}
