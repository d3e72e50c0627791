//! The documented tables are what the code does.

use std::collections::BTreeSet;

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

/// TEL-3: every value of a label is one that the page lists.
#[test]
fn the_page_lists_every_value_of_a_label() {
    let page = scrape(count_all);
    let labels: BTreeSet<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.split_once('{')?.1.split_once('}'))
        .flat_map(|(labels, _)| labels.split(','))
        .filter_map(|label| label.split_once('='))
        .filter(|(key, _)| !["pipeline", "admission", "le"].contains(key))
        .collect();
    assert!(labels.len() > 20, "{labels:?}");
    for (key, value) in labels {
        let (key, value) = (format!("`{key}`"), format!("`{}`", value.trim_matches('"')));
        let listed = PAGE.lines().any(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            cells.len() == 5 && cells[1].contains(&key) && cells[3].contains(&value)
        });
        assert!(listed, "{key} = {value}");
    }
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
