use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;

use super::{Copy, HEARTBEAT, Subject, Way};
use crate::{Ended, Event, MaxAge};

/// More than a source tells at once.
const MANY: u32 = 1_100;
const AT_ONCE: usize = 100;

/// REP-3: a first copy has all keys, however many pages they take, by their names without the prefix, and no others.
pub async fn a_snapshot_is_whole(subject: &dyn Subject) {
    subject.put_aside().await;
    put_many(subject, Some).await;
    subject.put("k.7", None).await;
    let copy = Copy::of(subject).await;
    assert_eq!(copy.replica.len(), MANY as usize - 1);
    for number in 0..MANY {
        let value = (number != 7).then_some(number);
        assert_eq!(copy.value(&format!("k.{number}")), value);
    }
    subject.put_aside().await;
    assert_eq!(copy.replica.len(), MANY as usize - 1);
}

/// REP-3: changes and deletes are in the copy when it holds their version, and none of them begins it anew.
pub async fn changes_are_followed(subject: &dyn Subject) {
    subject.put("a", Some(1)).await;
    let copy = Copy::of(subject).await;
    assert_eq!(copy.value("a"), Some(1));
    let mut last = copy.version();
    for value in [Some(2), None, Some(3), None] {
        let number = subject.put("a", value).await;
        copy.holds(number).await;
        assert_eq!(copy.value("a"), value);
        assert!(copy.version() > last, "{last} and {}", copy.version());
        last = copy.version();
    }
    let number = subject.put("b", Some(4)).await;
    copy.holds(number).await;
    assert_eq!((copy.value("a"), copy.value("b")), (None, Some(4)));
    copy.has_gone_on();
}

/// REP-3: what the source leaves out is not in the copy, and its version says that it is not waited for.
pub async fn what_is_left_out_moves_the_version(subject: &dyn Subject) {
    subject.put("a", Some(1)).await;
    let copy = Copy::of(subject).await;
    for _ in 0..3 {
        let number = subject.put_aside().await;
        copy.holds(number).await;
    }
    assert_eq!((copy.replica.len(), copy.value("a")), (1, Some(1)));
    copy.has_gone_on();
}

/// REP-1, REP-4: that nothing has changed is proved again and again, and at once for whoever asks for a young copy.
pub async fn nothing_new_is_proved(subject: &dyn Subject) {
    subject.put("a", Some(1)).await;
    let copy = Copy::of(subject).await;
    let clock = crate::Clock::machine();
    let proven = || clock.now().minus(copy.replica.age().expect("a copy"));
    for _ in 0..3 {
        let before = proven().plus(HEARTBEAT / 2);
        copy.until(|| proven() > before).await;
    }
    let young = MaxAge::new(HEARTBEAT / 2).wait(Duration::from_secs(60));
    for _ in 0..3 {
        let reading = copy.replica.get("a", young).await.expect("a proof");
        assert!(reading.age <= HEARTBEAT / 2);
    }
    copy.has_gone_on();
}

/// REP-1: however late an answer is, the age counts from before its question.
pub async fn an_age_counts_from_before_the_question(subject: &dyn Subject) {
    subject.put("a", Some(1)).await;
    let late = HEARTBEAT / 3;
    subject.way(Way::Slow(late));
    let copy = Copy::of(subject).await;
    for value in 2..12 {
        let number = subject.put("a", Some(value)).await;
        let young = MaxAge::new(late * 2).wait(HEARTBEAT);
        // Whether it is to be had or not, it is asked for.
        let _ = copy.replica.get("a", young).await;
        let age = copy.replica.age().expect("a copy");
        assert!(age >= late, "{age:?}");
        if value % 5 == 0 {
            copy.holds(number).await;
        }
    }
}

/// REP-3, REP-4: a source that is not heard is given up, and a later session goes on where it ended, without a snapshot.
pub async fn a_session_goes_on_after_a_cut(subject: &dyn Subject) {
    for key in ["a", "b", "c"] {
        subject.put(key, Some(1)).await;
    }
    let copy = Copy::of(subject).await;
    let number = subject.put("b", Some(2)).await;
    copy.holds(number).await;
    subject.way(Way::Cut);
    subject.put("a", None).await;
    subject.put("b", Some(3)).await;
    let number = subject.put("d", Some(4)).await;
    copy.is_cut().await;
    copy.is_cut().await;
    let age = copy.replica.age().expect("a copy");
    assert!(age >= HEARTBEAT * 2, "{age:?}");
    let left = |key| copy.value(key);
    assert_eq!((left("a"), left("b"), left("d")), (Some(1), Some(2), None));
    subject.way(Way::Free);
    copy.holds(number).await;
    assert_eq!((left("a"), left("b")), (None, Some(3)));
    assert_eq!((left("c"), left("d")), (Some(1), Some(4)));
    copy.has_gone_on();
}

/// REP-3: so does one that has more to catch up with than is told at once, with all that was deleted.
pub async fn much_changes_during_a_cut(subject: &dyn Subject) {
    put_many(subject, Some).await;
    let copy = Copy::of(subject).await;
    subject.way(Way::Cut);
    let changed = |number| (number % 2 == 0).then_some(number + MANY);
    let last = put_many(subject, changed).await;
    copy.is_cut().await;
    subject.way(Way::Free);
    copy.holds(last).await;
    for number in 0..MANY {
        assert_eq!(copy.value(&format!("k.{number}")), changed(number));
    }
    copy.has_gone_on();
}

/// The highest number of them.
async fn put_many(subject: &dyn Subject, value: impl Fn(u32) -> Option<u32>) -> u64 {
    let (names, value) = (|number| format!("k.{number}"), &value);
    let put = iter(0..MANY).map(|number| async move {
        let name = names(number);
        subject.put(&name, value(number)).await
    });
    let numbers = put.buffer_unordered(AT_ONCE);
    numbers.fold(0, async |last, number| last.max(number)).await
}

/// REP-3: what was deleted, and is forgotten before the source is heard again, is gone from the copy.
pub async fn what_is_forgotten_is_gone(subject: &dyn Subject) {
    for key in ["a", "b", "c"] {
        subject.put(key, Some(1)).await;
    }
    let copy = Copy::of(subject).await;
    subject.way(Way::Cut);
    copy.is_cut().await;
    subject.put("a", None).await;
    subject.put("c", Some(2)).await;
    let number = subject.put("c", None).await;
    subject.forget().await;
    subject.way(Way::Free);
    copy.holds(number).await;
    copy.until(|| copy.value("a").is_none()).await;
    assert_eq!((copy.value("b"), copy.value("c")), (Some(1), None));
    let number = subject.put("a", Some(3)).await;
    copy.holds(number).await;
    assert_eq!(copy.value("a"), Some(3));
}

/// REP-3: another source in the place of this, which has not come as far, begins another epoch and replaces the copy.
pub async fn another_history_replaces_this(subject: &dyn Subject) {
    for value in 1..=20 {
        subject.put("a", Some(value)).await;
        subject.put("b", Some(value)).await;
    }
    let copy = Copy::of(subject).await;
    let before = copy.version();
    subject.begin_anew().await;
    subject.put("a", Some(100)).await;
    copy.until(|| copy.version().epoch > before.epoch).await;
    copy.until(|| copy.value("a") == Some(100)).await;
    assert_eq!((copy.value("b"), copy.replica.len()), (None, 1));
    let changed = |event: &Event| matches!(event, Event::EpochChanged { .. });
    assert_eq!(copy.count(changed), 1);
    let number = subject.put("b", Some(101)).await;
    copy.holds(number).await;
    assert_eq!(copy.value("b"), Some(101));
}

/// REP-3: a value that can't be read ends the session, and the copy stays as it is until the source can be read again.
pub async fn what_can_not_be_read_ends_the_session(subject: &dyn Subject) {
    subject.put("a", Some(1)).await;
    let copy = Copy::of(subject).await;
    subject.spoil("b").await;
    let failed = |event: &Event| {
        let is_failed = |reason: &Ended| matches!(reason, Ended::Failed(_));
        matches!(event, Event::SessionEnded { reason, .. } if is_failed(reason))
    };
    copy.until(|| copy.count(failed) >= 2).await;
    assert_eq!((copy.value("a"), copy.value("b")), (Some(1), None));
    let number = subject.put("b", Some(2)).await;
    copy.holds(number).await;
    assert_eq!((copy.value("a"), copy.value("b")), (Some(1), Some(2)));
}
