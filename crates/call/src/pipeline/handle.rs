use std::time::Duration;

use backstay_core::breaker::{Control, Phase};
use backstay_core::budget::BudgetSnapshot;
use backstay_core::bulkhead::GateSnapshot;

use super::Pipeline;
use crate::clock;
use crate::event::EventKind;
use crate::inner::Inner;
use crate::policy::Policy;

/// The circuit breaker of a pipeline, to look at and to control.
#[derive(Debug)]
pub struct BreakerHandle<'a> {
    inner: &'a Inner,
}

/// A circuit breaker as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerState {
    /// Where it stands.
    pub phase: Phase,
    /// Who decides.
    pub control: Control,
    /// For how long it has stood there.
    pub since: Duration,
    /// How long until an open circuit sends its next probe.
    pub next_probe: Option<Duration>,
    /// Finished calls in the window.
    pub calls: u64,
    /// Failed calls in the window.
    pub failed: u64,
    /// Calls in the window that were refused as overload.
    pub overloaded: u64,
    /// Slow calls in the window, finished or not.
    pub slow: u64,
    /// Failures without a success between.
    pub consecutive_failures: u32,
    /// Results that came after their epoch and changed nothing, since the beginning.
    pub stale: u64,
}

/// A bulkhead as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkheadState {
    /// Most calls in progress.
    pub limit: u32,
    /// Most calls waiting.
    pub queue: u32,
    /// Calls in progress.
    pub in_use: u32,
    /// Calls waiting.
    pub waiting: u32,
    /// How long the oldest of them has waited.
    pub oldest_wait: Duration,
}

/// Every policy of a pipeline as it is now. Policies that are off are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineState {
    /// The breaker.
    pub breaker: Option<BreakerState>,
    /// The budget for extra load.
    pub budget: Option<BudgetSnapshot>,
    /// The bulkhead.
    pub bulkhead: Option<BulkheadState>,
    /// When a second attempt would be sent now, if at all.
    pub hedge_after: Option<Duration>,
}

impl Pipeline {
    /// The circuit breaker, to look at and to control.
    pub fn breaker(&self) -> BreakerHandle<'_> {
        BreakerHandle {
            inner: self.inner(),
        }
    }

    /// A live picture of every policy.
    pub fn state(&self) -> PipelineState {
        let inner = self.inner();
        let (plan, now) = (inner.plan.get(), clock::now());
        let deadline =
            Duration::from_nanos(inner.plan.attempt_timeout().min(inner.plan.deadline()));
        PipelineState {
            breaker: plan.on(Policy::Breaker).then(|| self.breaker().state()),
            budget: plan.on(Policy::Budget).then(|| inner.budget.snapshot()),
            bulkhead: plan
                .on(Policy::Bulkhead)
                .then(|| inner.gate.snapshot(now).into()),
            hedge_after: plan
                .on(Policy::Hedge)
                .then(|| inner.hedge.delay(deadline, now))
                .flatten(),
        }
    }
}

impl BreakerHandle<'_> {
    /// The breaker as it is now.
    pub fn state(&self) -> BreakerState {
        let now = clock::now();
        let circuit = self.inner.circuit.snapshot(now);
        BreakerState {
            phase: circuit.phase,
            control: circuit.control,
            since: now.since(circuit.since),
            next_probe: circuit.probe_at.map(|at| at.since(now)),
            calls: circuit.calls,
            failed: circuit.failed,
            overloaded: circuit.overloaded,
            slow: circuit.slow,
            consecutive_failures: circuit.consecutive_failures,
            stale: circuit.stale,
        }
    }

    /// Refuses every call until told otherwise.
    pub fn force_open(&self) {
        self.control(Control::ForcedOpen);
    }

    /// Lets every call pass until told otherwise. Results are counted and open nothing.
    pub fn force_close(&self) {
        self.control(Control::ForcedClosed);
    }

    /// Decides as usual, but only reports what it would refuse.
    pub fn observe_only(&self) {
        self.control(Control::Observing);
    }

    /// Gives the decision back to the results. A breaker that was forced open begins half-open.
    pub fn automatic(&self) {
        self.control(Control::Automatic);
    }

    fn control(&self, control: Control) {
        let inner = self.inner;
        inner.emit(EventKind::BreakerControl(control));
        inner.circuit.control(control, clock::now(), |transition| {
            inner.emit(EventKind::Breaker(transition));
        });
    }
}

impl From<GateSnapshot> for BulkheadState {
    fn from(gate: GateSnapshot) -> Self {
        Self {
            limit: gate.limit,
            queue: gate.queue_limit,
            in_use: gate.in_use,
            waiting: gate.waiting,
            oldest_wait: gate.oldest_wait,
        }
    }
}
