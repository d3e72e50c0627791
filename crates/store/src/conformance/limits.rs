use std::time::Duration;

use super::{Subject, event};
use crate::{
    Append, Batch, ClaimError, CommitError, Event, Expected, Fence, Limits, Owner, Position, Put,
    Version,
};

/// STO-8: what breaks a limit is refused before anything happens, with field, value and limit.
pub async fn what_is_too_large_is_refused_with_its_limit(subject: &dyn Subject) {
    let limits = Limits {
        name_bytes: 20,
        value_bytes: 100,
        changes: 3,
        batch_bytes: 150,
    };
    let store = subject.open().await.with_limits(limits).expect("limits");
    let name = "n".repeat(21);
    let value = vec![0; 101];
    let much = || vec![0; 60];
    let too_long = Duration::from_secs(400 * 24 * 60 * 60);
    let huge = Version::new(u64::MAX);
    let cases = [
        (Batch::new().put(&name, "v"), "key", "21 bytes"),
        (Batch::new().put("", "v"), "key", "0 bytes"),
        (Batch::new().put("a\nb", "v"), "key", "control"),
        (Batch::new().put("k", value.clone()), "value of key", "101"),
        (Batch::new().append(&name, event(1)), "stream", "21 bytes"),
        (
            Batch::new().append("s", Event::new("", "")),
            "event.kind",
            "0 bytes",
        ),
        (
            Batch::new().append("s", Event::new("k", value.clone())),
            "data of",
            "101",
        ),
        (
            Batch::new().append("s", Event::new("k", "").metadata(value)),
            "metadata of",
            "101",
        ),
        (Batch::new().append("s", Vec::new()), "append", "no event"),
        (
            Batch::new().append("s", vec![event(1), event(2), event(3), event(4)]),
            "batch, changes",
            "at most 3 (limits.changes)",
        ),
        (
            Batch::new()
                .put("a", much())
                .put("b", much())
                .put("c", much()),
            "batch, bytes",
            "limits.batch_bytes",
        ),
        (
            Batch::new().put("k", Put::new("v").expires_after(Duration::ZERO)),
            "expires_after",
            "1 ms",
        ),
        (
            Batch::new().put("k", Put::new("v").expires_after(too_long)),
            "expires_after",
            "366 days",
        ),
        (
            Batch::new().append("s", Append::new(event(1)).expecting(huge)),
            "expected version",
            "18446744073709551615",
        ),
        (
            Batch::new().fenced(Fence::new("f", u64::MAX)),
            "fence.token",
            "at most",
        ),
        (
            Batch::new().fenced(Fence::new(&name, 1)),
            "fence.name",
            "21 bytes",
        ),
        (Batch::new().delete(&name, Expected::Any), "key", "21 bytes"),
    ];
    for (batch, field, told) in cases {
        let Err(CommitError::Invalid(invalid)) = store.commit(batch).await else {
            panic!("{field} was taken");
        };
        let text = invalid.to_string();
        assert!(text.starts_with(field) && text.contains(told), "{text}");
    }
    for (name, ttl) in [(name.as_str(), Duration::from_secs(1)), ("job", too_long)] {
        let refused = store.claim(name, Owner::new(), ttl).await;
        assert!(
            matches!(refused, Err(ClaimError::Invalid(_))),
            "{refused:?}"
        );
    }
    assert_eq!(store.head().await, Ok(Position::START));
    let most = Batch::new()
        .put("k".repeat(20), vec![0; 100])
        .put("b", vec![0; 50]);
    assert!(store.commit(most).await.is_ok());
    let zero = Limits {
        changes: 0,
        ..Limits::default()
    };
    assert!(store.with_limits(zero).is_err());
}

/// STO-8, STO-9: what lies beyond every number and every name is empty, and a claim that is given can be fenced.
pub async fn what_can_not_be_is_not_there(subject: &dyn Subject) {
    let store = subject.open().await;
    let commit = Batch::new()
        .append("stream", event("one"))
        .put("key", "value");
    store.commit(commit).await.expect("a commit");
    let beyond = [
        i64::MAX.unsigned_abs(),
        i64::MAX.unsigned_abs() + 1,
        u64::MAX,
    ];
    for number in beyond {
        let events = store.read_all(Position::new(number), 10).await;
        assert_eq!(events, Ok(Vec::new()), "{number}");
        let events = store.read("stream", Version::new(number), 10).await;
        assert_eq!(events, Ok(Vec::new()), "{number}");
    }
    assert_eq!(store.get("key\0").await, Ok(None));
    assert_eq!(
        store.read("stream\0", Version::START, 10).await,
        Ok(Vec::new())
    );
    assert_eq!(store.list("key\0", "", 10).await, Ok(Vec::new()));
    assert_eq!(store.holder("key\0").await, Ok(None));
    let keys = store.list("", "a\0", 10).await.expect("a list");
    assert_eq!(keys.len(), 1);

    let ttl = Duration::from_secs(10);
    let longest = "n".repeat(255 - "claim:".len());
    let claim = store
        .claim(&longest, Owner::new(), ttl)
        .await
        .expect("free");
    let fenced = Batch::new().fenced(claim.fence());
    assert!(store.commit(fenced).await.is_ok());
    let longer = store.claim(&format!("{longest}n"), Owner::new(), ttl).await;
    assert!(matches!(longer, Err(ClaimError::Invalid(_))), "{longer:?}");
}
