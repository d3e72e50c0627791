//! Sagas one after the other, many at once. The peers' package has this file too, so that all are measured alike.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clock;

/// How long sagas run before they are measured, and how long they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// From when as many have been started as run at once.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What one visit has shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Steps done a second.
    pub(crate) rate: f64,
    /// Microseconds from a saga's start until it is known to have ended: the median, and what 99 of 100 stay below. None
    /// if no saga both began and ended in time.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

/// How far all sagas together are.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    started: AtomicU64,
    steps: AtomicU64,
    ended: Mutex<Vec<(Instant, Duration)>>,
}

impl Progress {
    /// A saga was started.
    pub(crate) fn started(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    /// A step was called, which is all that it does.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(1, Relaxed);
    }

    fn ended(&self, began: Instant) {
        let now = clock::now();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push((now, now - began));
    }

    /// What there was between two moments, in which so many steps were done.
    fn sample(&self, begin: Instant, end: Instant, steps: u64) -> Sample {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let within = ended.iter().filter(|(at, _)| (begin..end).contains(at));
        let mut times: Vec<_> = within.map(|(_, time)| *time).collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = times.len().checked_sub(1)? * percent / 100;
            Some(times[rank].as_secs_f64() * 1e6)
        };
        Sample {
            rate: steps as f64 / (end - begin).as_secs_f64(),
            p50: at(50),
            p99: at(99),
        }
    }
}

/// Nobody takes longer to start a thousand.
const START: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(1);

/// Runs so many sagas at once, each of which has a number of its own: as one ends, the next begins.
pub(crate) async fn sagas<F>(
    at_once: usize,
    window: Window,
    progress: Arc<Progress>,
    saga: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Result<Sample>
where
    F: Future<Output = Result<()>> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::<Result<()>>::new();
    for _ in 0..at_once {
        let (saga, next, progress) = (saga.clone(), next.clone(), progress.clone());
        tasks.spawn(async move {
            loop {
                let began = clock::now();
                saga(next.fetch_add(1, Relaxed)).await?;
                progress.ended(began);
            }
        });
    }
    let since = clock::now();
    while progress.started.load(Relaxed) < at_once as u64 {
        none_failed(&mut tasks)?;
        ensure!(
            clock::now() - since < START,
            "not all have started after {START:?}"
        );
        sleep(LOOK).await;
    }
    sleep(window.warm_up).await;
    let (begin, before) = (clock::now(), progress.steps.load(Relaxed));
    sleep(window.measured).await;
    let (end, after) = (clock::now(), progress.steps.load(Relaxed));
    none_failed(&mut tasks)?;
    tasks.shutdown().await;
    Ok(progress.sample(begin, end, after - before))
}

/// They only end with an error.
fn none_failed(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    match tasks.try_join_next() {
        Some(ended) => ended?,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        warm_up: Duration::ZERO,
        measured: Duration::from_millis(20),
    };

    fn run<F>(saga: impl Fn(Arc<Progress>) -> F + Clone + Send + 'static) -> Result<Sample>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let progress = Arc::new(Progress::default());
        let saga = {
            let progress = progress.clone();
            move |_| saga(progress.clone())
        };
        runtime.block_on(sagas(2, WINDOW, progress, saga))
    }

    /// The rate is that of the steps in the window; the quantiles are those of the sagas that end in it.
    #[test]
    fn a_sample_is_of_its_window() {
        let progress = Progress::default();
        let now = clock::now();
        let begin = now + Duration::from_secs(1);
        let end = begin + Duration::from_secs(2);
        let moments = [now, begin, end];
        let times = [7, 8, 9].map(Duration::from_micros);
        *progress.ended.lock().unwrap() = moments.into_iter().zip(times).collect();
        let expected = Sample {
            rate: 50.0,
            p50: Some(8.0),
            p99: Some(8.0),
        };
        assert_eq!(progress.sample(begin, end, 100), expected);
    }

    /// Where none ends, the steps count all the same.
    #[test]
    fn sagas_that_take_long_have_a_rate() {
        let sample = run(async |progress: Arc<Progress>| {
            progress.started();
            loop {
                progress.step();
                sleep(LOOK).await;
            }
        });
        let sample = sample.unwrap();
        assert!(sample.rate > 0.0);
        assert_eq!(sample.p50, None);
    }

    /// An error of one saga is the result.
    #[test]
    fn an_error_is_no_sample() {
        let error = run(async |_| anyhow::bail!("full"));
        assert_eq!(error.unwrap_err().to_string(), "full");
    }
}
