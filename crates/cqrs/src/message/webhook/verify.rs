use std::time::Duration;

use backstay_store::Timestamp;
use http::HeaderMap;

use super::secret::Secret;
use super::{ID, SIGNATURE, TIMESTAMP};
use crate::Invalid;
use crate::message::{Message, MessageError};

/// Says whether a request is a message of somebody who knows the secret.
///
/// It does not say that the message is new: whoever saw the request can send it again. An [`Inbox`](crate::Inbox) takes it once.
///
/// ```
/// # use backstay_cqrs::{Message, webhook::Verifier};
/// let verifier = Verifier::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])?;
/// # let (headers, body) = (http::HeaderMap::new(), Vec::new());
/// match verifier.verify(&headers, &body) {
///     Ok(message) => println!("{} of {}", message.kind, message.key),
///     // 401: whoever has another secret has to be told.
///     Err(error) => println!("{error}"),
/// }
/// # Ok::<_, backstay_cqrs::Invalid>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    secrets: Vec<Secret>,
    tolerance: Duration,
}

/// Why a request is not a message of somebody who knows the secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A header is missing, or there several times, or not as it should be.
    #[error("the header {0} is not there once, as it should be")]
    Header(&'static str),
    /// It was signed too long ago, or the clocks differ too much.
    #[error("it was signed at {signed}, in seconds, and now it is {now}")]
    Time {
        /// When it was signed, in seconds since 1970, by the clock of the sender.
        signed: u64,
        /// The time here, in seconds since 1970.
        now: u64,
    },
    /// None of the signatures is right.
    #[error("it is not signed with a secret that is known here")]
    Signature,
    /// It is signed, and not a message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// As in the libraries of Standard Webhooks: longer than the attempts of a request take and clocks differ.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

impl Verifier {
    /// Takes what is signed with one of these secrets, each `whsec_` and 24 to 64 bytes in base64; at least one.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, Invalid> {
        let secrets = secrets.into_iter();
        let secrets: Vec<_> = secrets
            .map(|secret| Secret::read(secret.as_ref()))
            .collect::<Result<_, _>>()?;
        if secrets.is_empty() {
            return Err(Invalid::new("secrets", "none", "must be at least one"));
        }
        Ok(Self {
            secrets,
            tolerance: TOLERANCE,
        })
    }

    /// So long ago, or ahead, a request may have been signed: 1 s to 24 h. Default: 5 min.
    pub fn tolerance(mut self, time: Duration) -> Result<Self, Invalid> {
        if !(Duration::from_secs(1)..=LONGEST).contains(&time) {
            let limit = "must be in 1 s..=24 h";
            return Err(Invalid::new("tolerance", format!("{time:?}"), limit));
        }
        self.tolerance = time;
        Ok(self)
    }

    /// The message of a request. The body is as it came: who parses and writes it anew changes it.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Message, VerifyError> {
        self.verify_at(headers, body, crate::consumer::now())
    }

    /// The message of a request that came at this time.
    pub fn verify_at(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Message, VerifyError> {
        let id = one(headers, ID)?;
        let timestamp = one(headers, TIMESTAMP)?;
        let signatures = one(headers, SIGNATURE)?;
        if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VerifyError::Header(TIMESTAMP));
        }
        let signed: u64 = timestamp
            .parse()
            .map_err(|_| VerifyError::Header(TIMESTAMP))?;
        let is_signed = self
            .secrets
            .iter()
            .any(|secret| secret.has_signed(id, timestamp, body, signatures));
        if !is_signed {
            return Err(VerifyError::Signature);
        }
        let now = now.as_millis() / 1_000;
        if signed.abs_diff(now) > self.tolerance.as_secs() {
            return Err(VerifyError::Time { signed, now });
        }
        Ok(Message::from_json(body)?)
    }
}

fn one<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, VerifyError> {
    let mut all = headers.get_all(name).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return Err(VerifyError::Header(name));
    };
    value.to_str().map_err(|_| VerifyError::Header(name))
}
