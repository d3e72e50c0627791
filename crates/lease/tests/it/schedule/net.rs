//! A store behind a bad network, and a home of leases that a test gives and takes away.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_lease::{Acquired, Holder, Invalid, Lease, Leases, Pending, Wanted};
use backstay_store::{
    Backend, Batch, Between, Cause, Commit, CommitError, Effect, MemoryStore, Unavailable,
};
use futures_util::FutureExt;
use futures_util::stream::{BoxStream, StreamExt, pending};
use tokio::sync::oneshot;

/// What becomes of commits.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// All are done, and no answer comes.
    pub(super) silent: AtomicBool,
    /// So many of the next are done, and their answers are lost.
    pub(super) answers_lost: AtomicU32,
    /// None is done.
    pub(super) down: AtomicBool,
    /// Some are late, are not done, or have no answer.
    pub(super) bad: AtomicBool,
}

/// A store in memory whose commits arrive also when nobody waits for them.
#[derive(Clone, Debug)]
pub(super) struct Net(Arc<MemoryStore>, Arc<Fate>);

impl Net {
    pub(super) fn new(fate: Arc<Fate>) -> Self {
        Self(Arc::new(MemoryStore::new()), fate)
    }

    async fn send(&self, batch: Batch) -> Result<Commit, CommitError> {
        let is = |fate: &AtomicBool| fate.load(Ordering::SeqCst);
        if is(&self.1.down) {
            return Err(Unavailable::new(Cause::Busy, Effect::NotExecuted).into());
        }
        if is(&self.1.silent) {
            self.0.commit(batch).await.expect("it is done");
            return std::future::pending().await;
        }
        let less = |left: u32| left.checked_sub(1);
        let lost = &self.1.answers_lost;
        if lost
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok()
        {
            self.0.commit(batch).await.expect("it is done");
            return Err(Unavailable::new(Cause::Busy, Effect::Unknown).into());
        }
        if !is(&self.1.bad) {
            return self.0.commit(batch).await;
        }
        let lost = fastrand::u8(..10);
        if lost == 0 {
            return Err(Unavailable::new(Cause::Busy, Effect::NotExecuted).into());
        }
        let (store, (reply, answer)) = (self.0.clone(), oneshot::channel());
        tokio::spawn(async move {
            late().await;
            let done = store.commit(batch).await;
            late().await;
            let _ = reply.send(done);
        });
        if lost == 1 {
            return Err(Unavailable::new(Cause::Busy, Effect::Unknown).into());
        }
        answer.await.expect("it does not panic")
    }
}

async fn late() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(..400))).await;
}

impl Between for Net {
    type Below = MemoryStore;

    fn below(&self) -> &MemoryStore {
        &self.0
    }

    fn commit(&self, batch: Batch) -> backstay_store::Pending<'_, Commit, CommitError> {
        self.send(batch).boxed()
    }
}

/// Gives one lease at a time. Who lost it is not told: it goes on as a process does that was stopped.
#[derive(Clone, Debug, Default)]
pub(super) struct Home(Arc<Mutex<(Option<Lease>, u64)>>);

impl Home {
    /// The lease can be given to another.
    pub(super) fn depose(&self) {
        self.0.lock().expect("nobody panics").0 = None;
    }

    /// The highest token that it has given.
    pub(super) fn highest(&self) -> u64 {
        self.0.lock().expect("nobody panics").1
    }
}

impl Leases for Home {
    fn check(&self, _name: &str, _ttl: Duration) -> Result<(), Invalid> {
        Ok(())
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        async move {
            let mut home = self.0.lock().expect("nobody panics");
            if let Some(lease) = home.0.clone() {
                let about = String::new();
                return Ok(Acquired::Held(Holder {
                    lease,
                    about,
                    left: None,
                }));
            }
            home.1 += 1;
            let lease = Lease {
                name: wanted.name,
                owner: wanted.owner,
                token: home.1,
            };
            home.0 = Some(lease.clone());
            Ok(Acquired::Granted(lease))
        }
        .boxed()
    }

    fn renew(&self, _lease: Lease, _ttl: Duration) -> Pending<'_, bool> {
        async { Ok(true) }.boxed()
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        async move {
            let mut home = self.0.lock().expect("nobody panics");
            if home.0.as_ref() == Some(&lease) {
                home.0 = None;
            }
            Ok(())
        }
        .boxed()
    }

    fn holder(&self, _name: String) -> Pending<'_, Option<Holder>> {
        async { Ok(None) }.boxed()
    }

    fn hints(&self, _name: String) -> BoxStream<'static, ()> {
        pending().boxed()
    }
}
