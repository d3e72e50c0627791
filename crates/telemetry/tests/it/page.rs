//! The documented tables are what the code does.

use std::collections::{BTreeMap, BTreeSet};

use backstay_call::{Event, Listener};
use backstay_telemetry::{MetricsListener, TracingListener};

use crate::hear::{events, scrape};
use crate::samples::samples;

const PAGE: &str = include_str!("../../../../docs/telemetry.md");

/// The rows of the table under `heading`: the chosen columns, without the marks.
fn rows(heading: &str, columns: [usize; 3]) -> BTreeSet<String> {
    let (_, rest) = PAGE.split_once(heading).expect("the heading");
    rest.lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `backstay."))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            columns.map(|at| cells[at].replace('`', "")).join(" | ")
        })
        .collect()
}

/// TEL-2: the page lists each event with its level and its fields, and no other.
#[test]
fn the_page_lists_every_event() {
    let told: BTreeSet<String> = samples()
        .into_iter()
        .flat_map(|kind| events(|| TracingListener::new().on_event(&Event::new("payments", kind))))
        .map(|heard| {
            format!(
                "{} | {} | {}",
                heard.name,
                heard.level,
                heard.declared.join(", ")
            )
        })
        .collect();
    assert_eq!(rows("## Events", [1, 2, 3]), told);
}

/// TEL-3: the page lists each metric with its type and its labels, and no other.
#[test]
fn the_page_lists_every_metric() {
    let page = scrape(count_all);
    let counted: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|metric| {
            let (name, kind) = metric.split_once(' ').expect("name and type");
            format!("{name} | {kind} | {}", labels(&page, name))
        })
        .collect();
    let listed: BTreeSet<String> = rows("## Metrics", [1, 2, 4])
        .iter()
        .map(|row| {
            let (name, rest) = row.split_once(" | ").expect("a row");
            format!("{} | {rest}", name.replace('.', "_"))
        })
        .collect();
    assert_eq!(listed, counted);
}

/// TEL-3: the page lists each value that a label can have, and no other.
#[test]
fn the_page_lists_every_value_of_a_label() {
    let (listed, counted) = (listed_values(), counted_values());
    for label in listed.keys().chain(counted.keys()) {
        assert_eq!(listed.get(label), counted.get(label), "{label:?}");
    }
}

/// TEL-2: the page lists each effect that an event can have, and no other.
#[test]
fn the_page_lists_every_effect() {
    let told: BTreeSet<String> = samples()
        .into_iter()
        .flat_map(|kind| events(|| TracingListener::new().on_event(&Event::new("payments", kind))))
        .filter_map(|heard| {
            let (_, rest) = heard.fields.split_once(" effect=")?;
            rest.split(' ').next().map(str::to_owned)
        })
        .collect();
    let (_, rest) = PAGE.split_once("`effect` is ").expect("the sentence");
    let (listed, _) = rest.split_once('.').expect("its end");
    let listed: BTreeSet<String> = quoted(listed).map(str::to_owned).collect();
    assert_eq!(listed, told);
}

/// A label, and the metrics that it belongs to: `to` is one thing of transitions, another of controls.
type Label = (String, String);

/// What the table of labels says.
fn listed_values() -> BTreeMap<Label, BTreeSet<String>> {
    let (_, table) = PAGE
        .split_once("| label | of | values |\n")
        .expect("the table");
    let mut all = BTreeMap::new();
    // The ruler comes first.
    for row in table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
    {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let values: BTreeSet<String> = quoted(cells[3]).map(str::to_owned).collect();
        for key in quoted(cells[1]) {
            let twice = all.insert((key.to_owned(), cells[2].to_owned()), values.clone());
            assert_eq!(twice, None, "{row}");
        }
    }
    all
}

/// What the listener does with one event for each value there is.
fn counted_values() -> BTreeMap<Label, BTreeSet<String>> {
    let mut all: BTreeMap<Label, BTreeSet<String>> = BTreeMap::new();
    for line in scrape(count_all).lines() {
        let Some((metric, rest)) = line.split_once('{') else {
            continue;
        };
        let (labels, _) = rest.split_once('}').expect("their end");
        for label in labels.split(',') {
            let (key, value) = label.split_once('=').expect("key and value");
            if !["pipeline", "admission", "le"].contains(&key) {
                let label = (key.to_owned(), family(metric).to_owned());
                let value = value.trim_matches('"').to_owned();
                all.entry(label).or_default().insert(value);
            }
        }
    }
    all
}

/// The word in the column `of` for a metric.
fn family(metric: &str) -> &'static str {
    [
        ("backstay_admission", "admissions"),
        ("backstay_attempt", "attempts"),
        ("backstay_breaker_controls", "controls"),
        ("backstay_breaker_transitions", "transitions"),
        ("backstay_call", "calls"),
    ]
    .into_iter()
    .find(|(start, _)| metric.starts_with(start))
    .map_or("policies", |(_, family)| family)
}

/// The words between back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn count_all() {
    for kind in samples() {
        MetricsListener::new().on_event(&Event::new("payments", kind));
    }
}

/// The labels of a metric, as on its first line; buckets have one of their own.
fn labels(page: &str, name: &str) -> String {
    let line = page
        .lines()
        .find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('{') || rest.starts_with("_count{"))
        })
        .expect("a line");
    let (_, rest) = line.split_once('{').expect("labels");
    let (labels, _) = rest.split_once('}').expect("their end");
    let keys: Vec<&str> = labels
        .split(',')
        .filter_map(|label| label.split('=').next())
        .collect();
    keys.join(", ")
}
