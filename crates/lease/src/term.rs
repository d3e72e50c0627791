//! One term: how long it lasts, and whose work has to stop first.

use std::sync::Arc;
use std::time::Duration;

use backstay_core::Moment;
use tokio::sync::watch;

use crate::event::{Event, Listener, StepDown};
use crate::timing::{Span, Timing};
use crate::{Clock, Lease};

/// What its leader, its work and its keeper share.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) lease: Lease,
    pub(crate) timing: Timing,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) listener: Listener,
    state: watch::Sender<State>,
    work: watch::Sender<Work>,
}

/// The work of a term.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    /// How much there is.
    scopes: usize,
    /// When the last of what there was ended.
    ended: Moment,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Leading,
    /// Work is being stopped. There is no way back.
    Stopping(StepDown),
    /// Nothing is left of it.
    Over(StepDown),
}

impl Phase {
    pub(crate) fn step_down(self) -> Option<StepDown> {
        match self {
            Self::Leading => None,
            Self::Stopping(reason) | Self::Over(reason) => Some(reason),
        }
    }
}

/// Work of a term, until it is dropped.
#[derive(Debug)]
pub(crate) struct Scope<'t>(&'t Term);

impl Term {
    pub(crate) fn new(
        lease: Lease,
        span: Span,
        timing: Timing,
        clock: Arc<dyn Clock>,
        listener: Listener,
    ) -> Self {
        let phase = Phase::Leading;
        Self {
            lease,
            timing,
            clock,
            listener,
            state: watch::Sender::new(State { phase, span }),
            work: watch::Sender::new(Work::default()),
        }
    }

    pub(crate) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Time until its work is stopped.
    pub(crate) fn remaining(&self) -> Duration {
        let State { phase, span } = self.state();
        match phase {
            Phase::Leading => span.stop_at.since(self.clock.now()),
            _ => Duration::ZERO,
        }
    }

    /// Whether its work must not go on, and why. It looks at the clock: nobody else may have noticed yet.
    pub(crate) fn has_ended(&self) -> Option<StepDown> {
        let State { phase, span } = self.state();
        if phase == Phase::Leading && span.stop_at <= self.clock.now() {
            return Some(self.stop(StepDown::TimeUp));
        }
        phase.step_down()
    }

    /// Ends the term, unless it has been ended; tells why it was.
    pub(crate) fn stop(&self, reason: StepDown) -> StepDown {
        let mut why = reason;
        let stopped = self.state.send_if_modified(|state| {
            let leading = state.phase == Phase::Leading;
            if leading {
                state.phase = Phase::Stopping(reason);
            } else {
                why = state.phase.step_down().unwrap_or(reason);
            }
            leading
        });
        if stopped {
            self.listener.hear(&Event::SteppedDown {
                token: self.lease.token,
                reason,
            });
        }
        why
    }

    /// Goes on for as long as a renewal says that was asked for at a moment. False if the term has ended meanwhile.
    pub(crate) fn extend(&self, asked: Moment) -> bool {
        self.state.send_if_modified(|state| {
            let leading = state.phase == Phase::Leading;
            if leading {
                state.span = self.timing.span(asked);
            }
            leading
        })
    }

    /// Says that nothing is left of it.
    pub(crate) fn end(&self) {
        self.state.send_modify(|state| {
            let reason = state.phase.step_down().unwrap_or(StepDown::Released);
            state.phase = Phase::Over(reason);
        });
    }

    pub(crate) async fn stopping(&self) -> StepDown {
        let phase = |state: &State| state.phase.step_down().is_some();
        self.wait_for(phase)
            .await
            .step_down()
            .unwrap_or(StepDown::Released)
    }

    pub(crate) async fn over(&self) {
        self.wait_for(|state| matches!(state.phase, Phase::Over(_)))
            .await;
    }

    async fn wait_for(&self, wanted: impl FnMut(&State) -> bool) -> Phase {
        let mut states = self.state.subscribe();
        let state = states.wait_for(wanted).await;
        // The sender is in `self`.
        state.map_or(Phase::Over(StepDown::Released), |state| state.phase)
    }

    /// Begins work, unless the term has ended.
    pub(crate) fn enter(&self) -> Result<Scope<'_>, StepDown> {
        // Counted before it looks: whoever ends the term after that look finds it.
        self.work.send_modify(|work| work.scopes += 1);
        match self.has_ended() {
            Some(reason) => {
                self.work.send_modify(|work| work.scopes -= 1);
                Err(reason)
            }
            None => Ok(Scope(self)),
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        self.work.borrow().scopes > 0
    }

    /// Whether work has ended at this moment or later.
    pub(crate) fn worked_until(&self, at: Moment) -> bool {
        self.work.borrow().ended >= at
    }

    /// Waits until all work has stopped.
    pub(crate) async fn idle(&self) {
        // The sender is in `self`.
        let _ = self
            .work
            .subscribe()
            .wait_for(|work| work.scopes == 0)
            .await;
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        let now = self.0.clock.now();
        self.0.work.send_modify(|work| {
            work.scopes -= 1;
            work.ended = Ord::max(work.ended, now);
        });
    }
}
