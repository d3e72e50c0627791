//! The metrics of the protected arms as Prometheus text, while a run lasts.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use backstay::telemetry::MetricsListener;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::terminal::say;

/// From a loopback round trip to the last answer anybody waits for, in seconds.
const BUCKETS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 1.0, 3.0, 10.0];
/// The recorder holds every time it was told until somebody scrapes, or until this is over.
const EMPTIED_EVERY: Duration = Duration::from_secs(5);

/// Answers `GET /metrics`; dropping it stops that.
#[derive(Debug)]
pub(crate) struct Metrics {
    serving: JoinHandle<()>,
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Metrics {
    /// Counts from now on and answers at `address`. Once in a process.
    pub(crate) async fn serve(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("can't answer for metrics at {address}"))?;
        let address = listener.local_addr()?;
        let recorder = PrometheusBuilder::new()
            .set_buckets(BUCKETS)?
            .install_recorder()?;
        MetricsListener::describe();
        let rendered = recorder.clone();
        let page = async move || {
            (
                [(CONTENT_TYPE, "text/plain; version=0.0.4")],
                rendered.render(),
            )
        };
        let app = Router::new().route("/metrics", get(page));
        let serving = tokio::spawn(async move {
            // Neither has an end of its own: both go on until the task is aborted.
            tokio::select! {
                biased;
                () = emptied(recorder) => {}
                _ = axum::serve(listener, app).into_future() => {}
            }
        });
        say(&format!("metrics: http://{address}/metrics"));
        Ok(Self { serving })
    }
}

/// Keeps the recorder small where nobody scrapes.
async fn emptied(recorder: PrometheusHandle) {
    loop {
        sleep(EMPTIED_EVERY).await;
        recorder.run_upkeep();
    }
}
