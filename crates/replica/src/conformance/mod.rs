//! What every source has to do, as tests that any source can run.
//!
//! Implement [`Subject`], then write the tests with [`conformance!`](crate::conformance!):
//!
//! ```ignore
//! backstay_replica::conformance!(MySubject::new().await);
//! ```

#![expect(
    clippy::missing_panics_doc,
    reason = "a test that fails panics, and that is all it does"
)]

mod cases;
mod truth;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

pub use cases::*;
pub use truth::every_age_is_true;

use crate::{Backoff, Event, Replica, ReplicaBuilder, Source, Version};

/// A source under test, empty at first, that no other test uses, and what becomes of it.
pub trait Subject: Send + Sync {
    /// A source that has not been asked yet.
    fn source(&self) -> Arc<dyn Source<String, u32>>;

    /// Gives a key this value, or deletes it; the number of a version that has the change. Not by the way that is cut.
    fn put<'s>(&'s self, key: &'s str, value: Option<u32>) -> BoxFuture<'s, u64>;

    /// Gives a key a value that the source can't read.
    fn spoil<'s>(&'s self, key: &'s str) -> BoxFuture<'s, ()>;

    /// Changes something that the source leaves out, such as a key with another prefix; the number of a version after it.
    fn put_aside(&self) -> BoxFuture<'_, u64>;

    /// From now on the way from the source is like this.
    fn way(&self, way: Way);

    /// Lets the source forget what was deleted before, in whatever way it does.
    fn forget(&self) -> BoxFuture<'_, ()>;

    /// Puts another, empty one in the source's place, which has not come as far.
    fn begin_anew(&self) -> BoxFuture<'_, ()>;
}

/// How the way from a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing is in the way.
    Free,
    /// What comes takes at least so long.
    Slow(Duration),
    /// What is on it stays there until it is free again, or is lost.
    Cut,
}

/// Writes one test for each case. The subject is made anew for each.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance!(
            $subject;
            a_snapshot_is_whole,
            changes_are_followed,
            what_is_left_out_moves_the_version,
            nothing_new_is_proved,
            an_age_counts_from_before_the_question,
            a_session_goes_on_after_a_cut,
            much_changes_during_a_cut,
            what_is_forgotten_is_gone,
            another_history_replaces_this,
            what_can_not_be_read_ends_the_session,
            every_age_is_true,
        );
    };
    ($subject:expr; $($case:ident),* $(,)?) => {$(
        #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            $crate::conformance::in_time($crate::conformance::$case(&$subject)).await;
        }
    )*};
}

/// Lets no case wait for ever for what does not come.
pub async fn in_time(case: impl Future<Output = ()>) {
    let ended = timeout(Duration::from_secs(120), case).await;
    ended.expect("it ends within two minutes");
}

/// Short, so that a test need not wait, and long for a busy machine.
const HEARTBEAT: Duration = Duration::from_millis(300);

/// A copy, and what was heard of it.
#[derive(Debug)]
pub struct Copy {
    /// It proves what it has every 300 ms.
    pub replica: Replica<String, u32>,
    heard: Arc<Mutex<Vec<Event>>>,
}

impl Copy {
    /// The first one, whole.
    pub async fn of(subject: &dyn Subject) -> Self {
        let heard = Arc::<Mutex<Vec<Event>>>::default();
        let hear = heard.clone();
        let backoff = Backoff::decorrelated(Duration::from_millis(20)).cap(HEARTBEAT);
        let builder = ReplicaBuilder::new(subject.source())
            .heartbeat(HEARTBEAT)
            .backoff(backoff)
            .ready_within(Duration::from_secs(60))
            .on_event(move |event| {
                let mut heard = hear.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push(event.clone());
            });
        let replica = builder.build().expect("good options").start().await;
        Self {
            replica: replica.expect("a copy"),
            heard,
        }
    }

    /// What it says of a key.
    pub fn value(&self, key: &str) -> Option<u32> {
        let reading = self.replica.peek(key).expect("a reading");
        reading.value.as_deref().copied()
    }

    /// What it holds.
    pub fn version(&self) -> Version {
        self.replica.version().expect("a copy")
    }

    /// Waits until the copy holds a number of its history.
    pub async fn holds(&self, number: u64) {
        self.until(|| number <= self.version().number).await;
    }

    /// Waits until it is so.
    pub async fn until(&self, is_so: impl Fn() -> bool) {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// How often it was heard.
    pub fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|event| is_it(event)).count()
    }

    /// Refuses more than one snapshot.
    pub fn has_gone_on(&self) {
        let snapshots = self.count(|event| matches!(event, Event::Synced { .. }));
        assert_eq!(snapshots, 1, "{:?}", self.heard);
    }

    /// Waits until a session has ended.
    pub async fn is_cut(&self) {
        let ended = || self.count(|event| matches!(event, Event::SessionEnded { .. }));
        let before = ended();
        self.until(|| ended() > before).await;
    }
}
