use std::sync::Arc;

use backstay_core::budget::{BudgetOptions, BudgetSnapshot, Extra, Ledger, Token};
use backstay_core::{Invalid, Moment};

use crate::clock;

/// A budget for extra load. Clones share one ledger.
///
/// Every pipeline has one of its own; give the same to several where they lead to the same dependency, so that
/// together they stay within it. Code that retries by hand can draw on it too:
///
/// ```
/// use backstay_call::{Budget, BudgetOptions};
///
/// let budget = Budget::new(BudgetOptions::default())?;
/// budget.count_call();
/// match budget.try_retry() {
///     Some(permit) => drop(permit), // repeat, and drop the permit when the repeat has ended
///     None => {}                    // give up
/// }
/// # Ok::<(), backstay_call::Invalid>(())
/// ```
#[derive(Clone, Debug)]
pub struct Budget(Arc<Ledger>);

impl Budget {
    /// A budget with nothing spent.
    pub fn new(options: BudgetOptions) -> Result<Self, Invalid> {
        Ledger::new(options).map(|ledger| Self(Arc::new(ledger)))
    }

    /// Replaces the options; what was spent stays.
    pub fn set(&self, options: BudgetOptions) -> Result<(), Invalid> {
        self.0.set(options)
    }

    /// Counts one call, which earns its share of an extra attempt. Pipelines do it by themselves.
    pub fn count_call(&self) {
        self.0.on_call(clock::now());
    }

    /// The right to repeat a call once, if there is any left. It is spent when dropped.
    pub fn try_retry(&self) -> Option<ExtraPermit> {
        self.draw(Extra::Retry, clock::now())
    }

    /// What is spent and what is left.
    pub fn snapshot(&self) -> BudgetSnapshot {
        self.0.snapshot(clock::now())
    }

    pub(crate) fn draw(&self, extra: Extra, now: Moment) -> Option<ExtraPermit> {
        let token = self.0.draw(extra, now)?;
        Some(ExtraPermit {
            budget: self.clone(),
            token: Some(token),
        })
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0
    }
}

/// The right to make one extra attempt. Drop it when the attempt has ended.
#[derive(Debug)]
#[must_use = "hold it while the attempt runs"]
pub struct ExtraPermit {
    budget: Budget,
    token: Option<Token>,
}

impl Drop for ExtraPermit {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.budget.0.settle(token, clock::now());
        }
    }
}
