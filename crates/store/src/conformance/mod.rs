//! What every backend has to do, as tests that any backend can run.
//!
//! Implement [`Subject`], then write the tests with [`conformance!`](crate::conformance!):
//!
//! ```ignore
//! backstay_store::conformance!(MySubject::new().await);
//! ```

#![expect(
    clippy::missing_panics_doc,
    reason = "a test that fails panics, and that is all it does"
)]

mod claims;
mod commits;
mod concurrency;
mod expiry;
mod keys;
mod limits;
mod streams;

use futures_util::future::BoxFuture;

pub use claims::*;
pub use commits::*;
pub use concurrency::*;
pub use expiry::*;
pub use keys::*;
pub use limits::*;
pub use streams::*;

use crate::{Event, Store, TestClock, Timestamp};

/// A backend under test, with storage of its own that is empty at first.
pub trait Subject: Send + Sync {
    /// The storage, as another process would open it.
    fn open(&self) -> BoxFuture<'_, Store>;

    /// What the storage takes for the time; it begins at [`START`].
    fn clock(&self) -> TestClock;
}

/// Where the clock of a [`Subject`] begins.
pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Writes one test for each case. The subject is made anew for each.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance!(
            $subject;
            a_batch_is_all_or_nothing,
            a_lost_answer_is_found_again,
            a_batch_without_changes_is_committed,
            an_expected_version_is_held_against_the_stream,
            a_stream_is_read_in_pages,
            all_streams_are_read_in_one_order,
            a_tail_waits_for_what_comes,
            a_position_can_be_waited_for,
            an_expected_revision_is_held_against_the_key,
            a_key_changed_twice_in_a_batch_has_its_last_value,
            a_key_that_is_not_changed_can_be_a_condition,
            keys_are_listed_by_prefix_in_pages,
            a_watch_tells_the_newest_change_of_each_key,
            a_fence_refuses_lower_tokens,
            a_refused_batch_does_not_raise_its_fence,
            a_claim_has_one_holder,
            every_holding_has_a_higher_epoch,
            a_lapsed_claim_can_not_be_renewed,
            a_take_over_fences_who_held_before,
            a_take_over_never_lowers_a_fence,
            one_of_many_gets_a_claim,
            a_key_expires_by_the_stores_clock,
            an_expired_key_is_told_to_watchers,
            the_stores_clock_does_not_go_back,
            a_clock_that_was_wrong_holds_nothing_up,
            what_has_expired_stays_so,
            no_increment_is_lost,
            one_bad_batch_fails_alone,
            readers_miss_nothing_while_many_write,
            all_is_there_after_a_restart,
            what_is_too_large_is_refused_with_its_limit,
            what_can_not_be_is_not_there,
            a_quiet_watch_forgets_nothing,
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
    let a_minute = std::time::Duration::from_secs(60);
    let ended = tokio::time::timeout(a_minute, case).await;
    ended.expect("it ends within a minute");
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a test says what it appends, and not by reference"
)]
fn event(data: impl ToString) -> Event {
    Event::new("happened", data.to_string())
}
