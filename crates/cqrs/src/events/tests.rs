use backstay_store::{Position, Timestamp, Version};
use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Account {
    Opened {
        owner: String,
    },
    Deposited {
        cents: u64,
    },
    #[serde(rename = "closed")]
    Closed,
    Moved(String, u8),
    Named(String),
}

/// As the store has it.
fn recorded(event: Event) -> Recorded {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let store = backstay_store::MemoryStore::new().into_store();
    let read = runtime.expect("a runtime").block_on(async {
        let batch = backstay_store::Batch::new().append("account/7", event);
        store.commit(batch).await.expect("it is committed");
        store.read("account/7", Version::START, 10).await
    });
    read.expect("it is there").remove(0)
}

fn raw(kind: &str, data: &str) -> Recorded {
    Recorded {
        position: Position::new(1),
        stream: "account/7".to_owned(),
        version: Version::new(1),
        kind: kind.to_owned(),
        data: data.to_owned().into(),
        metadata: bytes::Bytes::default(),
        at: Timestamp::from_millis(0),
    }
}

/// CQ-6: each form of a variant is written under its kind and read as it was.
#[test]
fn what_is_written_is_read() {
    let events = Events::<Account>::new().expect("it is an enum");
    let all = [
        (
            Account::Opened {
                owner: "eva".to_owned(),
            },
            "Opened",
            r#"{"owner":"eva"}"#,
        ),
        (Account::Closed, "closed", "null"),
        (
            Account::Moved("a\"b".to_owned(), 7),
            "Moved",
            r#"["a\"b",7]"#,
        ),
        (Account::Named("x".to_owned()), "Named", r#""x""#),
    ];
    for (event, kind, data) in all {
        let stored = recorded(events.write(&event).expect("it is JSON"));
        assert_eq!((&*stored.kind, &*stored.data), (kind, data.as_bytes()));
        assert_eq!(
            events.read(&stored).expect("it is read"),
            Read::Known(event)
        );
    }
}

/// CQ-6: an old event is read as one of today, through each version; one of tomorrow is unknown, not an error.
#[test]
fn old_events_are_read_as_new_ones() {
    let events = Events::<Account>::new().expect("it is an enum");
    let events = events
        .upcast("Deposited", 1, |data| {
            Ok(json!({ "euros": data["amount"] }))
        })
        .and_then(|events| {
            events.upcast("Deposited", 2, |data| {
                let euros = data["euros"].as_u64().ok_or("it has no euros")?;
                Ok(json!({ "cents": euros * 100 }))
            })
        })
        .expect("they follow on each other");
    let written = recorded(
        events
            .write(&Account::Deposited { cents: 5 })
            .expect("JSON"),
    );
    assert_eq!(written.kind, "Deposited.v3");
    for (kind, data, cents) in [
        ("Deposited", r#"{"amount":3}"#, 300),
        ("Deposited.v2", r#"{"euros":3}"#, 300),
        ("Deposited.v3", r#"{"cents":3}"#, 3),
    ] {
        let read = events.read(&raw(kind, data)).expect("it is read");
        assert_eq!(read, Read::Known(Account::Deposited { cents }));
    }
    for kind in ["Deposited.v4", "Audited", "Deposited.v1", "Deposited.v03"] {
        let read = events.read(&raw(kind, "{}")).expect("it is kept");
        assert_eq!(read, Read::Unknown, "{kind}");
    }
    let broken = events
        .read(&raw("Deposited.v2", "{}"))
        .expect_err("no euros");
    assert!(matches!(broken, EventError::Upcast { .. }), "{broken:?}");
    let broken = events.read(&raw("Opened", "{}")).expect_err("no owner");
    assert_eq!(
        broken.to_string(),
        r#"event "Opened" of stream "account/7", version 1"#
    );
}

/// CQ-6: a receiver reads messages as the log is read: old ones as new ones, later ones as unknown.
#[test]
fn old_messages_are_read_as_new_ones() {
    let events = Events::<Account>::new().and_then(|events| {
        events.upcast("Deposited", 1, |data| {
            let euros = data["amount"].as_u64().ok_or("it has no amount")?;
            Ok(json!({ "cents": euros * 100 }))
        })
    });
    let events = events.expect("a kind of the enum");
    let sent = |kind, data| {
        let message = Message::new("/accounts", &raw(kind, data)).expect("it is JSON");
        Message::from_json(&message.to_json()).expect("it is one")
    };
    for (kind, data, cents) in [
        ("Deposited", r#"{"amount":3}"#, 300),
        ("Deposited.v2", r#"{"cents":3}"#, 3),
    ] {
        let read = events.read_message(&sent(kind, data)).expect("it is read");
        assert_eq!(read, Read::Known(Account::Deposited { cents }));
    }
    let read = events.read_message(&sent("Deposited.v3", "{}"));
    assert_eq!(read.expect("it is kept"), Read::Unknown);
    let broken = events.read_message(&sent("Opened", "{}"));
    assert_eq!(
        broken.expect_err("no owner").to_string(),
        r#"event "Opened" of stream "account/7", version 1"#
    );
}

/// CQ-6: what could not be read again is not written.
#[test]
fn what_could_not_be_read_is_not_written() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Odd {
        Measured(f64),
        #[serde(rename(serialize = "renamed"))]
        Named,
    }
    let events = Events::<Odd>::new().expect("it is an enum");
    events.write(&Odd::Measured(1.5)).expect("it is a number");
    for event in [Odd::Measured(f64::NAN), Odd::Named] {
        let refused = events.write(&event).expect_err("it could not be read");
        assert!(
            matches!(refused, EventError::Unreadable { .. }),
            "{refused:?}"
        );
    }
}

/// What can't be written and read so is refused at the start, by name.
#[test]
fn what_is_no_enum_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct Plain {
        a: u8,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        A { a: u8 },
    }
    #[derive(Serialize, Deserialize)]
    enum Odd {
        #[serde(rename = "A.v2")]
        A,
    }
    let errors = [
        Events::<Plain>::new().expect_err("a struct").to_string(),
        Events::<Tagged>::new().expect_err("tagged").to_string(),
        Events::<Odd>::new()
            .expect_err("like a version")
            .to_string(),
        Events::<Account>::new()
            .and_then(|events| events.upcast("Opened", 2, Ok))
            .expect_err("1 comes first")
            .to_string(),
        Events::<Account>::new()
            .and_then(|events| events.upcast("Shut", 1, Ok))
            .expect_err("no kind")
            .to_string(),
    ];
    let said = [
        "must be an enum",
        "must be an enum",
        "must not end as a version does",
        "from = 2: must be 1",
        r#"kind = "Shut": must be a kind of the enum"#,
    ];
    for (error, said) in errors.iter().zip(said) {
        assert!(error.contains(said), "{error}");
    }
}
