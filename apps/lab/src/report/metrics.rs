//! The metrics of the protected arms as Prometheus text, while a run lasts.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use backstay::telemetry::MetricsListener;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::terminal::say;

/// From a loopback round trip to the last answer anybody waits for, in seconds.
const BUCKETS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 1.0, 3.0, 10.0];

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
        let page = async move || {
            (
                [(CONTENT_TYPE, "text/plain; version=0.0.4")],
                recorder.render(),
            )
        };
        let app = Router::new().route("/metrics", get(page));
        let serving = tokio::spawn(async move {
            // `serve` has no error of its own: it ends only when the task is aborted.
            let _ = axum::serve(listener, app).await;
        });
        say(&format!("metrics: http://{address}/metrics"));
        Ok(Self { serving })
    }
}
