//! Leases in a store: a claim, and beside it a key that says who holds it.

use std::time::Duration;

use backstay_core::{Effect, Invalid};
use backstay_store::{
    Batch, Cause, Claim, ClaimError, Expected, Store, Timestamp, Unavailable, Watch,
};
use futures_util::stream::{BoxStream, unfold};
use futures_util::{FutureExt, StreamExt};

use crate::leases::claim_name;
use crate::{Acquired, Holder, Lease, Leases, Pending, Wanted};

/// What the longest of its names in the store has before the lease's.
const PREFIX: &str = "claim:lease/";
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Leases for Store {
    fn check(&self, name: &str, _ttl: Duration) -> Result<(), Invalid> {
        let most = self.limits().name_bytes.saturating_sub(PREFIX.len());
        if name.len() > most {
            let limit = format!("must be at most {most} bytes in this store");
            return Err(Invalid::new("name, bytes", name.len(), limit));
        }
        Ok(())
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        acquire(self, wanted).boxed()
    }

    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool> {
        async move {
            match self.renew(&claim(&lease), ttl).await {
                Ok(_) => Ok(true),
                Err(ClaimError::Lost { .. }) => Ok(false),
                Err(error) => Err(unavailable(error)),
            }
        }
        .boxed()
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        async move {
            let claim = claim(&lease);
            if self.release(&claim).await? {
                let gone = Batch::new().delete(claim.name.clone(), Expected::Any);
                // Only a hint to those who wait; they look by themselves too.
                let _ = self.commit(gone.fenced(claim.fence())).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Holder>> {
        holder(self, name).boxed()
    }

    fn hints(&self, name: String) -> BoxStream<'static, ()> {
        let looks = Looks {
            store: self.clone(),
            key: claim_name(&name),
            watch: None,
        };
        unfold(looks, |mut looks| async move {
            looks.next().await;
            Some(((), looks))
        })
        .boxed()
    }
}

async fn acquire(store: &Store, wanted: Wanted) -> Result<Acquired, Unavailable> {
    let name = claim_name(&wanted.name);
    match store.claim(&name, wanted.owner, wanted.ttl).await {
        Ok(claim) => {
            let key = announcement(claim.epoch, &wanted.about);
            let announced = Batch::new().put(name, key).fenced(claim.fence());
            // What is not announced is held all the same.
            let _ = store.commit(announced).await;
            Ok(Acquired::Granted(lease(wanted.name, &claim)))
        }
        Err(ClaimError::Held {
            owner, epoch, left, ..
        }) => Ok(Acquired::Held(Holder {
            lease: Lease {
                name: wanted.name,
                owner,
                token: epoch,
            },
            about: String::new(),
            left: Some(left),
        })),
        Err(error) => Err(unavailable(error)),
    }
}

async fn holder(store: &Store, name: String) -> Result<Option<Holder>, Unavailable> {
    let key = claim_name(&name);
    let Some(claim) = store.holder(&key).await? else {
        return Ok(None);
    };
    let announced = store.get(&key).await?;
    let about = announced
        .and_then(|entry| about(claim.epoch, &entry.value))
        .unwrap_or_default();
    let lease = lease(name, &claim);
    Ok(Some(Holder {
        lease,
        about,
        left: None,
    }))
}

fn announcement(token: u64, about: &str) -> String {
    format!("{token} {about}")
}

/// What the holder under this token says of itself.
fn about(token: u64, announcement: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(announcement).ok()?;
    let (by, about) = text.split_once(' ')?;
    (by.parse() == Ok(token)).then(|| about.to_owned())
}

fn lease(name: String, claim: &Claim) -> Lease {
    Lease {
        name,
        owner: claim.owner,
        token: claim.epoch,
    }
}

/// The claim by which the store knows the lease; it has the time itself.
fn claim(lease: &Lease) -> Claim {
    Claim {
        name: claim_name(&lease.name),
        owner: lease.owner,
        epoch: lease.token,
        expires_at: Timestamp::default(),
    }
}

fn unavailable(error: ClaimError) -> Unavailable {
    match error {
        ClaimError::Unavailable(unavailable) => unavailable,
        // Names and times were checked.
        error => Unavailable::new(Cause::Storage, Effect::NotExecuted).because(error),
    }
}

struct Looks {
    store: Store,
    key: String,
    /// None before the first look and after one that failed.
    watch: Option<Watch>,
}

impl Looks {
    async fn next(&mut self) {
        loop {
            let seen = match &mut self.watch {
                Some(watch) => watch.next().await.is_ok(),
                None => match self.store.head().await {
                    Ok(head) => {
                        self.watch = Some(self.store.watch(&self.key, head));
                        true
                    }
                    Err(_) => false,
                },
            };
            if seen {
                return;
            }
            self.watch = None;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
