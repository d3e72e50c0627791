use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::Invalid;
use backstay_store::{Fence, Owner, Unavailable};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// What the methods of a lease's home return.
pub type Pending<'a, T> = BoxFuture<'a, Result<T, Unavailable>>;

/// A home of leases: something that many processes reach and that gives a name to one of them at a time.
///
/// [`Store`](backstay_store::Store) is one. Dropping a returned future does not take back what it asked for: it may
/// still happen.
#[diagnostic::on_unimplemented(
    note = "`SqliteStore` and `PostgresStore` lend leases by their `store()`, `MemoryStore` by its `into_store()`"
)]
pub trait Leases: fmt::Debug + Send + Sync + 'static {
    /// What this home can't do of what is wanted.
    fn check(&self, name: &str, ttl: Duration) -> Result<(), Invalid>;

    /// Gives the name to this owner, unless it is held.
    ///
    /// Every grant has a higher token than all before it, whoever they went to, also after a release or a restart. A name
    /// that is held by this very owner, because an earlier answer was lost, is told as held.
    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired>;

    /// Holds a lease for so long from now. False if its time is over or it was given up: it can't come back.
    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool>;

    /// Gives a lease up; one that is over stays so.
    fn release(&self, lease: Lease) -> Pending<'_, ()>;

    /// Who holds the name; none if nobody does.
    fn holder(&self, name: String) -> Pending<'_, Option<Holder>>;

    /// Says when the holder of a name may be another: once when it has begun to look, and then at each change it hears of.
    ///
    /// It is a hint: it never ends, may come without reason, and may stay away.
    fn hints(&self, name: String) -> BoxStream<'static, ()>;
}

/// A name that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The name.
    pub name: String,
    /// Who wants it: another for each try whose outcome is known.
    pub owner: Owner,
    /// What others shall know of the holder, such as its address.
    pub about: String,
    /// For how long, unless it is renewed.
    pub ttl: Duration,
}

/// What came of asking for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It is the owner's now.
    Granted(Lease),
    /// It is held.
    Held(Holder),
}

/// One holding of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The name.
    pub name: String,
    /// Who holds it.
    pub owner: Owner,
    /// Higher with each holding.
    pub token: u64,
}

impl Lease {
    /// Refuses what is written under it once a later holder has written, or sooner.
    ///
    /// Where the lease is at home in the store that is written to, taking it over raises the fence. Elsewhere the first
    /// write of the next holder does.
    pub fn fence(&self) -> Fence {
        Fence::new(fence_name(&self.name), self.token)
    }
}

/// The fence of a lease's name, as a claim's of that name.
pub(crate) fn fence_name(name: &str) -> String {
    format!("claim:{}", claim_name(name))
}

/// The lease whose fence has this name.
#[cfg(feature = "http")]
pub(crate) fn lease_of_fence(fence: &str) -> Option<&str> {
    fence.strip_prefix("claim:lease/")
}

/// Under which name a store holds a lease: as a claim and as a key.
pub(crate) fn claim_name(name: &str) -> String {
    format!("lease/{name}")
}

/// Who holds a name, as its home knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The holding.
    pub lease: Lease,
    /// What it says of itself; empty if it has not said it yet, or was not asked.
    pub about: String,
    /// Time until it may be taken, unless it is renewed; none if the home can't tell.
    pub left: Option<Duration>,
}

impl<L: Leases + ?Sized> Leases for Arc<L> {
    fn check(&self, name: &str, ttl: Duration) -> Result<(), Invalid> {
        (**self).check(name, ttl)
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        (**self).acquire(wanted)
    }

    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool> {
        (**self).renew(lease, ttl)
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        (**self).release(lease)
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Holder>> {
        (**self).holder(name)
    }

    fn hints(&self, name: String) -> BoxStream<'static, ()> {
        (**self).hints(name)
    }
}
