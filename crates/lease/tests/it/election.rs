//! What goes wrong around an election.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use backstay_lease::conformance::{Fate, Faulty};
use backstay_lease::{BootClock, Clock, Election, ElectionBuilder, Event, Leases, Moment};
use backstay_store::{Limits, MemoryStore, Store};
use futures_util::future::{BoxFuture, pending};
use tokio::runtime::Runtime;
use tokio::time::timeout;

const TTL: Duration = Duration::from_millis(500);
/// Far more than anything here takes.
const CAP: Duration = Duration::from_secs(30);

fn memory() -> Store {
    MemoryStore::new().into_store()
}

fn builder(leases: impl Leases) -> ElectionBuilder {
    Election::builder(leases, "job").ttl(TTL)
}

/// LEA-3: a listener that panics ends no term half way, and no election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_panics_changes_nothing() {
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = cut.clone();
    let fates = move || {
        if is_cut.load(SeqCst) {
            Fate::LOST
        } else {
            Fate::default()
        }
    };
    let home = Faulty::new(Arc::new(memory()), fates);
    let panics = |event: &Event| panic!("on purpose: {event:?}");
    let election = builder(home).on_event(panics).build().expect("good times");
    let leads = timeout(CAP, election.campaign()).await;
    let leads = leads.expect("it leads").expect("it has not resigned");
    cut.store(true, SeqCst);
    let stopped = timeout(CAP, leads.run(pending::<()>())).await;
    assert!(stopped.expect("its time is up").is_err());
    timeout(CAP, leads.release()).await.expect("it is over");
    cut.store(false, SeqCst);
    let again = timeout(CAP, election.campaign()).await;
    again
        .expect("it leads again")
        .expect("it has not resigned")
        .release()
        .await;
}

/// LEA-3: a term ends with the runtime that keeps it.
#[test]
fn a_term_ends_with_its_runtime() {
    let election = builder(memory()).build().expect("good times");
    let first = Runtime::new().expect("a runtime");
    let leads = first.block_on(election.campaign());
    let leads = leads.expect("it has not resigned");
    drop(first);
    let second = Runtime::new().expect("a runtime");
    second.block_on(async {
        let stopped = timeout(CAP, leads.run(pending::<()>())).await;
        assert!(stopped.expect("it has ended").is_err());
        timeout(CAP, leads.release()).await.expect("it is over");
        timeout(CAP, election.resign())
            .await
            .expect("nothing is left");
    });
}

/// LEA-3: whoever resigns waits at most until the lease is over, also for work that nobody polls.
#[tokio::test]
async fn resigning_ends_with_the_lease() {
    let election = builder(memory()).build().expect("good times");
    let leads = election.campaign().await.expect("it has not resigned");
    let mut work = Box::pin(leads.run(pending::<()>()));
    assert!(timeout(TTL / 10, &mut work).await.is_err(), "it leads");
    timeout(CAP, election.resign())
        .await
        .expect("the lease is over");
    assert!(work.await.is_err());
}

/// A clock that jumps ahead while work blocks the thread.
#[derive(Clone, Debug, Default)]
struct Jumps(Arc<AtomicBool>);

impl Clock for Jumps {
    fn now(&self) -> Moment {
        let ahead = if self.0.load(SeqCst) {
            TTL
        } else {
            Duration::ZERO
        };
        BootClock.now().plus(ahead)
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        BootClock.sleep_until(at)
    }
}

/// LEA-3: work that blocks the only thread past the lease is told to have overrun, and work that ends in time is not.
#[tokio::test(flavor = "current_thread")]
async fn work_that_blocks_the_only_thread_overruns() {
    for blocks in [false, true] {
        let overran = Arc::new(AtomicBool::new(false));
        let (clock, told) = (Jumps::default(), overran.clone());
        let hear = move |event: &Event| {
            if matches!(event, Event::Overran { .. }) {
                told.store(true, SeqCst);
            }
        };
        let builder = builder(memory()).clock(clock.clone()).on_event(hear);
        let election = builder.build().expect("good times");
        let leads = election.campaign().await.expect("it has not resigned");
        let done = leads.run(async { clock.0.store(blocks, SeqCst) }).await;
        assert_eq!(done, Ok(()), "nothing could stop it");
        // What is not begun does not overrun.
        assert_eq!(leads.run(async {}).await.is_err(), blocks);
        timeout(CAP, leads.release()).await.expect("it is over");
        assert_eq!(overran.load(SeqCst), blocks);
    }
}

/// LEA-5: a name that the store would refuse each time is refused at once.
#[test]
fn a_name_has_to_fit_the_store() {
    let mut limits = Limits::default();
    limits.name_bytes = 64;
    let store = memory().with_limits(limits).expect("good limits");
    let refused = |bytes: usize| {
        let built = Election::builder(store.clone(), "n".repeat(bytes)).build();
        built.err().map(|invalid| invalid.to_string())
    };
    assert_eq!(refused(52), None);
    let said = "name, bytes = 53: must be at most 52 bytes in this store";
    assert_eq!(refused(53).as_deref(), Some(said));
}
