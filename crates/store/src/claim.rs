use std::fmt;
use std::time::Duration;

use backstay_core::Invalid;
use uuid::Uuid;

use crate::{Fence, Timestamp, Unavailable};

/// Whoever may hold a claim: one start of one process, or one attempt to take it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(Uuid);

impl Owner {
    /// An owner like no other.
    #[expect(
        clippy::new_without_default,
        reason = "each is another: a default that differs every time surprises"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// From its sixteen bytes, as a backend has kept them.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({})", self.0)
    }
}

/// One holding of a name, until a time by the store's clock.
///
/// It proves nothing about the present: the holder may have been stopped for longer than it lasts. What it may write is
/// for the store to say: put its [`fence`](Self::fence) on every batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a claim that nobody keeps lasts until its time is over"]
pub struct Claim {
    /// What is claimed.
    pub name: String,
    /// Who holds it.
    pub owner: Owner,
    /// Grows with each holding, also of the same owner.
    pub epoch: u64,
    /// When anybody may take it.
    pub expires_at: Timestamp,
}

impl Claim {
    /// Refuses what is written after somebody else has taken the claim.
    pub fn fence(&self) -> Fence {
        Fence::new(fence_name(&self.name), self.epoch)
    }

    /// For a backend: refuses another holding while this one lasts.
    pub fn ensure_over(&self, now: Timestamp) -> Result<(), ClaimError> {
        if self.expires_at <= now {
            return Ok(());
        }
        let left = self.expires_at.as_millis() - now.as_millis();
        Err(ClaimError::Held {
            name: self.name.clone(),
            owner: self.owner,
            epoch: self.epoch,
            left: Duration::from_millis(left),
        })
    }
}

/// The fence that a take-over raises.
pub(crate) fn fence_name(claim: &str) -> String {
    format!("claim:{claim}")
}

/// The epoch of a new holding: higher than that of the last, and than any token that was seen in its place.
pub(crate) fn next_epoch(last: u64, highest: u64) -> Result<u64, Invalid> {
    let before = last.max(highest);
    // Databases count in signed numbers.
    if before >= i64::MAX.unsigned_abs() {
        let limit = format!("must be below {} for another epoch", i64::MAX);
        return Err(Invalid::new("the claim's fence", before, limit));
    }
    Ok(before + 1)
}

/// Why a claim was not given or not renewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Another holding has not ended.
    #[error("claim {name:?} is held in epoch {epoch} for another {left:?}")]
    Held {
        /// What was claimed.
        name: String,
        /// Who holds it.
        owner: Owner,
        /// The epoch of that holding.
        epoch: u64,
        /// Time until it may be taken, unless it is renewed.
        left: Duration,
    },
    /// The holding has ended: its time was over, or it was given up. Claim again, for a new epoch.
    #[error("claim {name:?} is no longer held in epoch {epoch}")]
    Lost {
        /// What was claimed.
        name: String,
        /// The epoch of the holding.
        epoch: u64,
    },
    /// The name or the time breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store can't say, or can't do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
