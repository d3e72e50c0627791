use crate::Invalid;
use crate::invalid::in_range;

/// One extra attempt for ten calls: in the worst case the dependency gets 1.1 times the load, where three
/// attempts a call without a budget make it three times (Site Reliability Engineering, ch. 21).
const DEFAULT_RATIO: f64 = 0.1;

/// Ten retries a second: too few to hurt a dependency that serves more than one client, enough for a client
/// that makes a call now and then.
const DEFAULT_RESERVE_PER_S: u32 = 10;

/// How many extra attempts the calls of the last ten seconds may have.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct BudgetOptions {
    ratio: f64,
    reserve_per_s: u32,
}

impl BudgetOptions {
    /// Extra attempts a call earns, 0.0..=10.0, rounded down to a thousandth. Default: 0.1.
    #[must_use]
    pub fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// Retries a second that need no calls to earn them, 0..=100 000. Default: 10.
    ///
    /// Not saved up: what one second leaves is not there in the next. Hedges have no reserve.
    #[must_use]
    pub fn reserve_per_s(mut self, retries: u32) -> Self {
        self.reserve_per_s = retries;
        self
    }

    /// Refuses a ratio or a reserve out of range. `field` is the path of these options, for the error.
    pub fn validate(&self, field: &str) -> Result<(), Invalid> {
        in_range(&format!("{field}.ratio"), self.ratio, 0.0..=10.0)?;
        in_range(
            &format!("{field}.reserve_per_s"),
            self.reserve_per_s,
            0..=100_000,
        )
    }

    /// Thousandths of an extra attempt that one call earns.
    pub(super) fn ratio_milli(&self) -> u64 {
        // Many a decimal such as 0.057 lies just below itself in binary; that must not cost a thousandth.
        // The ratio was validated, so the product is at most 10 000.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "validated to be in 0.0..=10.0; rounding down is the documented rule"
        )]
        let milli = (self.ratio * 1_000.0 + 1e-6) as u64;
        milli
    }

    /// Extra attempts for each call, as a ratio.
    pub fn share(&self) -> f64 {
        self.ratio
    }

    /// Retries a second that need no calls.
    pub fn reserve(&self) -> u32 {
        self.reserve_per_s
    }
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self {
            ratio: DEFAULT_RATIO,
            reserve_per_s: DEFAULT_RESERVE_PER_S,
        }
    }
}
