use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use arc_swap::ArcSwap;
use backstay_core::breaker::Circuit;
use backstay_core::bulkhead::{Bulkhead, Gate, Permit, Refusal};
use backstay_core::hedge::{Hedge, HedgeTimer};
use backstay_core::{Invalid, Moment};

use crate::budget::Budget;
use crate::clock;
use crate::error::Rejected;
use crate::event::{EventKind, Listeners};
use crate::plan::SharedPlan;
use crate::policy::Policy;
use crate::settings::Settings;
use crate::turn::wake;

/// The state that all clones of a pipeline share.
///
/// Every machine is always there, also those whose policy is off, so that a policy can be switched on while
/// calls run.
#[derive(Debug)]
pub struct Inner {
    /// Shared with the errors of its calls.
    pub(crate) name: Arc<str>,
    pub(crate) plan: SharedPlan,
    pub(crate) circuit: Circuit,
    pub(crate) gate: Gate<Waker>,
    pub(crate) hedge: HedgeTimer,
    pub(crate) budget: Budget,
    pub(crate) budget_is_shared: bool,
    pub(crate) listeners: Listeners,
    pub(crate) settings: ArcSwap<Settings>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Inner {
    pub(crate) fn new(
        name: Arc<str>,
        settings: Settings,
        shared_budget: Option<Budget>,
        listeners: Listeners,
    ) -> Result<Self, Invalid> {
        settings.validate()?;
        let budget_is_shared = shared_budget.is_some();
        let budget = match shared_budget {
            Some(budget) => budget,
            None => Budget::new(settings.budget.clone())?,
        };
        Ok(Self {
            name,
            plan: SharedPlan::new(&settings),
            circuit: Circuit::new(settings.breaker.clone(), clock::now())?,
            gate: Gate::new(bulkhead_of(&settings))?,
            hedge: HedgeTimer::new(hedge_of(&settings))?,
            budget,
            budget_is_shared,
            listeners,
            settings: ArcSwap::from_pointee(settings),
            changing: Mutex::new(()),
        })
    }

    /// Puts new options in force. Nothing changes if any of them is refused.
    pub(crate) fn reconfigure(&self, settings: Settings) -> Result<(), Invalid> {
        settings.validate()?;
        let wakes = {
            let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock::now();
            // The breaker goes first: its window's kind is the only thing that can't change while running.
            self.circuit.set(settings.breaker.clone(), now)?;
            self.hedge.set(hedge_of(&settings))?;
            if !self.budget_is_shared {
                self.budget.set(settings.budget.clone())?;
            }
            let wakes = self.gate.set(bulkhead_of(&settings), now)?;
            self.plan.set(&settings);
            self.settings.store(Arc::new(settings));
            wakes
        };
        wake(wakes);
        self.emit(EventKind::Reconfigured);
        Ok(())
    }

    #[inline]
    pub(crate) fn emit(&self, kind: EventKind) {
        self.listeners.emit(&self.name, kind);
    }

    /// Tells that a call is refused before anything was sent.
    pub(crate) fn reject(&self, rejected: Rejected) -> Rejected {
        if let Some(by) = rejected.by() {
            self.emit(EventKind::Rejected { by });
        }
        rejected
    }

    /// A permit while there is one, and a word where a bulkhead that only observes would have made a call wait.
    pub(crate) fn try_enter(&self, weight: u32, now: Moment) -> Option<Permit> {
        let permit = self.gate.try_enter(weight, now).ok();
        if permit.is_none() {
            self.emit(EventKind::Observed {
                policy: Policy::Bulkhead,
            });
        }
        permit
    }

    /// A refusal by the bulkhead, with when a place is likely to be free.
    pub(crate) fn no_place(&self, refusal: Refusal) -> Rejected {
        let retry_after = match refusal {
            Refusal::TooHeavy { .. } => None,
            _ => Some(self.gate.expected_wait()),
        };
        Rejected::Bulkhead {
            refusal,
            retry_after,
        }
    }

    pub(crate) fn release(&self, permit: Permit, now: Moment) {
        wake(self.gate.release(permit, now));
    }
}

/// Without a bulkhead the gate stands open, for when one is switched on.
fn bulkhead_of(settings: &Settings) -> Bulkhead {
    settings
        .bulkhead
        .clone()
        .unwrap_or_else(|| Bulkhead::limit(1_000_000))
}

/// Without hedging the timer learns nothing and is never asked.
fn hedge_of(settings: &Settings) -> Hedge {
    settings
        .hedge
        .clone()
        .unwrap_or_else(|| Hedge::at_quantile(0.95))
}
