//! A graph as a picture.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Graph, Node, Role, Work};

impl Graph {
    /// The graph as a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart TD\n".to_owned();
        for (number, step) in self.steps.iter().enumerate() {
            let (open, close) = match step.role {
                Role::Undo => ("[", "]"),
                Role::NothingToUndo => ("([", "])"),
                Role::Pivot => ("{{", "}}"),
                Role::UntilDone => ("[[", "]]"),
            };
            let label = label(step, "<br/>");
            let _ = writeln!(text, "    s{number}{open}\"{label}\"{close}");
        }
        for (from, to, is_data) in self.edges() {
            let arrow = if is_data { "-->" } else { "-.->" };
            let _ = writeln!(text, "    s{from} {arrow} s{to}");
        }
        text
    }

    /// The graph in Graphviz's language.
    pub fn dot(&self) -> String {
        // A name has no character that would end the quotes.
        let mut text = format!("digraph \"{}\" {{\n", self.saga);
        for (number, step) in self.steps.iter().enumerate() {
            let shape = match step.role {
                Role::Undo => "box",
                Role::NothingToUndo => "ellipse",
                Role::Pivot => "hexagon",
                Role::UntilDone => "box, peripheries=2",
            };
            let label = label(step, "\\n");
            let _ = writeln!(text, "    s{number} [label=\"{label}\", shape={shape}];");
        }
        for (from, to, is_data) in self.edges() {
            let style = if is_data { "" } else { " [style=dashed]" };
            let _ = writeln!(text, "    s{from} -> s{to}{style};");
        }
        text.push_str("}\n");
        text
    }

    /// From, to, and whether an output goes along. What follows from others is left out.
    fn edges(&self) -> Vec<(usize, usize, bool)> {
        let mut edges = Vec::new();
        // All that a step comes after, by whatever is between.
        let mut earlier: Vec<BTreeSet<usize>> = Vec::new();
        for (to, step) in self.steps.iter().enumerate() {
            let before = self.waits_for(to);
            for &from in &before {
                let is_data = step.needs.contains(&from);
                let follows = before.iter().any(|&other| earlier[other].contains(&from));
                if is_data || !follows {
                    edges.push((from, to, is_data));
                }
            }
            let all = before.iter().flat_map(|&step| &earlier[step]).copied();
            earlier.push(all.chain(before.iter().copied()).collect());
        }
        edges
    }
}

fn label(step: &Node, line: &str) -> String {
    let what = match &step.work {
        Work::Call => None,
        Work::Sleep(millis) => Some(format!("sleep {millis} ms")),
        Work::Signal(None) => Some("signal".to_owned()),
        Work::Signal(Some(millis)) => Some(format!("signal within {millis} ms")),
        Work::Child { saga, .. } => Some(format!("saga {saga}")),
    };
    match what {
        Some(what) => format!("{}{line}{what}", step.name),
        None => step.name.clone(),
    }
}
