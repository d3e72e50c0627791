//! The dependency under test: eight slots, exponential service times, real HTTP over TCP.
//!
//! Capacity comes from slots and sleep, not from the processor, so two cores are enough for all
//! arms side by side. Each arm has a server of its own; all of them draw the same service times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::draw::{self, Purpose, exponential};
use super::plan::Plan;

pub(crate) const SLOTS: usize = 8;
pub(crate) const SERVICE_MEAN: Duration = Duration::from_millis(20);

/// Milliseconds the caller will still wait, as Envoy sends it.
pub(crate) const TIME_LEFT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// Where service times come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// From the seed, the call and the attempt: every arm gets the same.
    Seeded(u64),
    /// Evenly spread over the distribution, so that a short sample has the right mean.
    Even,
}

/// Capacity times `factor` while it lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) factor: f64,
}

impl Fault {
    pub(crate) const NONE: Self = Self { factor: 1.0 };
}

/// The slots of one server, and what it has done.
#[derive(Debug)]
pub(crate) struct Work {
    slots: Semaphore,
    service: Service,
    start: Instant,
    plan: Plan,
    fault: Fault,
    /// Attempts that reached the server, by second since the start; the last one takes what is later.
    arrived: Vec<AtomicU32>,
    finished: AtomicU64,
    wasted: AtomicU64,
    slowed: AtomicU64,
}

impl Work {
    pub(crate) fn new(service: Service, start: Instant, plan: Plan, fault: Fault) -> Arc<Self> {
        let seconds = plan.end.as_secs() + 2;
        Arc::new(Self {
            slots: Semaphore::new(SLOTS),
            service,
            start,
            plan,
            fault,
            arrived: (0..seconds).map(|_| AtomicU32::new(0)).collect(),
            finished: AtomicU64::new(0),
            wasted: AtomicU64::new(0),
            slowed: AtomicU64::new(0),
        })
    }

    /// Waits for a slot, first come first served, and holds it for the service time.
    async fn serve(&self, job: Job) -> StatusCode {
        let Ok(_slot) = self.slots.acquire().await else {
            return StatusCode::SERVICE_UNAVAILABLE;
        };
        let now = Instant::now();
        if job.expires.is_some_and(|expires| expires <= now) {
            return StatusCode::GATEWAY_TIMEOUT;
        }
        let elapsed = now.saturating_duration_since(self.start);
        let mut hold = exponential(self.draw(&job), SERVICE_MEAN);
        // Judged where the service starts; one that is under way keeps its pace.
        if self.plan.during().contains(&elapsed) {
            hold = hold.div_f64(self.fault.factor);
            self.slowed.fetch_add(1, Relaxed);
        }
        // A request that is dropped from here on has used a slot for nothing.
        let mut begun = Begun {
            work: self,
            ended: false,
        };
        sleep(hold).await;
        begun.ended = true;
        self.finished.fetch_add(1, Relaxed);
        StatusCode::OK
    }

    fn draw(&self, job: &Job) -> f64 {
        match self.service {
            Service::Seeded(seed) => draw::unit(seed, Purpose::Service, job.call, job.attempt),
            // Multiples of the golden ratio fill the unit interval evenly at any length (Weyl).
            Service::Even => (job.call as f64 * 0.618_033_988_749_894_9).fract(),
        }
    }

    /// Counts a service for whose answer nobody waited any more.
    pub(crate) fn count_wasted(&self) {
        self.wasted.fetch_add(1, Relaxed);
    }

    pub(crate) fn arrived_by_second(&self) -> Vec<u32> {
        self.arrived
            .iter()
            .map(|count| count.load(Relaxed))
            .collect()
    }

    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Relaxed)
    }

    pub(crate) fn wasted(&self) -> u64 {
        self.wasted.load(Relaxed)
    }

    /// Services that began under the fault: the witness that it bit.
    pub(crate) fn slowed(&self) -> u64 {
        self.slowed.load(Relaxed)
    }
}

/// A service under way; dropped before its end, it was wasted.
struct Begun<'a> {
    work: &'a Work,
    ended: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.work.count_wasted();
        }
    }
}

/// One attempt as the server sees it.
#[derive(Debug)]
struct Job {
    call: u64,
    attempt: u32,
    expires: Option<Instant>,
}

/// How the server treats an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Handler {
    /// Goes on after the caller has gone, like a Go handler that never looks at its context.
    GoesOn,
    /// As `GoesOn`, but work whose time is over when its turn comes is not started.
    DropExpired,
    /// As `GoesOn`, but with this many places in slots and queue together, and then 503.
    BoundedQueue(Arc<Semaphore>),
    /// Runs inside the request, as axum does by itself: one that is dropped frees its slot or place.
    Inline,
}

impl Handler {
    pub(crate) fn bounded_queue(queue: usize) -> Self {
        Self::BoundedQueue(Arc::new(Semaphore::new(SLOTS + queue)))
    }
}

/// The server's one route. Put a layer around it to protect it.
pub(crate) fn router(work: &Arc<Work>, handler: Handler) -> Router {
    Router::new()
        .route("/calls/{call}/{attempt}", get(answer))
        .with_state((work.clone(), handler))
}

async fn answer(
    State((work, handler)): State<(Arc<Work>, Handler)>,
    Path((call, attempt)): Path<(u64, u32)>,
    headers: HeaderMap,
) -> StatusCode {
    let mut job = Job {
        call,
        attempt,
        expires: None,
    };
    let mut place = None;
    match handler {
        Handler::Inline => return work.serve(job).await,
        Handler::GoesOn => {}
        Handler::DropExpired => job.expires = expiry(&headers),
        Handler::BoundedQueue(places) => match places.try_acquire_owned() {
            Ok(free) => place = Some(free),
            Err(_) => return StatusCode::SERVICE_UNAVAILABLE,
        },
    }
    let (reply, answer) = oneshot::channel();
    tokio::spawn(async move {
        let status = work.serve(job).await;
        drop(place);
        // The receiver lives in the request's future, which hyper drops when the caller hangs up.
        if reply.send(status).is_err() && status == StatusCode::OK {
            work.count_wasted();
        }
    });
    answer.await.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn expiry(headers: &HeaderMap) -> Option<Instant> {
    let left: u64 = headers.get(TIME_LEFT)?.to_str().ok()?.parse().ok()?;
    Instant::now().checked_add(Duration::from_millis(left))
}

/// A listening server; dropping it stops it from accepting.
#[derive(Debug)]
pub(crate) struct Server {
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Takes a free port on the loopback address.
pub(crate) async fn listen() -> anyhow::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0")
        .await
        .context("no free port on 127.0.0.1 for the server")
}

/// Serves the arm's routes, and counts every attempt before any of its layers sees it.
pub(crate) fn serve(listener: TcpListener, router: Router, work: &Arc<Work>) -> Server {
    let counted = router.layer(middleware::from_fn_with_state(work.clone(), count));
    let listener = listener.tap_io(|stream| {
        // A socket that is already gone can't be tuned, and need not be.
        let _ = stream.set_nodelay(true);
    });
    let accepting = tokio::spawn(async move {
        // `serve` has no error of its own: it ends only when the task is aborted.
        let _ = axum::serve(listener, counted).await;
    });
    Server { accepting }
}

async fn count(State(work): State<Arc<Work>>, request: Request, next: Next) -> Response {
    let second = work.start.elapsed().as_secs();
    let last = work.arrived.len() - 1;
    let bucket = usize::try_from(second).unwrap_or(last).min(last);
    work.arrived[bucket].fetch_add(1, Relaxed);
    next.run(request).await
}

#[cfg(test)]
mod tests;
