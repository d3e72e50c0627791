//! The `Idempotency-Key` header, after draft-ietf-httpapi-idempotency-key-header-07, and what undoes a request.

mod answer;
mod body;
mod builder;
mod guard;
mod kept;
mod key_header;
mod problem;
mod request;
mod service;
mod settle;
mod undoes;

pub use body::AnswerBody;
pub use builder::{IdempotencyLayer, IdempotencyLayerBuilder};
pub use guard::{AnswerError, IdempotencyGuard};
pub use service::{IdempotencyFuture, IdempotencyService};
pub use settle::Settle;
pub use undoes::Undoes;
