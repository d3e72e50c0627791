use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Invalid;

/// What both sides know.
#[derive(Clone)]
pub(super) struct Secret(Hmac<Sha256>);

const PREFIX: &str = "whsec_";
/// As Standard Webhooks has it.
const BYTES: RangeInclusive<usize> = 24..=64;
const VERSION: &str = "v1,";

impl Secret {
    /// From `whsec_` and base64. What is wrong with it is said without it.
    pub(super) fn read(text: &str) -> Result<Self, Invalid> {
        let limit = "must be `whsec_` and 24 to 64 bytes in base64";
        let wrong = || Invalid::new("secret", "(not shown)", limit);
        let coded = text.strip_prefix(PREFIX).ok_or_else(wrong)?;
        let bytes = STANDARD.decode(coded).map_err(|_| wrong())?;
        if !BYTES.contains(&bytes.len()) {
            return Err(wrong());
        }
        let mac = Hmac::new_from_slice(&bytes).map_err(|_| wrong())?;
        Ok(Self(mac))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        parts.iter().fold(self.0.clone(), Mac::chain_update)
    }

    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mac = self.mac(id, timestamp, body).finalize().into_bytes();
        format!("{VERSION}{}", STANDARD.encode(mac))
    }

    /// Whether one of the signatures, with spaces between them, is of this secret. The time it takes does not depend on how much
    /// of one is right.
    pub(super) fn has_signed(
        &self,
        id: &str,
        timestamp: &str,
        body: &[u8],
        signatures: &str,
    ) -> bool {
        let mac = self.mac(id, timestamp, body);
        let ours = signatures
            .split(' ')
            .filter_map(|text| text.strip_prefix(VERSION));
        ours.filter_map(|coded| STANDARD.decode(coded).ok())
            .any(|signature| mac.clone().verify_slice(&signature).is_ok())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn it_signs_as_others_do() {
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = secret.sign(id, "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    /// A secret that is too short to be one is refused, and not shown.
    #[test]
    fn what_is_no_secret_is_refused() {
        for text in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_YWJj",
            "whsec_?",
        ] {
            let refused = Secret::read(text).unwrap_err().to_string();
            assert!(text.is_empty() || !refused.contains(text), "{refused}");
        }
    }
}
