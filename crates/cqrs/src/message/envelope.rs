use backstay_store::{Position, Recorded, Timestamp, Version};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event on its way to others, in the words of [CloudEvents 1.0](https://github.com/cloudevents/spec).
///
/// As JSON it is a structured-mode event: `application/cloudevents+json`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// The same whenever it is sent: the stream and the event's number in it. Whoever takes it once remembers this.
    pub id: String,
    /// Who tells it, as the relay says.
    pub source: String,
    /// The event's kind, and the kind's version.
    pub kind: String,
    /// The stream. Messages of one come in order.
    pub key: String,
    /// When it was written, by the clock of the store.
    pub at: Timestamp,
    /// Its place in the log of its source.
    pub position: Position,
    /// The event, as JSON.
    pub data: Box<RawValue>,
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// They are not JSON of this form.
    #[error("it is not a CloudEvent as a relay sends it")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error("specversion = {0:?}: must be \"1.0\"")]
    Version(String),
    /// Its time can't be read.
    #[error("time = {0:?}: must be a time as in RFC 3339")]
    Time(String),
    /// Its place in the log can't be read.
    #[error("sequence = {0:?}: must be a number")]
    Sequence(String),
}

/// A message as it is on the wire.
#[derive(Serialize, Deserialize)]
struct Wire {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: String,
    partitionkey: String,
    /// The position in the source's log, as text: JSON numbers are not that exact everywhere.
    sequence: String,
    data: Box<RawValue>,
}

impl Message {
    /// None if the event's data is not JSON.
    pub(crate) fn new(source: &str, recorded: &Recorded) -> Option<Self> {
        let data = std::str::from_utf8(&recorded.data).ok()?;
        Some(Self {
            id: format!("{}/{}", recorded.stream, recorded.version),
            source: source.to_owned(),
            kind: recorded.kind.clone(),
            key: recorded.stream.clone(),
            at: recorded.at,
            position: recorded.position,
            data: RawValue::from_string(data.to_owned()).ok()?,
        })
    }

    /// As a `CloudEvent` in JSON.
    pub fn to_json(&self) -> Bytes {
        let wire = Wire {
            specversion: VERSION.to_owned(),
            id: self.id.clone(),
            source: self.source.clone(),
            kind: self.kind.clone(),
            subject: self.key.clone(),
            time: rfc3339(self.at),
            datacontenttype: "application/json".to_owned(),
            partitionkey: self.key.clone(),
            sequence: format!("{:020}", self.position.get()),
            data: self.data.clone(),
        };
        serde_json::to_vec(&wire).unwrap_or_default().into()
    }

    /// From a `CloudEvent` in JSON, as a relay sends it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, MessageError> {
        let wire: Wire = serde_json::from_slice(bytes)?;
        if wire.specversion != VERSION {
            return Err(MessageError::Version(wire.specversion));
        }
        let time: Option<jiff::Timestamp> = wire.time.parse().ok();
        let millis = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
        let millis = millis.ok_or(MessageError::Time(wire.time))?;
        let position = wire.sequence.parse().ok();
        let position = position.ok_or(MessageError::Sequence(wire.sequence))?;
        Ok(Self {
            id: wire.id,
            source: wire.source,
            kind: wire.kind,
            key: wire.partitionkey,
            at: Timestamp::from_millis(millis),
            position: Position::new(position),
            data: wire.data,
        })
    }

    /// The event's place in its stream; the start where the id does not end with it.
    pub(crate) fn version(&self) -> Version {
        let number = self
            .id
            .rsplit_once('/')
            .and_then(|(_, number)| number.parse().ok());
        number.map_or(Version::START, Version::new)
    }

    /// The event, as a value. [`Events::read_message`](crate::Events::read_message) reads all kinds, and old versions of them.
    pub fn read<'m, T: Deserialize<'m>>(&'m self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.data.get())
    }
}

const VERSION: &str = "1.0";

fn rfc3339(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not as a relay sends it is refused, by its field.
    #[test]
    fn a_field_that_can_not_be_is_named() {
        let with = |specversion: &str, time: &str, sequence: &str| {
            let text = serde_json::json!({
                "specversion": specversion, "id": "a/1", "source": "/s", "type": "Placed", "subject": "a", "time": time,
                "datacontenttype": "application/json", "partitionkey": "a", "sequence": sequence, "data": {},
            });
            Message::from_json(text.to_string().as_bytes())
        };
        let time = "2026-01-01T00:00:00Z";
        let read = with("1.0", time, "00000000000000000007").expect("it is one");
        assert_eq!(read.position, Position::new(7));
        let read = Message::from_json(&read.to_json()).expect("it is one");
        assert_eq!((read.position, &*read.id), (Position::new(7), "a/1"));
        for (message, field) in [
            (with("0.3", time, "7"), "specversion"),
            (with("1.0", "yesterday", "7"), "time"),
            (with("1.0", time, "x"), "sequence"),
        ] {
            let error = message.expect_err("it can't be").to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
