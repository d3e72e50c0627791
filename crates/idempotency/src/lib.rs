//! Do it once: what carries a key is done once, and repeats get the answer of the first.
//!
//! Three ways, from the strongest on:
//!
//! - [`Idempotency::run`]: the effects are rows beside the store. Rows, record and answer are one commit.
//! - [`Idempotency::begin`]: the effects are elsewhere. A claim that renews itself, and that another process may take
//!   over when its owner is silent.
//! - `IdempotencyLayer` (feature `http`): the `Idempotency-Key` header, around a server's handlers.
//!
//! An undo [withdraws](Idempotency::withdraw) the key of what it undoes, so that a late repeat of that is refused.
//!
//! For users of the crate `backstay`, `backstay_idempotency` is `backstay::idempotency`.

mod canonical;
mod commit;
mod envelope;
mod fingerprint;
mod guard;
mod hold;
#[cfg(feature = "http")]
mod http;
mod keeper;
mod key;
mod once;
mod options;
mod records;
mod run;
mod undo;
mod withdraw;

pub use envelope::{Kept, KeptError};
pub use fingerprint::Fingerprint;
pub use guard::{FinishError, Guard};
#[cfg(feature = "http")]
pub use http::{
    AnswerBody, AnswerError, IdempotencyFuture, IdempotencyGuard, IdempotencyLayer,
    IdempotencyLayerBuilder, IdempotencyService, Settle, Undoes,
};
pub use key::Key;
pub use once::{BeginError, Begun, Idempotency, IdempotencyBuilder};
pub use options::BuildError;
pub use run::{Done, RunError};
pub use undo::Undoing;
pub use withdraw::{WithdrawError, Withdrawn};
