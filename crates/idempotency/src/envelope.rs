//! How a record lies in the store.

use backstay_store::Owner;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Fingerprint;

/// Version of the form below.
const VERSION: u32 = 1;

/// What is known of a key.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) fingerprint: String,
    pub(crate) owner: String,
    /// None as long as the work runs, or has ended with its effect unknown.
    pub(crate) answer: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    state: State,
    fingerprint: &'a str,
    owner: &'a str,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    answer: Option<&'a RawValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Running,
    Finished,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a record or its answer can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// It was written by a newer version of this crate. The work is not run again.
    #[error("the record has version {version}, this crate reads up to {VERSION}")]
    Version {
        /// The record's.
        version: u32,
    },
    /// It is not what this crate writes.
    #[error("the record can't be read")]
    Malformed(#[source] serde_json::Error),
    /// The answer is of another type than the one that is asked for.
    #[error("the kept answer can't be read as what is asked for")]
    Answer(#[source] serde_json::Error),
}

impl Record {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, KeptError> {
        let Versioned { version } = serde_json::from_slice(bytes).map_err(KeptError::Malformed)?;
        if version != VERSION {
            return Err(KeptError::Version { version });
        }
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(KeptError::Malformed)?;
        let finished = envelope.state == State::Finished;
        // An answer that is `null` reads as none.
        let answer = finished.then(|| envelope.answer.unwrap_or(RawValue::NULL).to_owned());
        Ok(Self {
            fingerprint: envelope.fingerprint.to_owned(),
            owner: envelope.owner.to_owned(),
            answer,
        })
    }
}

/// The bytes of a record: with an answer it is finished.
pub(crate) fn written(
    fingerprint: &Fingerprint,
    owner: Owner,
    answer: Option<&RawValue>,
) -> Vec<u8> {
    let state = if answer.is_some() {
        State::Finished
    } else {
        State::Running
    };
    let envelope = Envelope {
        version: VERSION,
        state,
        fingerprint: fingerprint.as_str(),
        owner: &owner.to_string(),
        answer,
    };
    // Text, numbers and JSON that was written before.
    serde_json::to_vec(&envelope).expect("nothing in it can fail")
}

/// An answer that was kept.
#[derive(Clone, Debug)]
pub struct Kept {
    pub(crate) answer: Box<RawValue>,
    pub(crate) owner: String,
}

impl Kept {
    /// The answer as this type.
    ///
    /// # Errors
    ///
    /// [`KeptError::Answer`] when it is not of this type.
    pub fn answer<T: DeserializeOwned>(&self) -> Result<T, KeptError> {
        serde_json::from_str(self.answer.get()).map_err(KeptError::Answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint() -> Fingerprint {
        Fingerprint::of_bytes("it")
    }

    /// IDE-1: what is written is read back, an answer that is nothing too; the form is that of the page on formats.
    #[test]
    fn a_record_is_read_back() {
        let owner = Owner::from_bytes([7; 16]);
        for answer in [r#"{"n":100000000000000000001}"#, "null", "[]"] {
            let raw = RawValue::from_string(answer.to_owned()).unwrap();
            let bytes = written(&fingerprint(), owner, Some(&raw));
            let record = Record::read(&bytes).unwrap();
            assert_eq!(record.answer.unwrap().get(), answer);
        }
        let bytes = written(&fingerprint(), owner, None);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let expected = format!(
            r#"{{"version":1,"state":"running","fingerprint":"{}","owner":"07070707-0707-0707-0707-070707070707"}}"#,
            fingerprint().as_str()
        );
        assert_eq!(text, expected);
        assert!(Record::read(&bytes).unwrap().answer.is_none());
    }

    /// IDE-1: a record of an unknown version is an error, whatever else is in it.
    #[test]
    fn an_unknown_version_is_an_error() {
        let read = |text: &str| Record::read(text.as_bytes()).unwrap_err();
        let newer = read(r#"{"version":2,"state":"elsewhere"}"#);
        assert!(
            matches!(newer, KeptError::Version { version: 2 }),
            "{newer}"
        );
        for text in [
            "",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":1,"state":"odd"}"#,
        ] {
            assert!(matches!(read(text), KeptError::Malformed(_)), "{text}");
        }
    }
}
