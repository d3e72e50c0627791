use std::time::Duration;

use super::permits::Permits;
use super::queue::{Line, Settled, Ticket};
use super::{Bulkhead, Wakes};
use crate::moment::nanos;
use crate::stripe::Padded;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Invalid, Moment};

/// One hold in so many is measured while nobody waits; under load, every one.
const SAMPLE_EVERY: u64 = 16;

/// Weight of a new sample in the mean hold: 1/16 forgets the time before an outage in a few dozen calls.
const SAMPLE_SHARE: u64 = 16;

/// Hands out permits; `W` is what the driver needs to wake somebody.
///
/// A permit is taken and given back with one atomic operation each while permits are free. Everything else
/// happens under a short lock: waiting, weights above one, a change of the limit.
///
/// The one rule that ties the two together: whoever decides under the lock raises `attention` *before* looking
/// at the free permits, and whoever gives a permit back looks at `attention` *after* giving. So either the
/// permit is seen by the one who decides, or the giver takes the lock and serves the line. Both write the stripe
/// in one atomic step, also where it is empty, and that is what orders them.
#[derive(Debug)]
pub struct Gate<W> {
    free: Permits,
    /// Somebody waits, a shrunk limit is owed permits, or somebody was refused since the last return.
    attention: Padded<AtomicBool>,
    /// Mean time that a permit is held, in nanoseconds; 0 until the first came back.
    hold: Padded<AtomicU64>,
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    options: Bulkhead,
    /// Free permits that are kept from the fast path while there is somebody to serve first.
    pool: u32,
    /// Permits to be swallowed when they come back, after the limit shrank below what was in use.
    debt: u32,
    line: Line<W>,
}

/// The right to go on. Give it back to the gate it came from.
#[derive(Debug)]
#[must_use = "a permit that is dropped is lost to the gate: give it back with `Gate::release`"]
pub struct Permit {
    weight: u32,
    since: Moment,
}

/// The answer to somebody who wants in.
#[derive(Debug)]
#[must_use]
pub enum Entry<W> {
    /// Go on.
    Admitted(Permit),
    /// Wait for your turn; wake those who had to make room.
    Queued(Ticket, Wakes<W>),
    /// Neither.
    Refused(Refusal),
}

/// The answer to somebody who waits.
#[derive(Debug)]
#[must_use]
pub enum Turn {
    /// Not yet.
    Waiting,
    /// Go on; the ticket is spent.
    Admitted(Permit),
    /// There is no place any more; the ticket is spent.
    Shed,
}

/// Why there was no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// All permits and all places are taken.
    #[error("all permits and all waiting places are taken")]
    Full,
    /// The wait would not leave enough time.
    #[error("the expected wait of {expected:?} does not fit the time left")]
    TooLate {
        /// How long the wait would have been.
        expected: Duration,
    },
    /// It weighs more than the whole gate.
    #[error("it weighs more than the limit of {limit}")]
    TooHeavy {
        /// The most that can ever be admitted.
        limit: u32,
    },
    /// It lost its place to newer callers.
    #[error("lost its waiting place to newer callers")]
    Shed,
    /// Its time in the line was up; the driver finds out by its own timer.
    #[error("no permit came free in the time there was")]
    WaitedTooLong,
}

/// A gate as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateSnapshot {
    /// Most weight at once.
    pub limit: u32,
    /// Most places.
    pub queue_limit: u32,
    /// Weight held; above the limit only after it shrank.
    pub in_use: u32,
    /// Places taken.
    pub waiting: u32,
    /// How long the oldest has waited.
    pub oldest_wait: Duration,
    /// How long a newcomer would wait.
    pub expected_wait: Duration,
}

impl<W> Gate<W> {
    /// A gate with all permits free.
    pub fn new(options: Bulkhead) -> Result<Self, Invalid> {
        options.validate("bulkhead")?;
        Ok(Self {
            free: Permits::new(options.limit),
            attention: Padded(AtomicBool::new(false)),
            hold: Padded(AtomicU64::new(0)),
            state: Mutex::new(State {
                options,
                pool: 0,
                debt: 0,
                line: Line::new(),
            }),
        })
    }

    /// Asks for a permit of `weight` (0 counts as 1) for a call that must be over by `leave_by`.
    ///
    /// `waiter` makes what the driver needs to wake this caller. It is called before the lock is taken, and
    /// only when no permit was free at first sight.
    pub fn enter(
        &self,
        weight: u32,
        now: Moment,
        leave_by: Moment,
        waiter: impl FnOnce() -> W,
    ) -> Entry<W> {
        let weight = weight.max(1);
        if let Some(permit) = self.take_free(weight, now) {
            return Entry::Admitted(permit);
        }
        // Declared before the guard and so dropped after it: dropping a waker may run anything.
        let waiter = waiter();
        let mut state = lock(&self.state);
        match self.take_in_turn(&mut state, weight, now) {
            Ok(Some(permit)) => return Entry::Admitted(permit),
            Ok(None) => {}
            Err(refusal) => return Entry::Refused(refusal),
        }
        let pressure = state.line.under_pressure(now);
        // A refusal leaves the attention raised, so that the next permit to come back is measured: a gate that
        // refuses because of its mean hold must notice soon when holds are short again.
        let places = state.options.queue as usize;
        if places == 0 || state.line.len() >= places && !pressure {
            return Entry::Refused(Refusal::Full);
        }
        let wait_until = match state.options.max_wait {
            Some(longest) => leave_by.min(now.plus(longest)),
            None => leave_by,
        };
        let expected = self.wait_for(&state, state.line.ahead_of_a_newcomer() + u64::from(weight));
        let served = now.plus(expected);
        if served > wait_until || served.plus(self.mean_hold()) > leave_by {
            return Entry::Refused(Refusal::TooLate { expected });
        }
        let mut wakes = Wakes::none();
        while state.line.len() >= places {
            state.line.shed_oldest(&mut wakes);
        }
        let ticket = state.line.join(weight, now, wait_until, waiter);
        Entry::Queued(ticket, wakes)
    }

    /// Asks for a permit of `weight` (0 counts as 1) for a caller that does not wait; nobody loses a place.
    pub fn try_enter(&self, weight: u32, now: Moment) -> Result<Permit, Refusal> {
        let weight = weight.max(1);
        if let Some(permit) = self.take_free(weight, now) {
            return Ok(permit);
        }
        self.take_in_turn(&mut lock(&self.state), weight, now)?
            .ok_or(Refusal::Full)
    }

    /// A permit without the lock, while there is nobody to attend to.
    fn take_free(&self, weight: u32, now: Moment) -> Option<Permit> {
        let free = weight == 1 && !self.attention.0.load(Ordering::SeqCst) && self.free.take_one();
        free.then_some(Permit { weight, since: now })
    }

    /// A permit for a newcomer if nobody goes first, none if it would have to wait.
    fn take_in_turn(
        &self,
        state: &mut State<W>,
        weight: u32,
        now: Moment,
    ) -> Result<Option<Permit>, Refusal> {
        if weight > state.options.limit {
            let limit = state.options.limit;
            return Err(Refusal::TooHeavy { limit });
        }
        self.raise_attention();
        if !state.line.under_pressure(now) && !state.line.is_empty() {
            return Ok(None);
        }
        self.gather(state);
        if state.pool < weight {
            return Ok(None);
        }
        state.pool -= weight;
        self.relax(state);
        Ok(Some(Permit { weight, since: now }))
    }

    /// Asks whether the turn has come; if not, `refresh` may put a newer waker in place.
    ///
    /// `refresh` runs under the lock: it compares and clones a waker and does nothing else. A ticket that is
    /// spent answers [`Turn::Shed`].
    pub fn poll(&self, ticket: &Ticket, refresh: impl FnOnce(&mut W)) -> Turn {
        let mut state = lock(&self.state);
        if let Some(waker) = state.line.waker(ticket.id) {
            refresh(waker);
            return Turn::Waiting;
        }
        match state.line.take_settled(ticket.id) {
            Some(Settled::Granted { weight, since }) => Turn::Admitted(Permit { weight, since }),
            Some(Settled::Shed) | None => Turn::Shed,
        }
    }

    /// Gives up a place. A permit that had been granted meanwhile goes to the next in line.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "taken, so that a place is given up once"
    )]
    pub fn leave(&self, ticket: Ticket, now: Moment) -> Wakes<W> {
        // Outside the lock's scope, because dropping a waker may run anything.
        let _gone;
        let mut state = lock(&self.state);
        _gone = state.line.remove(ticket.id);
        if let Some(Settled::Granted { weight, .. }) = state.line.take_settled(ticket.id) {
            state.pool += weight;
        }
        self.raise_attention();
        self.serve(&mut state, now)
    }

    /// Gives a permit back, to the next in line if somebody waits.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "taken, so that a permit comes back once"
    )]
    pub fn release(&self, permit: Permit, now: Moment) -> Wakes<W> {
        let returns = self.free.give(permit.weight);
        let attention = self.attention.0.load(Ordering::SeqCst);
        if attention || returns.is_multiple_of(SAMPLE_EVERY) {
            self.learn(now.since(permit.since));
        }
        if !attention {
            return Wakes::none();
        }
        let mut state = lock(&self.state);
        self.raise_attention();
        self.serve(&mut state, now)
    }

    /// Changes the options of a gate in use.
    ///
    /// More permits go to those who wait. Fewer are collected as they come back; nobody in progress is hurt,
    /// and nobody who waits loses a place, unless it weighs more than the new limit.
    pub fn set(&self, options: Bulkhead, now: Moment) -> Result<Wakes<W>, Invalid> {
        options.validate("bulkhead")?;
        let mut state = lock(&self.state);
        self.raise_attention();
        let (old, new) = (state.options.limit, options.limit);
        state.pool += new.saturating_sub(old);
        state.debt += old.saturating_sub(new);
        state.options = options;
        Ok(self.serve(&mut state, now))
    }

    /// How long a newcomer would wait: when to come back after a refusal.
    pub fn expected_wait(&self) -> Duration {
        self.expected_wait_in(&lock(&self.state))
    }

    /// The gate as it is now; approximate while others come and go.
    pub fn snapshot(&self, now: Moment) -> GateSnapshot {
        let state = lock(&self.state);
        let free = self.free.sum() + state.pool;
        GateSnapshot {
            limit: state.options.limit,
            queue_limit: state.options.queue,
            in_use: (state.options.limit + state.debt).saturating_sub(free),
            waiting: u32::try_from(state.line.len()).unwrap_or(u32::MAX),
            oldest_wait: state.line.oldest_wait(now),
            expected_wait: self.expected_wait_in(&state),
        }
    }

    /// Serves the line as far as the permits go.
    fn serve(&self, state: &mut MutexGuard<'_, State<W>>, now: Moment) -> Wakes<W> {
        let mut wakes = Wakes::none();
        self.gather(state);
        let mut served = false;
        while let Some(next) = state.line.next(now) {
            if next.wait_until <= now || next.weight > state.options.limit {
                state.line.settle(next.id, Settled::Shed, &mut wakes);
                continue;
            }
            // Whoever is next and needs more than there is holds up the others, or it would never get it.
            if next.weight > state.pool {
                break;
            }
            state.pool -= next.weight;
            served = true;
            let granted = Settled::Granted {
                weight: next.weight,
                since: now,
            };
            state.line.settle(next.id, granted, &mut wakes);
        }
        if served && state.line.under_pressure(now) {
            state.line.shed_stale(now, &mut wakes);
        }
        self.relax(state);
        wakes
    }

    /// Collects the free permits, and pays the debt with them first.
    fn gather(&self, state: &mut State<W>) {
        state.pool += self.free.take_all();
        let paid = state.pool.min(state.debt);
        state.pool -= paid;
        state.debt -= paid;
    }

    fn raise_attention(&self) {
        self.attention.0.store(true, Ordering::SeqCst);
    }

    /// Opens the fast path again if nothing is left to attend to.
    fn relax(&self, state: &mut State<W>) {
        if state.line.is_empty() && state.debt == 0 {
            self.free.spread(std::mem::take(&mut state.pool));
            self.attention.0.store(false, Ordering::SeqCst);
        }
    }

    /// Two threads that learn at once lose one sample, which costs nothing: it is a mean.
    fn learn(&self, hold: Duration) {
        let sample = nanos(hold);
        let mean = self.hold.0.load(Ordering::Relaxed);
        let next = if mean == 0 {
            sample
        } else {
            mean - mean / SAMPLE_SHARE + sample / SAMPLE_SHARE
        };
        self.hold.0.store(next, Ordering::Relaxed);
    }

    fn mean_hold(&self) -> Duration {
        Duration::from_nanos(self.hold.0.load(Ordering::Relaxed))
    }

    /// How long until `weight` has passed through a gate whose permits are all in use.
    fn wait_for(&self, state: &State<W>, weight: u64) -> Duration {
        let hold = u128::from(self.hold.0.load(Ordering::Relaxed));
        let wait = hold * u128::from(weight) / u128::from(state.options.limit);
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    fn expected_wait_in(&self, state: &State<W>) -> Duration {
        if state.line.is_empty() && self.free.sum() + state.pool > 0 {
            return Duration::ZERO;
        }
        self.wait_for(state, state.line.ahead_of_a_newcomer() + 1)
    }
}
