//! What has to happen next.

use std::time::Duration;

use backstay_store::Timestamp;

use super::state::{Back, Forward, Illegal, Phase, State, Step};
use crate::Json;
use crate::define::Policy;
use crate::error::{StepEffect, StepError, UndoError, text};
use crate::graph::{Role, Work};
use crate::log::{Cause, Entry, Outcome};

/// As many records since a person last looked; then one has to look again.
pub(crate) const MAX_RECORDS: u32 = 10_000;

/// A record with so many bytes of outputs takes no more of them.
pub(crate) const LARGE: usize = 64 << 10;

/// The error of an attempt whose worker did not live to tell.
const LOST: &str = "the worker was lost, and nobody knows how far it came";

impl State {
    /// All that follows from what is so, as entries that are applied.
    ///
    /// What would make one record, with what is before, too large is left for the next.
    pub(crate) fn advance(
        &mut self,
        now: Timestamp,
        before: &[Entry],
    ) -> Result<Vec<Entry>, Illegal> {
        let mut entries = Vec::new();
        let mut bytes = before.iter().map(Entry::bytes).sum::<usize>();
        loop {
            let next = self.next(now);
            if next.is_empty() || bytes > LARGE {
                return Ok(entries);
            }
            for entry in next {
                self.apply_entry(&entry, now)?;
                bytes += entry.bytes();
                entries.push(entry);
                if bytes > LARGE {
                    break;
                }
            }
        }
    }

    /// What follows at once. Nothing, if something has to end first or time has to pass.
    fn next(&self, now: Timestamp) -> Vec<Entry> {
        if self.parked.is_some() {
            return Vec::new();
        }
        let next = match self.phase {
            Phase::Forward => self.forward(now),
            Phase::Back => self.back(now),
            Phase::Ended(_) => Vec::new(),
        };
        let begins = |entry: &Entry| matches!(entry, Entry::Begin { .. } | Entry::BeginUndo { .. });
        if self.records >= MAX_RECORDS && next.iter().any(begins) {
            let cause = Cause::HistoryFull;
            return vec![Entry::Park { cause }];
        }
        next
    }

    fn forward(&self, now: Timestamp) -> Vec<Entry> {
        if self.is_unwanted
            && let Some(entry) = self.turned_by_wish()
        {
            return vec![entry];
        }
        if let Some(entry) = self.first_that_failed() {
            return vec![entry];
        }
        let waited: Vec<Entry> = self
            .indices()
            .filter_map(|step| self.waited(step, now))
            .collect();
        if !waited.is_empty() {
            return waited;
        }
        if self.steps.iter().all(Step::is_done) {
            let outcome = Outcome::Done;
            return vec![Entry::End { outcome }];
        }
        let can_begin = |step: &usize| self.can_begin(*step, now);
        let begun = self.indices().filter(can_begin);
        begun.map(|step| Entry::Begin { step }).collect()
    }

    /// What becomes of a wish to undo it, once the pivot is not under way any more.
    fn turned_by_wish(&self) -> Option<Entry> {
        let cause = match self.graph.pivot() {
            Some(pivot) if matches!(self.steps[pivot].forward, Forward::Running(_)) => return None,
            Some(pivot) if self.may_have_happened(pivot) => {
                let cause = Cause::PivotUnclear(pivot);
                return Some(Entry::Park { cause });
            }
            _ => Cause::Asked,
        };
        Some(Entry::Turn { cause })
    }

    /// What a step that can't be done means for all.
    fn first_that_failed(&self) -> Option<Entry> {
        self.indices().find_map(|step| {
            let is_clear = match self.steps[step].forward {
                Forward::Failed => true,
                Forward::Unknown => false,
                _ => return None,
            };
            Some(match self.graph.steps[step].role {
                Role::Pivot if !is_clear => Entry::Park {
                    cause: Cause::PivotUnclear(step),
                },
                Role::UntilDone => Entry::Park {
                    cause: Cause::AfterPivot(step),
                },
                Role::Undo | Role::NothingToUndo | Role::Pivot => Entry::Turn {
                    cause: Cause::Step(step),
                },
            })
        })
    }

    /// The end of a step that waits for time or a signal.
    fn waited(&self, step: usize, now: Timestamp) -> Option<Entry> {
        let Forward::Running(since) = self.steps[step].forward else {
            return None;
        };
        let node = &self.graph.steps[step];
        let is_over = |millis: u64| after(since, millis) <= now;
        match node.work {
            Work::Sleep(millis) if is_over(millis) => Some(Entry::Done {
                step,
                output: Json::null(),
            }),
            Work::Signal(within) => match self.signals.get(&node.name) {
                Some(value) => Some(Entry::Done {
                    step,
                    output: value.clone(),
                }),
                None if within.is_some_and(is_over) => Some(Entry::Failed {
                    step,
                    effect: StepEffect::Failed,
                    error: "no signal came in time".to_owned(),
                    again_at: None,
                }),
                None => None,
            },
            _ => None,
        }
    }

    fn can_begin(&self, step: usize, now: Timestamp) -> bool {
        match self.steps[step].forward {
            Forward::Waiting => {
                let before = self.graph.waits_for(step);
                before.iter().all(|&step| self.steps[step].is_done())
            }
            Forward::Resting(until) => until <= now,
            _ => false,
        }
    }

    fn back(&self, now: Timestamp) -> Vec<Entry> {
        // What is under way may yet be done.
        if self.is_running() {
            return Vec::new();
        }
        let failed = |step: &usize| self.steps[*step].back == Back::Failed;
        if let Some(step) = self.indices().find(failed) {
            let cause = Cause::Undo(step);
            return vec![Entry::Park { cause }];
        }
        if !self.indices().any(|step| self.has_to_be_undone(step)) {
            let outcome = Outcome::Undone;
            return vec![Entry::End { outcome }];
        }
        let can_begin = |step: &usize| self.can_begin_undo(*step, now);
        let begun = self.indices().rev().filter(can_begin);
        begun.map(|step| Entry::BeginUndo { step }).collect()
    }

    fn can_begin_undo(&self, step: usize, now: Timestamp) -> bool {
        let is_time = match self.steps[step].back {
            Back::Waiting => true,
            Back::Resting(until) => until <= now,
            _ => false,
        };
        is_time && self.has_to_be_undone(step) && !self.is_needed(step)
    }

    /// Whether something that has to be undone came after this step, by whatever is between.
    fn is_needed(&self, step: usize) -> bool {
        let mut later = vec![false; self.steps.len()];
        later[step] = true;
        // A step is declared after all that it waits for.
        (step + 1..self.steps.len()).any(|other| {
            let before = self.graph.waits_for(other);
            later[other] = before.iter().any(|&before| later[before]);
            later[other] && self.has_to_be_undone(other)
        })
    }

    /// Whether a call of a step is under way.
    fn is_running(&self) -> bool {
        let running = |step: &Step| matches!(step.forward, Forward::Running(_));
        self.steps.iter().any(running)
    }

    /// When something follows though nothing happens.
    pub(crate) fn wakes_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.parked.is_some() {
            return None;
        }
        if !self.next(now).is_empty() {
            return Some(now);
        }
        let goes_back = matches!(self.phase, Phase::Back);
        let times = self.steps.iter().zip(&self.graph.steps);
        times
            .filter_map(|(step, node)| match (&step.forward, &node.work) {
                _ if goes_back => match step.back {
                    Back::Resting(until) => Some(until),
                    _ => None,
                },
                (Forward::Resting(until), _) => Some(*until),
                (Forward::Running(since), Work::Sleep(millis) | Work::Signal(Some(millis))) => {
                    Some(after(*since, *millis))
                }
                _ => None,
            })
            .min()
    }

    /// What became of the attempt of a step that was not done.
    pub(crate) fn failed(
        &self,
        step: usize,
        error: &StepError,
        policy: &Policy,
        now: Timestamp,
        random: u64,
    ) -> Entry {
        let Step { attempts, rest, .. } = self.steps[step];
        let wait = policy
            .retry
            .wait(attempts, rest, random)
            .filter(|_| !error.is_final)
            .map(|wait| wait.max(error.after));
        self.attempt_failed(step, error.effect, text(error), wait, now)
    }

    fn attempt_failed(
        &self,
        step: usize,
        effect: StepEffect,
        error: String,
        wait: Option<Duration>,
        now: Timestamp,
    ) -> Entry {
        let can_repeat = effect != StepEffect::Unknown || self.graph.steps[step].idempotent;
        let goes_on = self.phase == Phase::Forward && !self.is_unwanted;
        let again_at = wait
            .filter(|_| can_repeat && goes_on)
            .map(|wait| now.plus(wait));
        Entry::Failed {
            step,
            effect,
            error,
            again_at,
        }
    }

    /// What became of the attempt of an undo that was not done.
    pub(crate) fn undo_failed(
        &self,
        step: usize,
        error: &UndoError,
        policy: &Policy,
        now: Timestamp,
        random: u64,
    ) -> Entry {
        let Step {
            undo_attempts,
            rest,
            ..
        } = self.steps[step];
        let wait = policy.undo_retry.wait(undo_attempts, rest, random);
        Entry::UndoFailed {
            step,
            error: text(error),
            again_at: wait.filter(|_| !error.is_final).map(|wait| now.plus(wait)),
        }
    }

    /// What became of the calls that a worker before this one had under way. They are repeated at once.
    pub(crate) fn recover(&self, policy: impl Fn(usize) -> Policy, now: Timestamp) -> Vec<Entry> {
        let is_call = |step: usize| self.graph.steps[step].work == Work::Call;
        let lost = |step: usize| {
            let Step {
                attempts,
                undo_attempts,
                rest,
                ..
            } = self.steps[step];
            let at_once = |wait: Option<Duration>| wait.map(|_| Duration::ZERO);
            if matches!(self.steps[step].forward, Forward::Running(_)) {
                let wait = at_once(policy(step).retry.wait(attempts, rest, 0));
                let unknown = StepEffect::Unknown;
                return Some(self.attempt_failed(step, unknown, LOST.to_owned(), wait, now));
            }
            (self.steps[step].back == Back::Running).then(|| Entry::UndoFailed {
                step,
                error: LOST.to_owned(),
                again_at: at_once(policy(step).undo_retry.wait(undo_attempts, rest, 0))
                    .map(|wait| now.plus(wait)),
            })
        };
        self.indices()
            .filter(|step| is_call(*step))
            .filter_map(lost)
            .collect()
    }

    fn indices(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        0..self.steps.len()
    }
}

fn after(since: Timestamp, millis: u64) -> Timestamp {
    since.plus(Duration::from_millis(millis))
}
