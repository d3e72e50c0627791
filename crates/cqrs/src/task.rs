use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// What goes on until it is asked to end, or this is dropped.
#[derive(Debug)]
pub(crate) struct Task {
    stop: Arc<Notify>,
    ended: watch::Receiver<()>,
    running: JoinHandle<()>,
}

impl Task {
    /// Begins it. Needs a runtime.
    pub(crate) fn begin<F>(work: impl FnOnce(Arc<Notify>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = Arc::new(Notify::new());
        let (goes_on, ended) = watch::channel(());
        let work = work(stop.clone());
        let running = tokio::spawn(async move {
            work.await;
            drop(goes_on);
        });
        Self {
            stop,
            ended,
            running,
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(&self) {
        self.stop.notify_one();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.running.abort();
    }
}
