//! Counters and gauges through the `metrics` facade. `docs/telemetry.md` lists them.

use metrics::{
    SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::{Ended, Event, LookupEvent};

const AGE: &str = "backstay.replica.age";
const ENTRIES: &str = "backstay.replica.entries";
const SNAPSHOTS: &str = "backstay.replica.snapshots";
const EPOCHS: &str = "backstay.replica.epochs";
const SESSIONS_ENDED: &str = "backstay.replica.sessions.ended";
const WARM: &str = "backstay.replica.warm";
const LOADS: &str = "backstay.cache.loads";
const LOAD_DURATION: &str = "backstay.cache.load.duration";
const STALE: &str = "backstay.cache.stale";
const REFUSED: &str = "backstay.cache.refused";
const INVALIDATIONS: &str = "backstay.cache.invalidations";

/// Where there is no copy, or nobody keeps it any more: an alarm on the age finds that too.
const UNKNOWN: f64 = f64::INFINITY;

/// Counts what happens to a replica: `.on_event(metrics::of_replica("keys"))`. The name becomes the label `replica`.
pub fn of_replica(name: impl Into<String>) -> impl Fn(&Event) + Send + Sync + 'static {
    let name = SharedString::from(name.into());
    move |event| {
        let name = name.clone();
        match event {
            Event::Age { age, entries } => {
                gauge!(AGE, "replica" => name.clone())
                    .set(age.map_or(UNKNOWN, |age| age.as_secs_f64()));
                gauge!(ENTRIES, "replica" => name).set(*entries as f64);
            }
            Event::Synced { .. } => counter!(SNAPSHOTS, "replica" => name).increment(1),
            Event::EpochChanged { .. } => counter!(EPOCHS, "replica" => name).increment(1),
            Event::SessionEnded { reason, .. } => {
                let reason = match reason {
                    Ended::Failed(_) => "failed",
                    Ended::Closed => "closed",
                    Ended::Silent { .. } => "silent",
                    Ended::Broken(_) => "broken",
                };
                counter!(SESSIONS_ENDED, "replica" => name, "reason" => reason).increment(1);
            }
            Event::WarmStarted { .. } => warm(name, "started"),
            Event::WarmIgnored { .. } => warm(name, "ignored"),
            Event::WarmNotSaved { .. } => warm(name, "not_saved"),
            Event::Stopped => gauge!(AGE, "replica" => name).set(UNKNOWN),
        }
    }
}

fn warm(name: SharedString, outcome: &'static str) {
    counter!(WARM, "replica" => name, "outcome" => outcome).increment(1);
}

/// Counts what happens in a cache: `.on_event(metrics::of_cache("users"))`. The name becomes the label `cache`.
pub fn of_cache(name: impl Into<String>) -> impl Fn(&LookupEvent) + Send + Sync + 'static {
    let name = SharedString::from(name.into());
    move |event| {
        let name = name.clone();
        match event {
            LookupEvent::Loaded { took } => loaded(name, "ok", *took),
            LookupEvent::LoadFailed {
                took,
                is_unavailable,
            } => {
                let outcome = if *is_unavailable {
                    "unavailable"
                } else {
                    "error"
                };
                loaded(name, outcome, *took);
            }
            LookupEvent::ServedStale { .. } => counter!(STALE, "cache" => name).increment(1),
            LookupEvent::Refused { .. } => counter!(REFUSED, "cache" => name).increment(1),
            LookupEvent::Invalidated => counter!(INVALIDATIONS, "cache" => name).increment(1),
        }
    }
}

fn loaded(name: SharedString, outcome: &'static str, took: std::time::Duration) {
    counter!(LOADS, "cache" => name.clone(), "outcome" => outcome).increment(1);
    histogram!(LOAD_DURATION, "cache" => name, "outcome" => outcome).record(took);
}

/// Tells the recorder each metric's unit and meaning. Once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(AGE, Unit::Seconds, "Age of the copy, told once a heartbeat");
    describe_gauge!(ENTRIES, Unit::Count, "Keys of the copy");
    for (name, meaning) in [
        (SNAPSHOTS, "Snapshots that became the copy"),
        (EPOCHS, "Times that the source began another history"),
        (SESSIONS_ENDED, "Sessions with the source that ended"),
        (WARM, "Warm starts, and what came of them"),
        (LOADS, "Loads that ended"),
        (STALE, "Answers that were served after their time"),
        (REFUSED, "Look-ups refused because of too many loads"),
        (INVALIDATIONS, "Invalidations of a key or of all"),
    ] {
        describe_counter!(name, Unit::Count, meaning);
    }
    describe_histogram!(LOAD_DURATION, Unit::Seconds, "Time of a load");
}
