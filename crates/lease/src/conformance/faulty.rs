use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::Invalid;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use tokio::sync::oneshot;

use crate::{Acquired, Holder, Lease, Leases, Pending, Wanted};

/// What becomes of one request on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// It takes so long until it is done.
    pub before: Duration,
    /// And so long until the answer is back.
    pub after: Duration,
    /// It is never done, and there is no answer.
    pub lost: bool,
    /// It is done, and there is no answer.
    pub answer_lost: bool,
}

impl Fate {
    /// Nothing gets through.
    pub const LOST: Self = Self {
        before: Duration::ZERO,
        after: Duration::ZERO,
        lost: true,
        answer_lost: false,
    };
    /// Requests get through, and no answer comes back.
    pub const SILENCE: Self = Self {
        answer_lost: true,
        lost: false,
        ..Self::LOST
    };
}

/// A home that is reached by a bad network. Requests are on their way also when nobody waits for their answer.
pub struct Faulty {
    leases: Arc<dyn Leases>,
    fate: Arc<dyn Fn() -> Fate + Send + Sync>,
}

impl Faulty {
    /// A home, and what becomes of each next request.
    pub fn new(leases: Arc<dyn Leases>, fate: impl Fn() -> Fate + Send + Sync + 'static) -> Self {
        let fate = Arc::new(fate);
        Self { leases, fate }
    }

    fn send<T: Send + 'static>(
        &self,
        request: impl FnOnce(&dyn Leases) -> Pending<'_, T> + Send + 'static,
    ) -> Pending<'_, T> {
        let (leases, fate) = (self.leases.clone(), (self.fate)());
        async move {
            if fate.lost {
                return std::future::pending().await;
            }
            let (reply, answer) = oneshot::channel();
            tokio::spawn(async move {
                pause(fate.before).await;
                let done = request(&*leases).await;
                pause(fate.after).await;
                let _ = reply.send(done);
            });
            if fate.answer_lost {
                return std::future::pending().await;
            }
            answer.await.expect("it does not panic")
        }
        .boxed()
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.leases).finish()
    }
}

impl Leases for Faulty {
    fn check(&self, name: &str, ttl: Duration) -> Result<(), Invalid> {
        self.leases.check(name, ttl)
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        self.send(|leases| leases.acquire(wanted))
    }

    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool> {
        self.send(move |leases| leases.renew(lease, ttl))
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        self.send(|leases| leases.release(lease))
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Holder>> {
        self.send(|leases| leases.holder(name))
    }

    fn hints(&self, name: String) -> BoxStream<'static, ()> {
        self.leases.hints(name)
    }
}
