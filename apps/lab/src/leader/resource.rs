//! The store that all candidates of an arm write to, and what it has accepted.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use backstay::lease::{BootClock, Clock};
use backstay::store::{Batch, CommitError, Fence, SqliteStore, Store};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::rpc;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Read {
        arm: String,
    },
    /// Shuts out all earlier terms.
    Raise {
        arm: String,
        fence: (String, u64),
    },
    Write(Write),
    Log {
        arm: String,
    },
}

/// A leader sets the number to one more than it knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) arm: String,
    pub(crate) node: u8,
    pub(crate) value: u64,
    /// Of which term the writer thinks it is; only the checker looks at it.
    pub(crate) term: u64,
    pub(crate) fence: Option<(String, u64)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Value(u64),
    Accepted,
    /// By the fence.
    Refused,
    Log(Vec<Logged>),
    Unavailable(String),
}

/// A write, and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Logged {
    pub(crate) at: u64,
    pub(crate) write: Write,
    pub(crate) accepted: bool,
}

type Log = Arc<Mutex<Vec<Logged>>>;

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(folder: &Path, tell: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let store = SqliteStore::open(folder.join("resource.db")).await?.store();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    let log = Log::default();
    rpc::serve(listener, move |ask| {
        let (store, log) = (store.clone(), log.clone());
        async move {
            let answer = answer(&store, &log, ask).await;
            answer.unwrap_or_else(|error| Answer::Unavailable(error.to_string()))
        }
    })
    .await;
    Ok(())
}

async fn answer(store: &Store, log: &Log, ask: Ask) -> anyhow::Result<Answer> {
    let logged = || log.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(match ask {
        Ask::Read { arm } => Answer::Value(value(store, &arm).await?),
        Ask::Raise { arm, fence } => {
            match store.commit(Batch::new().fenced(own(&arm, &fence))).await {
                Ok(_) => Answer::Accepted,
                Err(CommitError::Fenced { .. }) => Answer::Refused,
                Err(error) => return Err(error.into()),
            }
        }
        Ask::Write(write) => {
            let batch = Batch::new().put(write.arm.clone(), write.value.to_string());
            let batch = match &write.fence {
                Some(fence) => batch.fenced(own(&write.arm, fence)),
                None => batch,
            };
            let accepted = match store.commit(batch).await {
                Ok(_) => true,
                Err(CommitError::Fenced { .. }) => false,
                Err(error) => return Err(error.into()),
            };
            let at = BootClock.now().as_nanos();
            logged().push(Logged {
                at,
                write,
                accepted,
            });
            if accepted {
                Answer::Accepted
            } else {
                Answer::Refused
            }
        }
        Ask::Log { arm } => {
            let logged = logged();
            let of_arm = logged.iter().filter(|logged| logged.write.arm == arm);
            Answer::Log(of_arm.cloned().collect())
        }
    })
}

/// Each arm has fences of its own.
fn own(arm: &str, (name, token): &(String, u64)) -> Fence {
    Fence::new(format!("{arm} {name}"), *token)
}

async fn value(store: &Store, arm: &str) -> anyhow::Result<u64> {
    let Some(entry) = store.get(arm).await? else {
        return Ok(0);
    };
    Ok(std::str::from_utf8(&entry.value)?.parse()?)
}
