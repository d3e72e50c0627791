//! The way between customers and a server. It delivers every request and loses some of the replies.

use std::collections::HashMap;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use backstay::lease::{BootClock, Clock, Moment};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::customer::Orders;
use crate::engine::draw::{Purpose, unit};

/// Which replies are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses {
    pub(crate) seed: u64,
    pub(crate) share: f64,
}

impl Losses {
    /// What becomes of the reply to an order's `nth` request. It is the same whoever asks.
    fn of(self, order: u64, nth: u32) -> Option<Loss> {
        (unit(self.seed, Purpose::Loss, order, nth) < self.share).then(|| {
            if unit(self.seed, Purpose::Silence, order, nth) < 0.5 {
                Loss::Silent
            } else {
                Loss::Closed
            }
        })
    }
}

/// How a reply is lost, before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The connection ends.
    Closed,
    /// Nothing comes any more.
    Silent,
}

/// A request that arrived here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exchange {
    pub(crate) order: u64,
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// The server had not answered when its caller left, or when the run ended.
    Open,
    /// The server was killed, or was not there.
    CutOff,
    Answered(Answered),
}

/// What the server answered, and whether its caller got it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Answered {
    pub(crate) at: Moment,
    pub(crate) status: StatusCode,
    /// Marked as the answer of an earlier request.
    pub(crate) replayed: bool,
    pub(crate) loss: Option<Loss>,
}

/// Serves while it is there.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    losses: Losses,
    server: Mutex<Orders>,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    exchanges: Vec<Exchange>,
    /// How many of each order have arrived.
    arrived: HashMap<u64, u32>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr, losses: Losses) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            losses,
            server: Mutex::new(Orders::at(server)),
            log: Mutex::default(),
        });
        let app = Router::new()
            .route("/orders/{order}", post(pass))
            .with_state(shared.clone());
        let serving = tokio::spawn(axum::serve(listener, app).into_future());
        Ok(Self {
            address,
            shared,
            serving: serving.abort_handle(),
        })
    }

    /// The server is another process now.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *lock(&self.shared.server) = Orders::at(server);
    }

    /// All that has arrived, in this order.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.shared.log).exchanges.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn begin(&self, order: u64) -> (usize, u32) {
        let mut log = lock(&self.log);
        let arrived = log.arrived.entry(order).or_default();
        let nth = *arrived;
        *arrived += 1;
        let end = End::Open;
        log.exchanges.push(Exchange { order, end });
        (log.exchanges.len() - 1, nth)
    }

    fn end(&self, exchange: usize, end: End) {
        lock(&self.log).exchanges[exchange].end = end;
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every write is one step, so what a panic has left is still whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    Path(order): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (exchange, nth) = shared.begin(order);
    let server = lock(&shared.server).clone();
    let Ok(answer) = server.send(order, headers, body).await else {
        shared.end(exchange, End::CutOff);
        hang_up();
    };
    let loss = shared.losses.of(order, nth);
    let answered = Answered {
        at: BootClock.now(),
        status: answer.status(),
        replayed: answer.headers().contains_key("idempotency-replayed"),
        loss,
    };
    shared.end(exchange, End::Answered(answered));
    match loss {
        None => answer.map(Body::from),
        Some(Loss::Closed) => hang_up(),
        // Its caller hangs up at some time, and that ends it.
        Some(Loss::Silent) => pending().await,
    }
}

/// Ends the connection without a word: it goes with the task that serves it. No message is printed.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the reply is lost"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SEED: u64 = 1;

    async fn server(asked: Arc<AtomicU32>) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let handler = move || {
            asked.fetch_add(1, Relaxed);
            std::future::ready((StatusCode::CREATED, "receipt"))
        };
        let app = Router::new().route("/orders/{order}", post(handler));
        tokio::spawn(axum::serve(listener, app).into_future());
        address
    }

    #[test]
    fn losses_have_their_share_and_are_of_both_kinds() {
        let losses = Losses {
            seed: SEED,
            share: 0.05,
        };
        let lost: Vec<_> = (0..20_000)
            .filter_map(|order| losses.of(order, 0))
            .collect();
        assert!((900..1_100).contains(&lost.len()), "{}", lost.len());
        let silent = lost.iter().filter(|loss| **loss == Loss::Silent).count();
        assert!((400..600).contains(&silent), "{silent}");
    }

    #[tokio::test]
    async fn a_lost_reply_is_that_of_a_request_that_arrived() {
        let asked = Arc::<AtomicU32>::default();
        let losses = Losses {
            seed: SEED,
            share: 1.0,
        };
        let proxy = Proxy::start(server(asked.clone()).await, losses)
            .await
            .unwrap();
        let orders = Orders::at(proxy.address);
        let of_kind = |loss| {
            let lost = |order: &u64| losses.of(*order, 0) == Some(loss);
            (0..100).find(lost).unwrap()
        };
        let send = |order| orders.send(order, HeaderMap::new(), Bytes::new());
        assert!(send(of_kind(Loss::Closed)).await.is_err());
        let silent = timeout(Duration::from_millis(300), send(of_kind(Loss::Silent))).await;
        assert!(silent.is_err(), "{silent:?}");
        assert_eq!(asked.load(Relaxed), 2);
        for exchange in proxy.exchanges() {
            let End::Answered(answered) = exchange.end else {
                panic!("{exchange:?}");
            };
            assert_eq!(answered.status, StatusCode::CREATED);
            assert_eq!(answered.loss, losses.of(exchange.order, 0));
        }
    }

    #[tokio::test]
    async fn it_delivers_the_rest_also_from_another_server() {
        let asked = Arc::<AtomicU32>::default();
        let losses = Losses {
            seed: SEED,
            share: 0.0,
        };
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let dead = nobody.local_addr().unwrap();
        drop(nobody);
        let proxy = Proxy::start(dead, losses).await.unwrap();
        let orders = Orders::at(proxy.address);
        let send = || orders.send(7, HeaderMap::new(), Bytes::new());
        assert!(send().await.is_err());
        assert_eq!(proxy.exchanges()[0].end, End::CutOff);
        proxy.lead_to(server(asked.clone()).await);
        let answer = send().await.unwrap();
        assert_eq!(
            (answer.status(), &answer.body()[..]),
            (StatusCode::CREATED, &b"receipt"[..])
        );
        assert_eq!(asked.load(Relaxed), 1);
    }
}
