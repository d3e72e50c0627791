//! A server's side: so many requests at once, so many waiting, none past its time.

mod builder;
mod future;
mod headers;
mod service;

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use backstay_core::bulkhead::{Bulkhead, Gate, Permit};
use backstay_core::retry_share::RetryShare;
use backstay_core::{Invalid, Moment};
use http::{Method, Uri};

use crate::clock;
use crate::event::{EventKind, Listeners};
use crate::pipeline::BulkheadState;
use crate::turn::wake;

pub use builder::AdmissionBuilder;
pub use future::AdmissionFuture;
pub use service::{AdmissionLayer, AdmissionService};

/// Decides which requests a server takes in, and how long it works on them.
///
/// A request waits in a bounded queue for one of the permits, and holds it until its handler has answered; a body
/// that is streamed after that holds none. What can't be served in its time is refused with 503 and `Retry-After`
/// before the handler sees it. When most arrivals are retries, `grpc-retry-pushback-ms: -1` asks for no more.
///
/// The deadline is the shorter of the server's own and what `grpc-timeout` and `x-envoy-expected-rq-timeout-ms`
/// say. A request that comes after it gets 504; so does one whose handler is still running then, and the handler
/// is dropped. `backstay-effect` states `not-executed` where the handler never began, else `unknown`.
/// [`deadline::remaining`](crate::deadline::remaining) tells the handler what it has left, and pipelines that it
/// calls keep to that.
///
/// Clones share one state, and so do all routes under one layer.
///
/// ```
/// # use axum::{Router, routing::get};
/// use backstay_call::Admission;
///
/// # fn main() -> Result<(), backstay_call::Invalid> {
/// let admission = Admission::builder()
///     .limit(64)
///     .exempt(|_method, uri| uri.path() == "/health")
///     .build()?;
/// let app: Router = Router::new()
///     .route("/orders", get(async || "none"))
///     .route("/health", get(async || "well"))
///     .layer(admission.layer());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admission {
    shared: Arc<Shared>,
}

impl Admission {
    /// Starts an admission with the default options.
    pub fn builder() -> AdmissionBuilder {
        AdmissionBuilder::new()
    }

    /// The name in events and metrics.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// This admission as a layer around services of HTTP requests.
    pub fn layer(&self) -> AdmissionLayer {
        AdmissionLayer::new(Arc::clone(&self.shared))
    }

    /// How many requests are in their handlers, and how many wait; approximate under load.
    pub fn state(&self) -> BulkheadState {
        BulkheadState::from(self.shared.gate.snapshot(clock::now()))
    }

    /// Changes the limits while requests run. No request that was taken in or waits is hurt.
    ///
    /// The queue is what `limits` says, none for [`Bulkhead::limit`] alone: the default of the builder is not
    /// applied again.
    ///
    /// # Errors
    ///
    /// Names the option, its value and the range; nothing changes.
    pub fn reconfigure(&self, limits: Bulkhead) -> Result<(), Invalid> {
        limits.validate("admission")?;
        wake(self.shared.gate.set(limits, clock::now())?);
        self.shared.emit(EventKind::Reconfigured);
        Ok(())
    }
}

type Exempt = Box<dyn Fn(&Method, &Uri) -> bool + Send + Sync>;

/// What all requests share.
struct Shared {
    name: Box<str>,
    gate: Gate<Waker>,
    retries: RetryShare,
    deadline: Duration,
    exempt: Option<Exempt>,
    observe: bool,
    listeners: Listeners,
}

impl Shared {
    fn emit(&self, kind: EventKind) {
        self.listeners.emit(&self.name, kind);
    }

    fn release(&self, permit: Permit, now: Moment) {
        wake(self.gate.release(permit, now));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("name", &self.name)
            .field("deadline", &self.deadline)
            .field("observe", &self.observe)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}
