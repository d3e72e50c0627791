//! Measures what the server can do, instead of assuming it.
//!
//! Eight slots of 20 ms would be 400/s, but timers are rounded up to a millisecond and tasks take
//! time to wake. A short closed loop that keeps every slot busy gives the real number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::ensure;
use http::HeaderMap;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::client::Dependency;
use super::plan::Plan;
use super::server::{self, Fault, Handler, SERVICE_MEAN, SLOTS, Service, Work};

/// Three callers a slot: two always wait, so that no slot is ever idle.
const CALLERS: usize = 3 * SLOTS;
const SETTLE: Duration = Duration::from_millis(500);
/// Below this share of what slots and times allow, waiting for the processor is what is measured.
const LEAST: f64 = 0.25;
/// How long an experiment counts services.
pub(crate) const MEASURED: Duration = Duration::from_secs(3);

/// Services a second of one server under this fault, counted over this span.
pub(crate) async fn measure(fault: Fault, span: Duration) -> anyhow::Result<f64> {
    let end = SETTLE + span;
    let plan = Plan {
        counted_from: SETTLE,
        fault_from: Duration::ZERO,
        fault_until: 2 * end,
        end,
    };
    let work = Work::new(Service::Even, Instant::now(), plan, fault);
    let listener = server::listen().await?;
    let dependency = Dependency::new(listener.local_addr()?);
    let _server = server::serve(listener, server::router(&work, Handler::GoesOn), &work);

    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (dependency, next) = (dependency.clone(), next.clone());
        callers.spawn(timeout(end, async move {
            // A failure ends the caller; the check below then sees too few services.
            while dependency
                .attempt(next.fetch_add(1, Relaxed), 0, HeaderMap::new())
                .await
                .is_ok()
            {}
        }));
    }

    sleep(SETTLE).await;
    let (from, before) = (Instant::now(), work.finished());
    sleep(span).await;
    let capacity = (work.finished() - before) as f64 / from.elapsed().as_secs_f64();
    let nominal = SLOTS as f64 / SERVICE_MEAN.as_secs_f64() * fault.factor;
    ensure!(
        capacity >= LEAST * nominal,
        "the server manages only {capacity:.1}/s of about {nominal:.1}/s: this machine is too busy to measure"
    );
    Ok(capacity)
}
