//! The documented table is what the code does.

use std::collections::BTreeSet;

use backstay_replica::metrics::{describe, of_cache, of_replica};
use backstay_replica::{Ended, Event, LookupEvent, SourceError, Version, WarmError};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::world::S;

const PAGE: &str = include_str!("../../../../docs/telemetry.md");

fn tell_all() {
    describe();
    let (replica, cache) = (of_replica("keys"), of_cache("users"));
    let (version, entries, age) = (Version::new(1, 1), 7, S(2));
    let broken = backstay_replica::Broken::Disorder;
    for reason in [
        Ended::Failed(SourceError::new("away")),
        Ended::Closed,
        Ended::Silent { quiet: S(12) },
        Ended::Broken(broken),
    ] {
        let retry_in = S(1);
        replica(&Event::SessionEnded { reason, retry_in });
    }
    let reason = WarmError::Ageless;
    for event in [
        Event::WarmStarted {
            version,
            age,
            entries,
        },
        Event::WarmIgnored {
            reason: reason.clone(),
        },
        Event::WarmNotSaved { reason },
        Event::Synced { version, entries },
        Event::EpochChanged {
            from: version,
            to: version,
        },
        Event::Age {
            age: Some(age),
            entries,
        },
        Event::Stopped,
    ] {
        replica(&event);
    }
    for event in [
        LookupEvent::Loaded { took: S(1) },
        LookupEvent::LoadFailed {
            took: S(1),
            is_unavailable: true,
        },
        LookupEvent::LoadFailed {
            took: S(1),
            is_unavailable: false,
        },
        LookupEvent::ServedStale { age },
        LookupEvent::Refused { limit: 1 },
        LookupEvent::Invalidated,
    ] {
        cache(&event);
    }
}

/// REP-1: an alarm on the age finds a copy that is old, one that there is not yet, and one that nobody keeps any more.
#[test]
fn the_age_is_told_also_where_there_is_none() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let entries = 0;
    let shown = |event: &Event| {
        metrics::with_local_recorder(&recorder, || of_replica("keys")(event));
        let page = recorder.handle().render();
        let line = page
            .lines()
            .find(|line| line.starts_with("backstay_replica_age"));
        line.and_then(|line| line.split(' ').next_back())
            .map(str::to_owned)
    };
    let age = None;
    assert_eq!(shown(&Event::Age { age, entries }).as_deref(), Some("inf"));
    let age = Some(S(2));
    assert_eq!(shown(&Event::Age { age, entries }).as_deref(), Some("2"));
    assert_eq!(shown(&Event::Stopped).as_deref(), Some("inf"));
}

/// REP-1: the page lists each metric with its type, its labels and their values, and no other; the age is one of them.
#[test]
fn the_page_lists_every_metric() {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, tell_all);
    let page = recorder.handle().render();
    assert!(
        page.contains("backstay_replica_age{replica=\"keys\"} inf\n"),
        "{page}"
    );
    let mut counted = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        counted.insert(line.replace(' ', " | ").replace("summary", "histogram"));
    }
    let (_, rest) = PAGE
        .split_once("## Metrics of replicas and caches")
        .expect("the heading");
    let rows = rest.lines().take_while(|line| !line.starts_with("## "));
    let rows: Vec<Vec<&str>> = rows
        .filter(|line| line.starts_with("| `backstay."))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let listed = rows.iter().map(|cells| {
        let name = cells[1].replace('`', "").replace('.', "_");
        format!("{name} | {}", cells[2])
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), counted);

    let mut values = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        for label in ["reason", "outcome"] {
            if let Some((name, rest)) = line.split_once(&format!("{label}=\"")) {
                let (value, _) = rest.split_once('"').expect("its end");
                let name = name.split(['{', ' ']).next().expect("a name");
                let name = name.trim_end_matches("_sum").trim_end_matches("_count");
                values.insert((name.to_owned(), value.to_owned()));
            }
        }
    }
    let listed = rows.iter().flat_map(|cells| {
        let name = cells[1].replace('`', "").replace('.', "_");
        let words = cells[4].split('`').skip(1).step_by(2);
        let words = words.filter(|word| !["replica", "cache", "reason", "outcome"].contains(word));
        words
            .map(|word| (name.clone(), word.to_owned()))
            .collect::<Vec<_>>()
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), values);
}
