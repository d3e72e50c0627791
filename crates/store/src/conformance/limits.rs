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
        (Batch::new().put("k", value.clone()), "value", "101"),
        (Batch::new().append(&name, event(1)), "stream", "21 bytes"),
        (
            Batch::new().append("s", Event::new("", "")),
            "event.kind",
            "0 bytes",
        ),
        (
            Batch::new().append("s", Event::new("k", value.clone())),
            "event.data",
            "101",
        ),
        (
            Batch::new().append("s", Event::new("k", "").metadata(value)),
            "event.metadata",
            "101",
        ),
        (Batch::new().append("s", Vec::new()), "append", "no event"),
        (
            Batch::new().append("s", vec![event(1), event(2), event(3), event(4)]),
            "batch, changes",
            "at most 3",
        ),
        (
            Batch::new()
                .put("a", much())
                .put("b", much())
                .put("c", much()),
            "batch, bytes",
            "180",
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
