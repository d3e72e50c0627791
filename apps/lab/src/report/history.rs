//! What happened, where the question is what was done twice, lost, or done by the wrong one.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::table::align;
use super::{Page, Results, rounded, seconds};

/// One run of some arms, with what happened to each.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct History {
    /// How long it lasted.
    pub(crate) length_s: f64,
    pub(crate) faults: Vec<Spell>,
    /// What the numbers of each arm are, in their order.
    pub(crate) columns: Vec<Column>,
    pub(crate) arms: Vec<ArmHistory>,
    /// Numbers of the run itself, such as how often a fault bit.
    pub(crate) witnesses: Vec<Witness>,
}

/// Something that lasted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Spell {
    pub(crate) name: String,
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
}

impl Spell {
    /// Times are from the start of the run.
    pub(crate) fn new(name: &str, from: Duration, until: Duration) -> Self {
        Self {
            name: name.to_owned(),
            from_s: seconds(from),
            until_s: seconds(until),
        }
    }
}

/// A number that each arm has.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// How it is counted.
    pub(crate) about: &'static str,
}

/// How often something happened that has to happen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Witness {
    pub(crate) name: String,
    pub(crate) count: u64,
}

/// What happened to one arm.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ArmHistory {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// As the columns say; none where there is nothing to tell.
    pub(crate) numbers: Vec<Option<f64>>,
    pub(crate) lanes: Vec<Lane>,
}

/// One line of an arm's picture.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) spells: Vec<Spell>,
    /// What was right, in seconds.
    pub(crate) good: Vec<f64>,
    /// What was wrong, in seconds.
    pub(crate) bad: Vec<f64>,
}

impl History {
    pub(crate) fn number(&self, arm: &str, column: &str) -> Option<f64> {
        let at = self.columns.iter().position(|known| known.name == column)?;
        let arm = self.arms.iter().find(|known| known.name == arm)?;
        *arm.numbers.get(at)?
    }

    pub(crate) fn witness(&self, name: &str) -> Option<u64> {
        let witness = self.witnesses.iter().find(|known| known.name == name)?;
        Some(witness.count)
    }
}

impl Results for History {
    const PAGE: Page = Page {
        body: include_str!("page/history.html"),
        script: include_str!("page/history.js"),
    };

    fn table(&self) -> (String, String) {
        let faults: Vec<_> = self.faults.iter().map(told).collect();
        let line = format!("{:.0} s; {}", self.length_s, faults.join(", "));
        let heads = self.columns.iter().map(|column| column.name.to_owned());
        let mut rows = vec![std::iter::once("arm".to_owned()).chain(heads).collect()];
        for arm in &self.arms {
            let numbers = arm.numbers.iter().map(|number| shown(*number));
            rows.push(
                std::iter::once(arm.name.to_owned())
                    .chain(numbers)
                    .collect(),
            );
        }
        let mut text = align(&rows);
        text.push('\n');
        for Column { name, about } in &self.columns {
            let _ = writeln!(text, "{name}: {about}.");
        }
        (line, text)
    }
}

fn told(fault: &Spell) -> String {
    let Spell {
        name,
        from_s,
        until_s,
    } = fault;
    if from_s < until_s {
        format!("{name} {from_s:.0} to {until_s:.0} s")
    } else {
        format!("{name} at {from_s:.0} s")
    }
}

fn shown(number: Option<f64>) -> String {
    match number.map(rounded) {
        None => "-".to_owned(),
        Some(number) if number.fract() == 0.0 => format!("{number:.0}"),
        Some(number) => format!("{number:.2}"),
    }
}
