//! The service that lends leases: for our election as a home of leases, for the article's as its `TryAcquire`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use backstay::lease::{Acquired, Holder, Lease, Leases, Owner, Wanted};
use backstay::store::sqlite::SqliteOptions;
use backstay::store::{Claim, ClaimError, Store, TestClock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::rpc;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Acquire {
        name: String,
        owner: [u8; 16],
        ttl_ms: u64,
    },
    Renew {
        lease: Held,
        ttl_ms: u64,
    },
    Release(Held),
    Holder(String),
    /// The article's.
    TryAcquire {
        name: String,
        node: u8,
        ttl_ms: u64,
    },
    /// How often the lease of this name was given away.
    Term(String),
    /// Sets the service's clock forward.
    Step {
        ms: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) owner: [u8; 16],
    pub(crate) token: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Granted(Held),
    Holds {
        holder: Held,
        left_ms: Option<u64>,
    },
    Nobody,
    Yes(bool),
    /// Whether the node holds it, and in which term; only the checker looks at the term.
    Acquired {
        acquired: bool,
        term: u64,
    },
    Unavailable(String),
}

impl From<Lease> for Held {
    fn from(lease: Lease) -> Self {
        Self {
            name: lease.name,
            owner: *lease.owner.as_bytes(),
            token: lease.token,
        }
    }
}

impl From<Held> for Lease {
    fn from(held: Held) -> Self {
        Self {
            name: held.name,
            owner: Owner::from_bytes(held.owner),
            token: held.token,
        }
    }
}

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(folder: &Path, tell: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let start = Timestamp::from_millis(1_800_000_000_000);
    let clock = TestClock::at(start);
    let options = SqliteOptions::new().clock(clock.clone());
    let store = options.open(folder.join("leases.db")).await?.store();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    let (began, stepped) = (Instant::now(), Arc::<AtomicU64>::default());
    rpc::serve(listener, move |ask| {
        if let Ask::Step { ms } = ask {
            stepped.fetch_add(ms, Relaxed);
        }
        let step = Duration::from_millis(stepped.load(Relaxed));
        clock.set(start.plus(began.elapsed() + step));
        let store = store.clone();
        async move {
            let answer = answer(&store, ask).await;
            answer.unwrap_or_else(|error| Answer::Unavailable(error.to_string()))
        }
    })
    .await;
    Ok(())
}

async fn answer(store: &Store, ask: Ask) -> anyhow::Result<Answer> {
    Ok(match ask {
        Ask::Acquire {
            name,
            owner,
            ttl_ms,
        } => {
            let wanted = Wanted {
                name,
                owner: Owner::from_bytes(owner),
                about: String::new(),
                ttl: Duration::from_millis(ttl_ms),
            };
            match store.acquire(wanted).await? {
                Acquired::Granted(lease) => Answer::Granted(lease.into()),
                Acquired::Held(holder) => holds(holder),
            }
        }
        Ask::Renew { lease, ttl_ms } => {
            let ttl = Duration::from_millis(ttl_ms);
            Answer::Yes(Leases::renew(store, lease.into(), ttl).await?)
        }
        Ask::Release(lease) => {
            Leases::release(store, lease.into()).await?;
            Answer::Yes(true)
        }
        Ask::Holder(name) => match Leases::holder(store, name).await? {
            Some(holder) => holds(holder),
            None => Answer::Nobody,
        },
        Ask::TryAcquire { name, node, ttl_ms } => {
            let ttl = Duration::from_millis(ttl_ms);
            try_acquire(store, &name, node, ttl).await?
        }
        Ask::Term(name) => Answer::Acquired {
            acquired: true,
            term: term(store, &name).await?,
        },
        Ask::Step { .. } => Answer::Yes(true),
    })
}

/// Ours lie below another name than the article's.
async fn term(store: &Store, name: &str) -> anyhow::Result<u64> {
    let mut term = 0;
    for name in [name.to_owned(), format!("lease/{name}")] {
        let claim = store.holder(&name).await?;
        term = term.max(claim.map_or(0, |claim| claim.epoch));
    }
    Ok(term)
}

fn holds(holder: Holder) -> Answer {
    let left_ms = |left: Duration| u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    Answer::Holds {
        left_ms: holder.left.map(left_ms),
        holder: holder.lease.into(),
    }
}

/// The lease of the article's snippet, which is not printed: as good as it can be, atomic and by the store's clock.
async fn try_acquire(store: &Store, name: &str, node: u8, ttl: Duration) -> anyhow::Result<Answer> {
    // Quirk: a node is known by its name, so it can't tell one of its terms from another.
    let owner = Owner::from_bytes([node; 16]);
    let answer = |acquired: bool, claim: Option<&Claim>| Answer::Acquired {
        acquired,
        term: claim.map_or(0, |claim| claim.epoch),
    };
    if let Some(held) = store.holder(name).await?
        && held.owner == owner
        && let Ok(renewed) = store.renew(&held, ttl).await
    {
        return Ok(answer(true, Some(&renewed)));
    }
    match store.claim(name, owner, ttl).await {
        Ok(claim) => Ok(answer(true, Some(&claim))),
        Err(ClaimError::Held { .. }) => Ok(answer(false, None)),
        Err(error) => Err(error.into()),
    }
}
