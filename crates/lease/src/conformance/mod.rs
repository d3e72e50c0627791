//! What every home of leases has to do, as tests that any home can run.
//!
//! Implement [`Subject`], then write the tests with [`conformance!`](crate::conformance!):
//!
//! ```ignore
//! backstay_lease::conformance!(MySubject::new().await);
//! ```

#![expect(
    clippy::missing_panics_doc,
    reason = "a test that fails panics, and that is all it does"
)]

mod elections;
mod faulty;
mod homes;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use elections::*;
pub use faulty::{Fate, Faulty};
pub use homes::*;

use crate::{Acquired, Lease, Leases, Owner, Wanted};

/// A home under test, that no other test uses.
pub trait Subject: Send + Sync {
    /// The home, as another process would reach it.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Leases>>;

    /// The same for leases of another time to live, where a home has one for each.
    fn open_for(&self, _ttl: Duration) -> BoxFuture<'_, Arc<dyn Leases>> {
        self.open()
    }

    /// As short a lease as it can give.
    fn ttl(&self) -> Duration;

    /// How much longer than that it may take to notice that a lease is over.
    fn late(&self) -> Duration;
}

/// Writes one test for each case. The subject is made anew for each.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance!(
            $subject;
            a_name_has_one_holder,
            every_term_has_a_higher_token,
            one_of_many_acquires,
            a_lapsed_lease_can_not_be_renewed,
            a_renewed_lease_lasts,
            a_former_holder_changes_nothing,
            a_lost_answer_is_found_by_its_owner,
            a_change_is_hinted,
            any_name_will_do,
            a_leader_hands_over,
            work_is_stopped_before_anybody_else_leads,
            a_lost_release_lapses,
            late_and_lost_answers_never_make_two_leaders,
            observers_see_who_leads,
            dropped_candidates_leave_nothing_behind,
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
    let two_minutes = Duration::from_secs(120);
    let ended = tokio::time::timeout(two_minutes, case).await;
    ended.expect("it ends within two minutes");
}

/// Asks for a name, as somebody new.
fn wanted(subject: &dyn Subject, name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        owner: Owner::new(),
        about: "127.0.0.1:80 or so".to_owned(),
        ttl: subject.ttl(),
    }
}

async fn acquire(leases: &dyn Leases, wanted: &Wanted) -> Acquired {
    leases.acquire(wanted.clone()).await.expect("an answer")
}

async fn granted(leases: &dyn Leases, wanted: &Wanted) -> Lease {
    match acquire(leases, wanted).await {
        Acquired::Granted(lease) => lease,
        held @ Acquired::Held(_) => panic!("it is not free: {held:?}"),
    }
}

/// Asks until it is granted.
async fn granted_at_last(leases: &dyn Leases, wanted: &Wanted) -> Lease {
    loop {
        match acquire(leases, wanted).await {
            Acquired::Granted(lease) => return lease,
            Acquired::Held(_) => tokio::time::sleep(wanted.ttl / 20).await,
        }
    }
}
