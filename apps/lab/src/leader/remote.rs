//! The service as a home of our leases.

use std::net::SocketAddr;
use std::time::Duration;

use backstay::Invalid;
use backstay::lease::{Acquired, Holder, Lease, Leases, Pending, Wanted};
use backstay::store::{Cause, Effect, Unavailable};
use futures_util::FutureExt;
use futures_util::stream::{BoxStream, StreamExt, pending};

use super::coordination::{Answer, Ask, Held};
use super::rpc;

/// It hears of no change; candidates look by themselves.
#[derive(Debug)]
pub(super) struct Remote(pub(super) SocketAddr);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoAnswer(String);

fn unavailable(why: String) -> Unavailable {
    Unavailable::new(Cause::Storage, Effect::Unknown).because(NoAnswer(why))
}

impl Remote {
    fn ask<T>(
        &self,
        ask: Ask,
        read: impl FnOnce(Answer) -> Option<T> + Send + 'static,
    ) -> Pending<'_, T> {
        async move {
            let answer = rpc::ask(self.0, &ask)
                .await
                .map_err(|error| unavailable(format!("{error:#}")))?;
            if let Answer::Unavailable(why) = answer {
                return Err(unavailable(why));
            }
            read(answer).ok_or_else(|| unavailable("it answered something else".to_owned()))
        }
        .boxed()
    }
}

fn holder(holder: Held, left_ms: Option<u64>) -> Holder {
    Holder {
        lease: holder.into(),
        about: String::new(),
        left: left_ms.map(Duration::from_millis),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Leases for Remote {
    fn check(&self, _name: &str, _ttl: Duration) -> Result<(), Invalid> {
        Ok(())
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        let ask = Ask::Acquire {
            name: wanted.name,
            owner: *wanted.owner.as_bytes(),
            ttl_ms: millis(wanted.ttl),
        };
        self.ask(ask, |answer| match answer {
            Answer::Granted(lease) => Some(Acquired::Granted(lease.into())),
            Answer::Holds {
                holder: held,
                left_ms,
            } => Some(Acquired::Held(holder(held, left_ms))),
            _ => None,
        })
    }

    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool> {
        let ask = Ask::Renew {
            lease: lease.into(),
            ttl_ms: millis(ttl),
        };
        self.ask(ask, |answer| match answer {
            Answer::Yes(yes) => Some(yes),
            _ => None,
        })
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        self.ask(Ask::Release(lease.into()), |_| Some(()))
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Holder>> {
        self.ask(Ask::Holder(name), |answer| match answer {
            Answer::Nobody => Some(None),
            Answer::Holds {
                holder: held,
                left_ms,
            } => Some(Some(holder(held, left_ms))),
            _ => None,
        })
    }

    fn hints(&self, _name: String) -> BoxStream<'static, ()> {
        pending().boxed()
    }
}
