//! One holding of the claim of a consumer.

use std::time::Duration;

use backstay_store::{Claim, ClaimError, Fence, Owner, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

/// The right to feed a sink, as long as it lasts.
#[derive(Debug)]
pub(super) struct Term {
    store: Store,
    claim: Claim,
    pub(super) fence: Fence,
    lost: watch::Receiver<bool>,
    renewal: JoinHandle<()>,
}

impl Term {
    /// Waits until the claim can be had.
    pub(super) async fn begin(store: &Store, name: &str, ttl: Duration) -> Self {
        loop {
            let asked = Instant::now();
            // A name that nobody holds is asked for; asking who holds it costs no write.
            if let Ok(None) = store.holder(name).await
                && let Ok(claim) = store.claim(name, Owner::new(), ttl).await
            {
                let (tell, lost) = watch::channel(false);
                let renewal = renew(store.clone(), claim.clone(), ttl, asked, tell);
                return Self {
                    store: store.clone(),
                    fence: claim.fence(),
                    claim,
                    lost,
                    renewal: tokio::spawn(renewal),
                };
            }
            // Those who wait together do not ask together.
            sleep((ttl / 3).mul_f64(0.7 + 0.3 * fastrand::f64())).await;
        }
    }

    /// Waits until the claim is, or may be, another's.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    pub(super) async fn end(self) {
        self.renewal.abort();
        // Else it expires.
        let _ = self.store.release(&self.claim).await;
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn renew(
    store: Store,
    claim: Claim,
    ttl: Duration,
    asked: Instant,
    lost: watch::Sender<bool>,
) {
    // Less a tenth: the store's clock may be faster than this one.
    let mut until = asked + ttl - ttl / 10;
    let mut claim = claim;
    loop {
        sleep(ttl / 3).await;
        let asked = Instant::now();
        match timeout_at(until, store.renew(&claim, ttl)).await {
            Ok(Ok(renewed)) => {
                claim = renewed;
                until = asked + ttl - ttl / 10;
            }
            Ok(Err(ClaimError::Lost { .. })) | Err(_) => break,
            Ok(Err(_)) => {}
        }
    }
    lost.send_replace(true);
}
