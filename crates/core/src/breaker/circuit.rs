use std::time::Duration;

use super::half_open::Round;
use super::options::{Breaker, Window};
use super::report::{Cause, CircuitSnapshot, Rejection, Transition};
use super::tally::{Counts, End, Mark, Tally};
use super::word::{Control, Phase, Word};
use crate::moment::nanos;
use crate::outcome::{Abandoned, Fault, Outcome};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use crate::sync::{Mutex, lock, store_load_order};
use crate::{Invalid, Moment};

/// The state machine of one circuit breaker, shared by everybody who calls the dependency.
///
/// Closed, a call costs one load at its start and one count at its end, both without a lock. Failures,
/// transitions and half-open probes take a short lock. `notify` runs after the lock is released.
#[derive(Debug)]
pub struct Circuit {
    word: AtomicU64,
    /// When an open circuit sends probes; [`Moment::NEVER`] while an operator holds it open.
    probe_at: AtomicU64,
    /// After how many nanoseconds a call is slow; `u64::MAX` for never.
    slow_after: AtomicU64,
    /// Buckets in a nanosecond, in even and odd generations of the window. A result finds the length that its
    /// own generation had, even while the options change.
    tick_rates: [AtomicU64; 2],
    /// Epoch and failures without a success between.
    consecutive: AtomicU64,
    /// Whether the window may hold anything bad. While it does not, a success can't open the circuit.
    suspect: AtomicBool,
    /// The bucket in which the last judgement was made over enough calls. A further success in it only makes
    /// the rates better.
    settled: AtomicU64,
    stale: AtomicU64,
    tally: Tally,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Breaker,
    since: Moment,
    /// How often the circuit opened without having been closed for a while in between.
    relapses: u32,
    open_time: Duration,
    round: Round,
}

/// The right to make one call. Give it back through [`Circuit::end`].
#[derive(Debug)]
#[must_use = "an admission that is not given back is never counted, and blocks a probe's place"]
pub struct Admission {
    epoch: u32,
    probe: Option<u32>,
    start: Moment,
    late: bool,
}

impl Admission {
    /// Corrects when the call began, for a driver that did not read the clock at its start.
    pub fn began(&mut self, at: Moment) {
        self.start = at;
    }

    /// Whether this call decides about closing an open circuit.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// No judgement stands: the next success makes one.
const UNSETTLED: u64 = u64::MAX;

impl Circuit {
    /// A closed circuit, after checking the options as those of `breaker`.
    pub fn new(options: Breaker, now: Moment) -> Result<Self, Invalid> {
        options.validate("breaker")?;
        let rate = options.tick_rate();
        Ok(Self {
            word: AtomicU64::new(Word::START.0),
            probe_at: AtomicU64::new(0),
            slow_after: AtomicU64::new(options.slow_threshold().map_or(u64::MAX, nanos)),
            tick_rates: [AtomicU64::new(rate), AtomicU64::new(rate)],
            consecutive: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            settled: AtomicU64::new(UNSETTLED),
            stale: AtomicU64::new(0),
            tally: Tally::new(options.over()),
            inner: Mutex::new(Inner {
                options,
                since: now,
                relapses: 0,
                open_time: Duration::ZERO,
                round: Round::default(),
            }),
        })
    }

    /// Admits one call if the circuit is closed; [`Moment::NEVER`] for one whose start does not matter.
    #[inline]
    pub fn admit_closed(&self, start: Moment) -> Option<Admission> {
        let word = self.word();
        (word.phase() == Phase::Closed).then(|| Admission {
            epoch: word.epoch(),
            probe: None,
            start,
            late: false,
        })
    }

    /// Asks to make one call.
    pub fn admit(
        &self,
        now: Moment,
        notify: impl FnOnce(Transition),
    ) -> Result<Admission, Rejection> {
        if let Some(admission) = self.admit_closed(now) {
            return Ok(admission);
        }
        self.still_open(self.word(), now)?;
        let (answer, transition) = self.admit_probe(now);
        if let Some(transition) = transition {
            notify(transition);
        }
        answer
    }

    /// Whether calls pass without being asked anything.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.word().phase() == Phase::Closed
    }

    /// When this call becomes slow, if it has not and can; the driver then says [`on_slow`](Self::on_slow).
    #[inline]
    pub fn slow_at(&self, admission: &Admission) -> Option<Moment> {
        let after = self.slow_after.load(Relaxed);
        (after != u64::MAX && !admission.late)
            .then(|| admission.start.plus(Duration::from_nanos(after)))
    }

    /// Counts a call that is still under way as slow.
    pub fn on_slow(&self, admission: &mut Admission, now: Moment, notify: impl FnOnce(Transition)) {
        if std::mem::replace(&mut admission.late, true) {
            return;
        }
        let transition = if let Some(probe) = admission.probe.take() {
            self.end_probe(admission.epoch, probe, Some(End::Failure), now)
        } else {
            let word = self.word();
            if word.epoch() != admission.epoch {
                return;
            }
            self.tally
                .add(word.generation(), self.bucket(word, now), Mark::Slow);
            self.judge(word.epoch(), true, now)
        };
        if let Some(transition) = transition {
            notify(transition);
        }
    }

    /// Gives an admission back with how the call ended.
    #[expect(
        clippy::inline_always,
        reason = "given over through memory, an admission costs more than its count"
    )]
    #[inline(always)]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an admission is given back once"
    )]
    pub fn end(
        &self,
        admission: Admission,
        outcome: Outcome,
        now: Moment,
        notify: impl FnOnce(Transition),
    ) {
        let Admission {
            epoch,
            probe,
            start,
            late,
        } = admission;
        let became_slow = !late && now.nanos_since(start) >= self.slow_after.load(Relaxed);
        let end = match outcome {
            Outcome::Success => Some(End::Success),
            Outcome::Failure(Fault::Error) | Outcome::Abandoned(Abandoned::DeadlinePassed) => {
                Some(End::Failure)
            }
            Outcome::Failure(Fault::Overloaded) => Some(End::Overloaded),
            Outcome::Ignored
            | Outcome::Abandoned(
                Abandoned::CallerGone | Abandoned::LostRace | Abandoned::ShuttingDown,
            ) => None,
        };
        let transition = if let Some(probe) = probe {
            let end = if became_slow { Some(End::Failure) } else { end };
            self.end_probe(epoch, probe, end, now)
        } else {
            let word = self.word();
            if word.epoch() != epoch {
                self.stale.fetch_add(1, Relaxed);
                return;
            }
            if word.phase() != Phase::Closed {
                return;
            }
            let bucket = self.bucket(word, now);
            if became_slow {
                self.tally.add(word.generation(), bucket, Mark::Slow);
            }
            if let Some(end) = end {
                let late = late || became_slow;
                self.tally
                    .add(word.generation(), bucket, Mark::Ended { end, late });
                self.count_in_a_row(epoch, end);
            }
            let bad = became_slow || !matches!(end, None | Some(End::Success));
            store_load_order();
            if !bad && (!self.suspect.load(SeqCst) || self.settled.load(SeqCst) == bucket) {
                return;
            }
            self.judge(epoch, bad, now)
        };
        if let Some(transition) = transition {
            notify(transition);
        }
    }

    /// Hands the circuit to an operator, or back to its results.
    ///
    /// Released after being forced open it is half-open: nobody knows whether the dependency works.
    pub fn control(&self, control: Control, now: Moment, notify: impl FnOnce(Transition)) {
        let transition = {
            let mut inner = lock(&self.inner);
            let word = self.word().controlled(control);
            let released = self.word().control() == Control::ForcedOpen;
            let to = match control {
                Control::ForcedOpen => Phase::Open,
                Control::ForcedClosed => Phase::Closed,
                Control::Automatic | Control::Observing if released => Phase::HalfOpen,
                Control::Automatic | Control::Observing => word.phase(),
            };
            self.settled.store(UNSETTLED, SeqCst);
            let transition = (to != word.phase())
                .then(|| self.enter(&mut inner, word, to, Cause::Operator, now));
            if transition.is_none() {
                self.word.store(word.0, SeqCst);
            }
            if control == Control::ForcedOpen {
                self.probe_at.store(Moment::NEVER.as_nanos(), SeqCst);
            }
            transition
        };
        if let Some(transition) = transition {
            notify(transition);
        }
    }

    /// Changes the options and keeps the state. The kind of window and a count window's size are fixed.
    ///
    /// Half-open, a new round of probes begins.
    pub fn set(&self, options: Breaker, now: Moment) -> Result<(), Invalid> {
        options.validate("breaker")?;
        let mut inner = lock(&self.inner);
        let (old, new) = (inner.options.over(), options.over());
        let fits = match (old, new) {
            (Window::Time(_), Window::Time(_)) => true,
            _ => old == new,
        };
        if !fits {
            return Err(Invalid::new(
                "breaker.window",
                format!("{new:?}"),
                format!("can't replace {old:?} while running"),
            ));
        }
        if old != new {
            let (word, rate) = (self.word(), options.tick_rate());
            let next = word.next_generation();
            self.tick_rates[parity(next)].store(rate, SeqCst);
            let from = (word.generation(), self.bucket(word, now));
            self.tally
                .carry_over(from, (next.generation(), self.bucket(next, now)));
            self.word.store(next.0, SeqCst);
        }
        let slow_after = options.slow_threshold().map_or(u64::MAX, nanos);
        self.slow_after.store(slow_after, Relaxed);
        self.settled.store(UNSETTLED, SeqCst);
        let word = self.word();
        if options != inner.options && word.phase() == Phase::HalfOpen {
            // A round that was sent by other rules may have no end by these.
            inner.round = Round::default();
            self.word.store(word.enter(Phase::HalfOpen).0, SeqCst);
        }
        inner.options = options;
        Ok(())
    }

    /// The options in force.
    pub fn options(&self) -> Breaker {
        lock(&self.inner).options.clone()
    }

    /// What the circuit looks like now.
    pub fn snapshot(&self, now: Moment) -> CircuitSnapshot {
        let inner = lock(&self.inner);
        let word = self.word();
        let counts = self.counts(word, now);
        let probe_at = Moment::from_nanos(self.probe_at.load(SeqCst));
        let consecutive = self.consecutive.load(SeqCst);
        CircuitSnapshot {
            phase: word.phase(),
            control: word.control(),
            since: inner.since,
            probe_at: (word.phase() == Phase::Open && probe_at != Moment::NEVER)
                .then_some(probe_at),
            calls: counts.ended,
            failed: counts.failed,
            overloaded: counts.overloaded,
            slow: counts.slow,
            consecutive_failures: in_a_row(consecutive, word.epoch()),
            stale: self.stale.load(Relaxed),
        }
    }

    #[inline]
    fn word(&self) -> Word {
        Word(self.word.load(SeqCst))
    }

    #[inline]
    fn bucket(&self, word: Word, now: Moment) -> u64 {
        let rate = self.tick_rates[parity(word)].load(Relaxed);
        ((u128::from(now.as_nanos()) * u128::from(rate)) >> 64) as u64
    }

    fn counts(&self, word: Word, now: Moment) -> Counts {
        self.tally.counts(word.generation(), self.bucket(word, now))
    }

    fn still_open(&self, word: Word, now: Moment) -> Result<(), Rejection> {
        let probe_at = Moment::from_nanos(self.probe_at.load(SeqCst));
        if word.phase() != Phase::Open || now >= probe_at && probe_at != Moment::NEVER {
            return Ok(());
        }
        Err(Rejection {
            phase: Phase::Open,
            control: word.control(),
            retry_after: (probe_at != Moment::NEVER).then(|| probe_at.since(now)),
        })
    }

    fn admit_probe(&self, now: Moment) -> (Result<Admission, Rejection>, Option<Transition>) {
        let mut inner = lock(&self.inner);
        let word = self.word();
        if let Err(rejection) = self.still_open(word, now) {
            return (Err(rejection), None);
        }
        let transition = (word.phase() == Phase::Open)
            .then(|| self.enter(&mut inner, word, Phase::HalfOpen, Cause::OpenTimeOver, now));
        let word = self.word();
        let patience = inner.options.probe_patience();
        let probe = if word.phase() == Phase::Closed {
            None
        } else {
            let allowed = inner.options.probes_allowed();
            let Some(probe) = inner.round.send(allowed, patience, now) else {
                let rejection = Rejection {
                    phase: Phase::HalfOpen,
                    control: word.control(),
                    retry_after: inner.round.next_place(patience, now),
                };
                return (Err(rejection), transition);
            };
            Some(probe)
        };
        (
            Ok(Admission {
                epoch: word.epoch(),
                probe,
                start: now,
                late: false,
            }),
            transition,
        )
    }

    /// Takes a probe back; no `end` means that it said nothing and its place is free again.
    fn end_probe(
        &self,
        epoch: u32,
        probe: u32,
        end: Option<End>,
        now: Moment,
    ) -> Option<Transition> {
        let mut inner = lock(&self.inner);
        let word = self.word();
        if word.epoch() != epoch {
            self.stale.fetch_add(1, Relaxed);
            return None;
        }
        inner.round.take_back(probe);
        let to_open = inner.options.failed_probes_to_open();
        let to_close = inner.options.probes_allowed() - to_open + 1;
        match end? {
            End::Success if inner.round.succeed() >= to_close => {
                Some(self.enter(&mut inner, word, Phase::Closed, Cause::ProbesSucceeded, now))
            }
            End::Failure | End::Overloaded if inner.round.fail() >= to_open => {
                Some(self.enter(&mut inner, word, Phase::Open, Cause::ProbesFailed, now))
            }
            _ => None,
        }
    }

    fn count_in_a_row(&self, epoch: u32, end: End) {
        if end == End::Overloaded {
            return;
        }
        let mut seen = self.consecutive.load(Relaxed);
        loop {
            let failures = in_a_row(seen, epoch);
            let next = if end == End::Success {
                0
            } else {
                failures.saturating_add(1)
            };
            if next == failures || newer_epoch((seen >> 32) as u32, epoch) {
                return;
            }
            let packed = u64::from(epoch) << 32 | u64::from(next);
            match self
                .consecutive
                .compare_exchange_weak(seen, packed, SeqCst, Relaxed)
            {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Opens the circuit if what the window holds is bad enough.
    fn judge(&self, epoch: u32, bad: bool, now: Moment) -> Option<Transition> {
        // Whoever counts something bad says so before reading the counts; whoever counts a success counts
        // before reading this. So of two that complete a verdict together, at least one sees both.
        if bad {
            self.suspect.store(true, SeqCst);
            store_load_order();
        }
        let mut inner = lock(&self.inner);
        let word = self.word();
        if word.epoch() != epoch || word.phase() != Phase::Closed {
            return None;
        }
        let bucket = self.bucket(word, now);
        let counts = self.counts(word, now);
        if counts.nothing_bad() {
            self.suspect.store(false, SeqCst);
            store_load_order();
            if !self.counts(word, now).nothing_bad() {
                self.suspect.store(true, SeqCst);
            }
        }
        let limits = inner.options.thresholds();
        let enough = counts.ended >= limits.minimum_calls;
        let enough_timed = counts.timed >= limits.minimum_calls;
        let never_slow = self.slow_after.load(Relaxed) == u64::MAX;
        let settled = enough && (enough_timed || never_slow);
        self.settled
            .store(if settled { bucket } else { UNSETTLED }, SeqCst);

        let failures = in_a_row(self.consecutive.load(SeqCst), epoch);
        let cause = if failures >= limits.consecutive_failures {
            Cause::ConsecutiveFailures(failures)
        } else if enough && share(counts.failed, counts.ended) >= limits.failure_rate {
            Cause::FailureRate {
                failed: counts.failed,
                of: counts.ended,
            }
        } else if enough && share(counts.overloaded, counts.ended) >= limits.overload_rate {
            Cause::OverloadRate {
                refused: counts.overloaded,
                of: counts.ended,
            }
        } else if enough_timed && share(counts.slow, counts.timed) >= limits.slow_rate {
            Cause::SlowRate {
                slow: counts.slow,
                of: counts.timed,
            }
        } else {
            return None;
        };
        (word.control() != Control::ForcedClosed)
            .then(|| self.enter(&mut inner, word, Phase::Open, cause, now))
    }

    /// Begins the next epoch in phase `to`.
    fn enter(
        &self,
        inner: &mut Inner,
        word: Word,
        to: Phase,
        cause: Cause,
        now: Moment,
    ) -> Transition {
        let mut next = word.enter(to);
        let mut probe_at = None;
        match to {
            Phase::Open => {
                let relapse =
                    word.phase() == Phase::HalfOpen || now.since(inner.since) < inner.open_time;
                inner.relapses = if relapse {
                    inner.relapses.saturating_add(1)
                } else {
                    0
                };
                inner.open_time = inner.options.open_time(inner.relapses);
                let at = now.plus(inner.open_time);
                self.probe_at.store(at.as_nanos(), SeqCst);
                probe_at = (cause != Cause::Operator).then_some(at);
            }
            Phase::HalfOpen => inner.round = Round::default(),
            Phase::Closed => {
                next = next.next_generation();
                let rate = self.tick_rates[parity(word)].load(Relaxed);
                self.tick_rates[parity(next)].store(rate, SeqCst);
                self.tally.clear();
            }
        }
        self.suspect.store(false, SeqCst);
        self.settled.store(UNSETTLED, SeqCst);
        self.consecutive
            .store(u64::from(next.epoch()) << 32, SeqCst);
        inner.since = now;
        self.word.store(next.0, SeqCst);
        Transition {
            from: word.phase(),
            to,
            cause,
            probe_at,
        }
    }
}

fn parity(word: Word) -> usize {
    usize::from(word.generation() & 1 == 1)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is the count"
)]
fn in_a_row(packed: u64, epoch: u32) -> u32 {
    if (packed >> 32) as u32 == epoch {
        packed as u32
    } else {
        0
    }
}

fn newer_epoch(stored: u32, mine: u32) -> bool {
    (1..1 << 31).contains(&stored.wrapping_sub(mine))
}

/// Exact at a threshold: 3 of 30 is 0.1, where 0.1 times 30 is a little more than 3.
fn share(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        part as f64 / of as f64
    }
}
