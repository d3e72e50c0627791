//! A candidate: one process that does the work while it thinks that it may.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use anyhow::bail;
use backstay::lease::{Election, Leadership};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::coordination;
use super::remote::Remote;
use super::resource::{self, Write};
use super::{Arm, Way, article, rpc};

/// What it works on between its look at the lease and its write: nobody can take that apart.
const WORK: Duration = Duration::from_millis(30);
const REST: Duration = Duration::from_millis(70);
/// Said each time before it works, so that it can be stopped there.
pub(crate) const WORKS: &str = "works";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) arm: Arm,
    pub(crate) node: u8,
    pub(crate) coordination: SocketAddr,
    pub(crate) resource: SocketAddr,
}

/// What a candidate may write under.
#[derive(Clone, Debug)]
struct Term {
    term: u64,
    fence: Option<(String, u64)>,
}

impl Candidate {
    /// Stands until its process is killed.
    pub(crate) async fn stand(self) -> anyhow::Result<()> {
        match self.arm.way {
            Way::None => {
                let nobodys = Term {
                    term: 0,
                    fence: None,
                };
                self.lead(&nobodys, || true).await
            }
            Way::Article => {
                self.as_in_the_article().await;
                Ok(())
            }
            Way::Election { fenced } => {
                let home = Remote(self.coordination);
                let election = Election::builder(home, self.arm.name).build()?;
                let lead = async |leadership: Leadership| {
                    let fence = leadership.fence();
                    let term = Term {
                        term: fence.token,
                        fence: fenced.then_some((fence.name, fence.token)),
                    };
                    self.lead(&term, || true).await
                };
                election.run(lead).await?
            }
        }
    }

    async fn as_in_the_article(self) {
        let jobs = Arc::new(std::sync::Mutex::new(Arc::new(AtomicBool::new(false))));
        let term = Arc::<std::sync::atomic::AtomicU64>::default();
        let try_acquire = |lease: Duration| {
            let term = term.clone();
            async move {
                let ask = coordination::Ask::TryAcquire {
                    name: self.arm.name.to_owned(),
                    node: self.node,
                    ttl_ms: u64::try_from(lease.as_millis())?,
                };
                match rpc::ask(self.coordination, &ask).await? {
                    coordination::Answer::Acquired {
                        acquired,
                        term: now,
                    } => {
                        if acquired {
                            term.store(now, SeqCst);
                        }
                        Ok(acquired)
                    }
                    other => bail!("answered {other:?}"),
                }
            }
        };
        let current = || {
            jobs.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let start_cron_jobs = || {
            let runs = Arc::new(AtomicBool::new(true));
            *current() = runs.clone();
            let term = Term {
                term: term.load(SeqCst),
                fence: None,
            };
            tokio::spawn(async move { self.lead(&term, || runs.load(SeqCst)).await });
        };
        let stop_cron_jobs = || current().store(false, SeqCst);
        article::campaign(try_acquire, start_cron_jobs, stop_cron_jobs).await;
    }

    /// Shuts out all earlier terms where it can, reads the number once, then sets it to one more again and again.
    async fn lead(self, term: &Term, goes_on: impl Fn() -> bool) -> anyhow::Result<()> {
        if let Some(fence) = term.fence.clone() {
            let arm = self.arm.name.to_owned();
            let raise = resource::Ask::Raise { arm, fence };
            let _: resource::Answer = rpc::ask(self.resource, &raise).await?;
        }
        let mut value = self.read().await?;
        while goes_on() {
            // A client that blocks, as many do: there is no point at which it could be stopped.
            let accepted = block_in_place(|| {
                say(WORKS);
                Handle::current().block_on(async {
                    sleep(WORK).await;
                    self.write(term, value + 1).await
                })
            });
            match accepted {
                Ok(true) => value += 1,
                // Somebody else leads, and this term ends.
                Ok(false) => std::future::pending().await,
                Err(_) => value = self.read().await?,
            }
            sleep(REST).await;
        }
        Ok(())
    }

    async fn read(self) -> anyhow::Result<u64> {
        let arm = self.arm.name.to_owned();
        match rpc::ask(self.resource, &resource::Ask::Read { arm }).await? {
            resource::Answer::Value(value) => Ok(value),
            other => bail!("answered {other:?}"),
        }
    }

    async fn write(self, term: &Term, value: u64) -> anyhow::Result<bool> {
        let write = Write {
            arm: self.arm.name.to_owned(),
            node: self.node,
            value,
            term: term.term,
            fence: term.fence.clone(),
        };
        match rpc::ask(self.resource, &resource::Ask::Write(write)).await? {
            resource::Answer::Accepted => Ok(true),
            resource::Answer::Refused => Ok(false),
            other => bail!("answered {other:?}"),
        }
    }
}

/// One write to standard output, at once.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Whoever started it may be gone; then it ends soon.
    let _ = out.write_all(format!("{line}\n").as_bytes());
}
