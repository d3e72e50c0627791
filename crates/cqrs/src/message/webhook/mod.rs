//! Messages by HTTP, signed as [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks) says.

mod secret;
mod send;
mod verify;

pub use send::{Answered, Webhook};
pub use verify::{Verifier, VerifyError};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
