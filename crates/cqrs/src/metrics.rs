//! Counters and gauges through the `metrics` facade. `docs/telemetry.md` lists them.

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::Happened;

const LAG: &str = "backstay.consumer.lag";
const POSITION: &str = "backstay.consumer.position";
const DEAD: &str = "backstay.consumer.dead";
const HERE: &str = "backstay.consumer.here";
const SET_ASIDE: &str = "backstay.consumer.set_aside";
const RECOVERED: &str = "backstay.consumer.recovered";
const STALLED: &str = "backstay.consumer.stalled";
const HALTED: &str = "backstay.consumer.halted";

/// Counts what happens to a read side or a relay: `.on_event(metrics::of_consumers())`. Its name becomes the label `consumer`, and
/// which generation of a read side it is the label `generation`.
pub fn of_consumers() -> impl Fn(&str, &Happened) + Send + Sync + 'static {
    |consumer, happened| {
        let (name, generation) = consumer.split_once('~').unwrap_or((consumer, "1"));
        let labels = [
            Label::new("consumer", name.to_owned()),
            Label::new("generation", generation.to_owned()),
        ];
        let count = |counted| counter!(counted, labels.iter()).increment(1);
        let here = |is_here: bool| {
            gauge!(HERE, labels.iter()).set(f64::from(u8::from(is_here)));
        };
        match happened {
            Happened::Began { .. } => here(true),
            // What is so now, the node that feeds it tells.
            Happened::Lost => {
                here(false);
                gauge!(LAG, labels.iter()).set(0.0);
                gauge!(DEAD, labels.iter()).set(0.0);
            }
            Happened::At(progress) => {
                let position = progress.position.get() as f64;
                gauge!(LAG, labels.iter()).set(progress.lag.as_secs_f64());
                gauge!(POSITION, labels.iter()).set(position);
                gauge!(DEAD, labels.iter()).set(f64::from(progress.dead));
            }
            Happened::SetAside { .. } => count(SET_ASIDE),
            Happened::Recovered { .. } => count(RECOVERED),
            Happened::Stalled { .. } => count(STALLED),
            Happened::Halted { .. } => count(HALTED),
        }
    }
}

/// Tells the recorder each metric's unit and meaning. Once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(LAG, Unit::Seconds, "Age of the oldest event not taken");
    describe_gauge!(POSITION, Unit::Count, "All up to here is taken");
    describe_gauge!(DEAD, Unit::Count, "Events that are set aside");
    describe_gauge!(HERE, Unit::Count, "1 where this node feeds it, else 0");
    for (name, meaning) in [
        (SET_ASIDE, "Events that were refused and set aside"),
        (RECOVERED, "Keys of which nothing is set aside any more"),
        (
            STALLED,
            "Times that the store, or where it goes, could not be asked",
        ),
        (HALTED, "Times that too much was set aside to go on"),
    ] {
        describe_counter!(name, Unit::Count, meaning);
    }
}
