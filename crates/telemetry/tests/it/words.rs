//! Every variant of every enum that becomes a word in a label or a field.
//!
//! No `match` out here can be exhaustive, because most of these enums are `non_exhaustive`. So the lists are
//! compared with the source: an enum that grows turns its test red.

use std::collections::BTreeSet;
use std::fmt::Debug;

use backstay_call::event::{HandlerEnd, Shed};
use backstay_call::{Abandoned, Control, Effect, Fault, Policy, Stop};

use crate::samples::{outcomes, samples};
use crate::transitions::transitions;

pub(crate) const STOPS: [Stop; 8] = [
    Stop::Succeeded,
    Stop::Permanent,
    Stop::Effect,
    Stop::Budget,
    Stop::Deadline,
    Stop::Attempts,
    Stop::Rejected,
    Stop::Pushback,
];

pub(crate) const POLICIES: [Policy; 7] = [
    Policy::Deadline,
    Policy::Bulkhead,
    Policy::Retry,
    Policy::Budget,
    Policy::Hedge,
    Policy::Breaker,
    Policy::AttemptTimeout,
];

pub(crate) const FAULTS: [Fault; 2] = [Fault::Error, Fault::Overloaded];

pub(crate) const ABANDONED: [Abandoned; 4] = [
    Abandoned::CallerGone,
    Abandoned::DeadlinePassed,
    Abandoned::LostRace,
    Abandoned::ShuttingDown,
];

pub(crate) const EFFECTS: [Effect; 3] = [Effect::NotExecuted, Effect::Unknown, Effect::Executed];

pub(crate) const CONTROLS: [Control; 4] = [
    Control::Automatic,
    Control::ForcedOpen,
    Control::ForcedClosed,
    Control::Observing,
];

pub(crate) const SHEDS: [Shed; 5] = [
    Shed::Full,
    Shed::TooLate,
    Shed::Overtaken,
    Shed::Expired,
    Shed::CallerGone,
];

pub(crate) const ENDS: [HandlerEnd; 4] = [
    HandlerEnd::Answered,
    HandlerEnd::TimedOut,
    HandlerEnd::CallerGone,
    HandlerEnd::Panicked,
];

const EVENT: &str = include_str!("../../../call/src/event.rs");
const ERROR: &str = include_str!("../../../call/src/error.rs");
const POLICY: &str = include_str!("../../../call/src/policy.rs");
const OUTCOME: &str = include_str!("../../../core/src/outcome.rs");
const REPORT: &str = include_str!("../../../core/src/breaker/report.rs");
const WORD: &str = include_str!("../../../core/src/breaker/word.rs");

/// The variants' names as they stand in the source.
fn variants<'s>(source: &'s str, name: &str) -> BTreeSet<&'s str> {
    let (_, rest) = source
        .split_once(&format!("pub enum {name} {{\n"))
        .expect("the enum");
    let (body, _) = rest.split_once("\n}").expect("its end");
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(first_word)
        .collect()
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

#[track_caller]
fn compare<T: Debug>(listed: impl IntoIterator<Item = T>, source: &str, name: &str) {
    let listed: Vec<String> = listed.into_iter().map(|one| format!("{one:?}")).collect();
    let listed: BTreeSet<&str> = listed.iter().map(|one| first_word(one)).collect();
    assert_eq!(listed, variants(source, name), "{name}");
}

/// TEL-2, TEL-3: no kind of event and no value of a label is missing from what the other tests go by.
#[test]
fn every_variant_has_its_sample() {
    compare(samples(), EVENT, "EventKind");
    compare(STOPS, ERROR, "Stop");
    compare(POLICIES, POLICY, "Policy");
    compare(outcomes(), OUTCOME, "Outcome");
    compare(FAULTS, OUTCOME, "Fault");
    compare(ABANDONED, OUTCOME, "Abandoned");
    compare(EFFECTS, OUTCOME, "Effect");
    compare(CONTROLS, WORD, "Control");
    compare(SHEDS, EVENT, "Shed");
    compare(ENDS, EVENT, "HandlerEnd");
    let changes = transitions();
    compare(changes.iter().map(|change| change.to), WORD, "Phase");
    compare(changes.iter().map(|change| change.cause), REPORT, "Cause");
}
