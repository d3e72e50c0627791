use std::collections::BTreeMap;
use std::time::Duration;

use super::Wakes;
use crate::Moment;

/// A wait below this is a burst and no standing queue (`CoDel`'s target).
const TARGET: Duration = Duration::from_millis(5);

/// A place in the line. Ask with [`Gate::poll`](super::Gate::poll), give up with [`Gate::leave`](super::Gate::leave).
#[derive(Debug)]
#[must_use = "a place that is dropped stays in the line: give it back with `Gate::leave`"]
pub struct Ticket {
    pub(super) id: u64,
    pub(super) wait_until: Moment,
}

impl Ticket {
    /// When to give up: the call's deadline or the end of the longest wait, whichever is first.
    pub fn wait_until(&self) -> Moment {
        self.wait_until
    }
}

/// The places, by number: a later one came later.
#[derive(Debug)]
pub(super) struct Line<W> {
    waiting: BTreeMap<u64, Waiting<W>>,
    /// Those whose turn came and who have not asked yet.
    settled: BTreeMap<u64, Settled>,
    next_id: u64,
    weight: u64,
    under_pressure: bool,
}

#[derive(Debug)]
struct Waiting<W> {
    weight: u32,
    since: Moment,
    wait_until: Moment,
    /// When half of its time is gone.
    stale_at: Moment,
    waker: W,
}

/// What became of a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settled {
    Granted { weight: u32, since: Moment },
    Shed,
}

/// The next in line, if it can be served at all.
pub(super) struct Next {
    pub(super) id: u64,
    pub(super) weight: u32,
    pub(super) wait_until: Moment,
}

impl<W> Line<W> {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            settled: BTreeMap::new(),
            next_id: 0,
            weight: 0,
            under_pressure: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How long the oldest has waited.
    pub(super) fn oldest_wait(&self, now: Moment) -> Duration {
        self.waiting
            .first_key_value()
            .map_or(Duration::ZERO, |(_, oldest)| now.since(oldest.since))
    }

    /// The weight that a newcomer has to let pass.
    pub(super) fn ahead_of_a_newcomer(&self) -> u64 {
        if self.under_pressure { 0 } else { self.weight }
    }

    /// Whether the newest is served first.
    ///
    /// Pressure begins when the head has spent half of its time here. A line that was merely never empty for a
    /// while is no sign of it: at three quarters of its capacity a gate often has one for a second.
    pub(super) fn under_pressure(&mut self, now: Moment) -> bool {
        let oldest = self.waiting.first_key_value();
        self.under_pressure |= oldest.is_some_and(|(_, oldest)| oldest.stale_at <= now);
        self.under_pressure
    }

    pub(super) fn join(
        &mut self,
        weight: u32,
        now: Moment,
        wait_until: Moment,
        waker: W,
    ) -> Ticket {
        let id = self.next_id;
        self.next_id += 1;
        self.weight += u64::from(weight);
        let half = wait_until.since(now) / 2;
        let waiting = Waiting {
            weight,
            since: now,
            wait_until,
            stale_at: now.plus(half.max(TARGET)),
            waker,
        };
        self.waiting.insert(id, waiting);
        Ticket { id, wait_until }
    }

    /// Whose turn it is.
    pub(super) fn next(&mut self, now: Moment) -> Option<Next> {
        let (id, next) = if self.under_pressure(now) {
            self.waiting.last_key_value()?
        } else {
            self.waiting.first_key_value()?
        };
        Some(Next {
            id: *id,
            weight: next.weight,
            wait_until: next.wait_until,
        })
    }

    /// Ends a wait; whoever waited is to be woken.
    pub(super) fn settle(&mut self, id: u64, settled: Settled, wakes: &mut Wakes<W>) {
        if let Some(gone) = self.remove(id) {
            self.settled.insert(id, settled);
            wakes.push(gone);
        }
    }

    pub(super) fn shed_oldest(&mut self, wakes: &mut Wakes<W>) {
        if let Some((id, _)) = self.waiting.first_key_value() {
            self.settle(*id, Settled::Shed, wakes);
        }
    }

    /// Sheds those who were passed over after half of their time. The last one stays and is served when it can be.
    pub(super) fn shed_stale(&mut self, now: Moment, wakes: &mut Wakes<W>) {
        while let Some((_, oldest)) = self.waiting.first_key_value()
            && oldest.stale_at <= now
            && self.waiting.len() > 1
        {
            self.shed_oldest(wakes);
        }
    }

    /// The waker of a place that still waits.
    pub(super) fn waker(&mut self, id: u64) -> Option<&mut W> {
        self.waiting.get_mut(&id).map(|waiting| &mut waiting.waker)
    }

    /// What became of a place, told once.
    pub(super) fn take_settled(&mut self, id: u64) -> Option<Settled> {
        self.settled.remove(&id)
    }

    /// Takes a place out of the line.
    pub(super) fn remove(&mut self, id: u64) -> Option<W> {
        let gone = self.waiting.remove(&id)?;
        self.weight -= u64::from(gone.weight);
        self.under_pressure &= !self.waiting.is_empty();
        Some(gone.waker)
    }
}
