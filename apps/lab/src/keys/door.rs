//! A service that lets in whoever has a key, by what it knows of keys.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use backstay::lease::{BootClock, Clock};
use backstay::replica::{Cached, Origin, Replica};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::article::EventuallyConsistentCache;
use super::authority::Authority;
use super::ours::{self, BOUND, PATIENCE};
use super::{Arm, Way};
use crate::saga::http::{Failed, post as send};

/// What a door answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) said: Said,
    /// Before it looked, by the machine's clock, in nanoseconds.
    pub(crate) at: u64,
    /// It was so at a moment not longer ago; none where nobody can tell.
    pub(crate) age: Option<Duration>,
    /// What it knows is from the process before it.
    pub(crate) is_from_disk: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    LetIn,
    /// There is no such key.
    Unknown,
    /// Nobody knows, so it is no.
    CantSay,
}

/// How this one knows.
#[derive(Clone)]
enum Desk {
    None(Authority),
    Article(Arc<EventuallyConsistentCache>),
    Copy(Replica<String, u32>),
    Cached(Cached<String, u32, io::Error>),
}

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(
    arm: Arm,
    folder: &Path,
    authority: Authority,
    tell: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let desk = match arm.way {
        Way::None => Desk::None(authority),
        Way::Article => {
            let cache = Arc::<EventuallyConsistentCache>::default();
            let kept = cache.clone();
            tokio::spawn(async move { kept.sync_periodically(|| authority.all()).await });
            Desk::Article(cache)
        }
        Way::NoBound => Desk::Copy(ours::copy(authority, folder, None)?),
        Way::Cached => Desk::Cached(ours::look_ups(authority)?),
        Way::Backstay => Desk::Copy(ours::copy(authority, folder, Some(BOUND))?),
    };
    let app = Router::new()
        .route("/enter", post(enter))
        .route("/stop", post(stop))
        .with_state(desk);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn enter(State(desk): State<Desk>, body: Bytes) -> Result<Vec<u8>, Failed> {
    let key: String = serde_json::from_slice(&body)?;
    let at = BootClock.now().as_nanos();
    let answer = |said, age, is_from_disk| Answer {
        said,
        at,
        age,
        is_from_disk,
    };
    let answer = match desk {
        Desk::None(authority) => match timeout(PATIENCE, authority.one(&key)).await {
            Ok(Ok(customer)) => answer(Said::of(customer.is_some()), None, false),
            _ => answer(Said::CantSay, None, false),
        },
        Desk::Article(cache) => answer(Said::of(cache.get(&key).is_some()), None, false),
        Desk::Copy(copy) => match copy.peek(&key) {
            Ok(reading) => {
                let is_from_disk = reading.source == Origin::Disk;
                answer(
                    Said::of(reading.value.is_some()),
                    Some(reading.age),
                    is_from_disk,
                )
            }
            Err(_) => answer(Said::CantSay, None, false),
        },
        Desk::Cached(cached) => match cached.get(&key).await {
            Ok(kept) => answer(Said::of(kept.value.is_some()), Some(kept.age), false),
            Err(_) => answer(Said::CantSay, None, false),
        },
    };
    Ok(serde_json::to_vec(&answer)?)
}

impl Said {
    fn of(is_there: bool) -> Self {
        if is_there { Self::LetIn } else { Self::Unknown }
    }
}

/// As before a deployment: what is to be written is, before it is answered.
async fn stop(State(desk): State<Desk>) {
    if let Desk::Copy(copy) = desk {
        copy.stop().await;
    }
}

/// Shows a key at a door.
pub(crate) async fn show(door: SocketAddr, key: &str) -> anyhow::Result<Answer> {
    let answer = send(door, "enter", HeaderMap::new(), &key).await?;
    Ok(serde_json::from_slice(answer.body())?)
}

pub(crate) async fn close(door: SocketAddr) -> anyhow::Result<()> {
    send(door, "stop", HeaderMap::new(), &()).await?;
    Ok(())
}
