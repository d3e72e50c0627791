//! Leases in etcd.
//!
//! A name is a key that hangs on an etcd lease; a term's token is the revision of the cluster at which its key was made.
//! docs/formats.md says what is kept.

mod answer;
mod failure;
mod options;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use backstay_core::Invalid;
use backstay_etcd::Client;
use backstay_etcd::Failure::Refused;
use backstay_etcd::codes::NOT_FOUND;
use backstay_store::Owner;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use backstay_etcd::BoxError;
pub use options::EtcdOptions;

use crate::{Acquired, ConnectError, Holder, Lease, Leases, Pending, Wanted, owner};
use answer::{Granted, Kept, Kv, LeaseLeft, Range, Revoked, Written};
use failure::Failure;

/// Answers take some hundred bytes; a holder says at most a thousand of itself.
const ANSWER_BYTES: usize = 64 * 1024;

/// Leases in an etcd cluster, 3.4 or newer. Cheap to clone; all clones are the same home.
///
/// It speaks etcd's JSON gateway, which is on by default. Every grant and every check of who holds a name goes through
/// the cluster's quorum: a member that has lost it can't answer, and then leaders step down by their own clock.
///
/// - The shortest lease is what the cluster says, 2 s with etcd's own defaults. A time to live is rounded up to seconds.
/// - Tokens rise over the whole cluster, also after restarts. **A cluster restored from a backup goes back**: its tokens
///   are refused by the fences until they have grown past the old ones, unless it was restored with its revision bumped.
/// - A new leader of the cluster gives every lease its whole time again, so a take-over can come so much later.
/// - A member that stood still while another became the cluster's leader may, when it goes on, hold a lease for a
///   moment that is over already. Only the fence stops who acts in that moment.
///
/// Endpoints are tried in turn: one that fails, or does not answer in time, is left for the next.
#[derive(Clone, Debug)]
pub struct EtcdLeases(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    prefix: String,
    /// What the cluster makes of anything shorter.
    shortest: Duration,
}

/// What the key of a held name says.
#[derive(Debug, Serialize, Deserialize)]
struct Holding {
    #[serde(with = "owner")]
    owner: Owner,
    about: String,
}

/// The key of a name, as it is in the cluster.
struct Found {
    holder: Holder,
    /// The etcd lease it hangs on.
    id: i64,
}

impl EtcdLeases {
    /// Reaches a cluster by its members' `http` addresses. See [`EtcdOptions`] for more.
    pub async fn connect(
        endpoints: impl IntoIterator<Item: Into<String>>,
    ) -> Result<Self, ConnectError> {
        EtcdOptions::new().connect(endpoints).await
    }

    async fn over(client: Client, prefix: String) -> Result<Self, ConnectError> {
        // The shortest lease is asked for to see what it becomes.
        let granted = grant(&client, 1).await.map_err(Failure::was_a_write)?;
        revoke(&client, granted.id).await;
        let shortest = Duration::from_secs(granted.ttl.unsigned_abs());
        Ok(Self(Arc::new(Shared {
            client,
            prefix,
            shortest,
        })))
    }
}

impl Leases for EtcdLeases {
    fn check(&self, _name: &str, ttl: Duration) -> Result<(), Invalid> {
        let shortest = self.0.shortest;
        if ttl < shortest {
            let limit = format!("must be at least {shortest:?}, this cluster's shortest lease");
            return Err(Invalid::new("ttl", format!("{ttl:?}"), limit));
        }
        Ok(())
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        async move {
            let acquired = self.0.acquire(wanted).await;
            acquired.map_err(Failure::was_a_write)
        }
        .boxed()
    }

    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool> {
        async move {
            let renewed = self.0.renew(&lease, ttl).await;
            renewed.map_err(Failure::was_a_write)
        }
        .boxed()
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        async move {
            let released = self.0.release(&lease).await;
            released.map_err(Failure::was_a_write)
        }
        .boxed()
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Holder>> {
        async move {
            let found = self.0.find(&name).await;
            let found = found.map_err(Failure::was_a_read)?;
            Ok(found.map(|found| found.holder))
        }
        .boxed()
    }

    fn hints(&self, name: String) -> BoxStream<'static, ()> {
        watch::hints(self.0.client.clone(), self.0.key(&name))
    }
}

impl Shared {
    /// As etcd's gateway wants bytes.
    fn key(&self, name: &str) -> String {
        STANDARD.encode(format!("{}{name}", self.prefix))
    }

    async fn acquire(&self, wanted: Wanted) -> Result<Acquired, Failure> {
        if let Some(found) = self.find(&wanted.name).await? {
            return Ok(self.held(found).await);
        }
        let ttl = seconds(wanted.ttl);
        let granted = grant(&self.client, ttl).await?;
        // Each holding has an etcd lease of its own, so that a late revocation can't hit another.
        let id = granted.id;
        if granted.ttl < ttl {
            revoke(&self.client, id).await;
            return Err(Failure::answer("a shorter lease than was asked for"));
        }
        let holding = Holding {
            owner: wanted.owner,
            about: wanted.about,
        };
        match self.put(&wanted.name, &holding, id).await? {
            Ok(token) => Ok(Acquired::Granted(Lease {
                name: wanted.name,
                owner: wanted.owner,
                token,
            })),
            // By a request to another member, whose answer was lost.
            Err(found) if found.id == id => Ok(Acquired::Granted(found.holder.lease)),
            Err(found) => {
                revoke(&self.client, id).await;
                Ok(self.held(found).await)
            }
        }
    }

    /// Makes the key of a name, if there is none; its token then, or what is there.
    async fn put(
        &self,
        name: &str,
        holding: &Holding,
        id: i64,
    ) -> Result<Result<u64, Found>, Failure> {
        let key = self.key(name);
        let value = serde_json::to_vec(holding).expect("text");
        let value = STANDARD.encode(value);
        let put = json!({"key": key, "value": value, "lease": id.to_string()});
        let question = json!({
            "compare": [{"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}],
            "success": [{"request_put": put}],
            "failure": [{"request_range": {"key": key}}],
        });
        let written: Written = ask(&self.client, "kv/txn", &question).await?;
        if written.succeeded {
            return Ok(Ok(written.header.revision.unsigned_abs()));
        }
        let found = written.responses.into_iter().next();
        let found = found.and_then(|response| response.response_range.kvs.into_iter().next());
        let found = found.ok_or(Failure::answer("no key where one stands in the way"))?;
        Ok(Err(self::found(name, &found)?))
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<bool, Failure> {
        // Who holds the name is asked first: the quorum has then been heard just before the member that keeps the time
        // is told to hold the lease.
        let Some(id) = self.find_own(lease).await? else {
            return Ok(false);
        };
        let question = json!({"ID": id.to_string()});
        let kept: Kept = ask(&self.client, "lease/keepalive", &question).await?;
        let left = kept.result.ttl;
        if 0 < left && left < seconds(ttl) {
            return Err(Failure::answer("a lease of another time to live"));
        }
        Ok(0 < left)
    }

    async fn release(&self, lease: &Lease) -> Result<(), Failure> {
        let Some(id) = self.find_own(lease).await? else {
            return Ok(());
        };
        // The key goes with it.
        let question = json!({"ID": id.to_string()});
        match ask::<Revoked>(&self.client, "lease/revoke", &question).await {
            Err(Failure::Etcd(Refused {
                code: NOT_FOUND, ..
            }))
            | Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The etcd lease of a holding that is not over.
    async fn find_own(&self, lease: &Lease) -> Result<Option<i64>, Failure> {
        let found = self.find(&lease.name).await?;
        let own = found.filter(|found| found.holder.lease == *lease);
        Ok(own.map(|found| found.id))
    }

    async fn find(&self, name: &str) -> Result<Option<Found>, Failure> {
        let question = json!({"key": self.key(name)});
        let range: Range = ask(&self.client, "kv/range", &question).await?;
        range.kvs.first().map(|kv| found(name, kv)).transpose()
    }

    async fn held(&self, found: Found) -> Acquired {
        let question = json!({"ID": found.id.to_string()});
        let left = ask(&self.client, "lease/timetolive", &question).await;
        // What is left of a second is cut off; -1 says that the lease is over.
        let left = left.map(|LeaseLeft { ttl }| Duration::from_secs((ttl + 1).unsigned_abs()));
        Acquired::Held(Holder {
            left: left.ok(),
            ..found.holder
        })
    }
}

fn found(name: &str, kv: &Kv) -> Result<Found, Failure> {
    let value = STANDARD.decode(&kv.value).ok();
    let holding = value.and_then(|value| serde_json::from_slice::<Holding>(&value).ok());
    let Holding { owner, about } = holding.ok_or(Failure::Corrupt)?;
    Ok(Found {
        holder: Holder {
            lease: Lease {
                name: name.to_owned(),
                owner,
                token: kv.create_revision.unsigned_abs(),
            },
            about,
            left: None,
        },
        id: kv.lease,
    })
}

async fn ask<A: DeserializeOwned>(
    client: &Client,
    path: &str,
    question: &Value,
) -> Result<A, Failure> {
    Ok(client.ask(path, question, ANSWER_BYTES).await?)
}

/// Rounded up, as etcd counts.
fn seconds(ttl: Duration) -> i64 {
    let up = u64::from(ttl.subsec_nanos() > 0);
    i64::try_from(ttl.as_secs() + up).unwrap_or(i64::MAX)
}

async fn grant(client: &Client, seconds: i64) -> Result<Granted, Failure> {
    let question = json!({"TTL": seconds.to_string()});
    ask(client, "lease/grant", &question).await
}

/// Gives back what was granted for nothing; it would lapse by itself.
async fn revoke(client: &Client, id: i64) {
    let question = json!({"ID": id.to_string()});
    let _ = ask::<Revoked>(client, "lease/revoke", &question).await;
}
