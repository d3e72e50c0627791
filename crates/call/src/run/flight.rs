use std::pin::Pin;
use std::time::Duration;

use backstay_core::breaker::Admission;
use backstay_core::budget::Token;
use backstay_core::bulkhead::Ticket;
use backstay_core::{Class, Effect, Moment, Pushback};

use crate::attempt::{AttemptRecord, Attempts};

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u32,
    pub(super) start: Moment,
    pub(super) timeout_at: Moment,
    pub(super) admission: Option<Admission>,
}

impl Flight {
    /// Says when it began, where the clock was not read then.
    pub(super) fn began(&mut self, at: Moment) {
        self.start = at;
        if let Some(admission) = &mut self.admission {
            admission.began(at);
        }
    }
}

/// What a call needs only once something goes wrong, or it has to wait for a place.
#[derive(Debug)]
pub(super) struct Rare<Fut, T, E> {
    pub(super) ticket: Option<Ticket>,
    /// How long the attempt to come, and then the one under way, has waited before it began.
    pub(super) waited: Duration,
    /// The last backoff; the next may grow from it.
    pub(super) backoff: Duration,
    /// When the pause before the next attempt ends.
    pub(super) until: Moment,
    /// Pays for the attempt to come, and then for the one under way.
    pub(super) token: Option<Token>,
    pub(super) hedge: Option<Hedged<Fut>>,
    pub(super) attempts: Attempts,
    pub(super) effect: Effect,
    pub(super) last: Option<Last<T, E>>,
    pub(super) last_class: Class,
    /// The strictest word of the attempts since the last pause.
    pub(super) pushback: Pushback,
}

/// The second attempt beside a late first. Boxed, so that every other call is half as large.
#[derive(Debug)]
pub(super) struct Hedged<Fut> {
    /// None while the user's code makes it.
    pub(super) work: Option<Pin<Box<Fut>>>,
    pub(super) flight: Flight,
    pub(super) token: Option<Token>,
}

/// How the last attempt ended.
#[derive(Debug)]
pub(super) enum Last<T, E> {
    Answer(Result<T, E>),
    TimedOut,
}

impl<Fut, T, E> Default for Rare<Fut, T, E> {
    fn default() -> Self {
        Self {
            ticket: None,
            waited: Duration::ZERO,
            backoff: Duration::ZERO,
            until: Moment::NEVER,
            token: None,
            hedge: None,
            attempts: Attempts::default(),
            effect: Effect::NotExecuted,
            last: None,
            last_class: Class::Success,
            pushback: Pushback::Unstated,
        }
    }
}

impl<Fut, T, E> Rare<Fut, T, E> {
    pub(super) fn record(&mut self, record: AttemptRecord, failed: bool) {
        if failed {
            self.effect = self.effect.max(record.effect);
        }
        self.attempts.push(record);
    }

    /// Keeps an answer and what it means for the attempts to come.
    pub(super) fn learn(&mut self, last: Last<T, E>, class: Class) {
        if let (Last::Answer(Err(_)), Class::Success) = (&last, class) {
            // An error that says "already done" is still an error to its caller.
            self.effect = Effect::Executed;
        }
        self.last = Some(last);
        self.last_class = class;
        if let Class::Overloaded { pushback, .. } = class {
            self.pushback = match (self.pushback, pushback) {
                (Pushback::Never, _) | (_, Pushback::Never) => Pushback::Never,
                (Pushback::After(one), Pushback::After(other)) => Pushback::After(one.max(other)),
                (Pushback::Unstated, said) | (said, Pushback::Unstated) => said,
            };
        }
    }
}
