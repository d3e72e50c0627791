//! How a record lies in the store.

use backstay_store::Owner;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Fingerprint, Withdrawn};

/// Version of the form below.
const VERSION: u32 = 1;

/// What is known of a key.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) owner: String,
    pub(crate) standing: Standing,
}

/// How far the work of a key has come.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Without an answer as long as the work runs, or has ended with its effect unknown.
    Asked {
        fingerprint: String,
        answer: Option<Kept>,
    },
    /// It is not to be done any more.
    Withdrawn(Withdrawn),
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    state: State,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    was: Option<Was>,
    owner: &'a str,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    answer: Option<&'a RawValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Running,
    Finished,
    Withdrawn,
}

/// What was known of the work when its key was withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Was {
    Done,
    Unseen,
    Unknown,
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
        let missing = |member| KeptError::Malformed(Error::missing_field(member));
        let asked = |answer| {
            let fingerprint = envelope.fingerprint.ok_or_else(|| missing("fingerprint"))?;
            Ok(Standing::Asked {
                fingerprint: fingerprint.to_owned(),
                answer,
            })
        };
        let kept = || Kept {
            // An answer that is `null` reads as none.
            answer: envelope.answer.unwrap_or(RawValue::NULL).to_owned(),
            owner: envelope.owner.to_owned(),
        };
        let standing = match envelope.state {
            State::Running => asked(None)?,
            State::Finished => asked(Some(kept()))?,
            State::Withdrawn => {
                Standing::Withdrawn(match envelope.was.ok_or_else(|| missing("was"))? {
                    Was::Done => Withdrawn::Done(kept()),
                    Was::Unseen => Withdrawn::Unseen,
                    Was::Unknown => Withdrawn::Unknown,
                })
            }
        };
        Ok(Self {
            owner: envelope.owner.to_owned(),
            standing,
        })
    }
}

/// The bytes of a tombstone. They are fewer than those of the finished record in whose place it comes.
pub(crate) fn tombstone(owner: Owner, was: &Withdrawn) -> Vec<u8> {
    let (was, answer) = match was {
        Withdrawn::Done(kept) => (Was::Done, Some(&*kept.answer)),
        Withdrawn::Unseen => (Was::Unseen, None),
        Withdrawn::Unknown => (Was::Unknown, None),
    };
    bytes(&Envelope {
        version: VERSION,
        state: State::Withdrawn,
        fingerprint: None,
        was: Some(was),
        owner: &owner.to_string(),
        answer,
    })
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
    bytes(&Envelope {
        version: VERSION,
        state,
        fingerprint: Some(fingerprint.as_str()),
        was: None,
        owner: &owner.to_string(),
        answer,
    })
}

fn bytes(envelope: &Envelope<'_>) -> Vec<u8> {
    // Text, numbers and JSON that was written before.
    serde_json::to_vec(envelope).expect("nothing in it can fail")
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
            assert_eq!(answer_of(&bytes).unwrap().get(), answer);
        }
        let bytes = written(&fingerprint(), owner, None);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let expected = format!(
            r#"{{"version":1,"state":"running","fingerprint":"{}","owner":"07070707-0707-0707-0707-070707070707"}}"#,
            fingerprint().as_str()
        );
        assert_eq!(text, expected);
        assert!(answer_of(&bytes).is_none());
    }

    fn answer_of(record: &[u8]) -> Option<Box<RawValue>> {
        match Record::read(record).unwrap().standing {
            Standing::Asked { answer, .. } => answer.map(|kept| kept.answer),
            Standing::Withdrawn(was) => panic!("{was:?}"),
        }
    }

    /// SAG-4: a tombstone is read back with what was known, and fits wherever the finished record did.
    #[test]
    fn a_tombstone_is_read_back() {
        let owner = Owner::from_bytes([7; 16]);
        let answer = RawValue::from_string(r#"{"n":1}"#.to_owned()).unwrap();
        let finished = written(&fingerprint(), owner, Some(&answer));
        let kept = Kept {
            answer,
            owner: owner.to_string(),
        };
        for was in [Withdrawn::Done(kept), Withdrawn::Unseen, Withdrawn::Unknown] {
            let bytes = tombstone(owner, &was);
            assert!(bytes.len() < finished.len());
            let Standing::Withdrawn(read) = Record::read(&bytes).unwrap().standing else {
                panic!("it is a tombstone");
            };
            assert_eq!(format!("{read:?}"), format!("{was:?}"));
        }
        let text = String::from_utf8(tombstone(owner, &Withdrawn::Unseen)).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"state":"withdrawn","was":"unseen","owner":"07070707-0707-0707-0707-070707070707"}"#
        );
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
            r#"{"version":1,"state":"finished","owner":""}"#,
            r#"{"version":1,"state":"withdrawn","owner":""}"#,
        ] {
            assert!(matches!(read(text), KeptError::Malformed(_)), "{text}");
        }
    }
}
