//! Committers: each commits, waits until that is on disk, and commits again.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::clock;

/// How long committers run, and for how much of it they are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Fills caches, statements and the first pages of files.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What one visit has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Commits a second.
    pub(crate) rate: f64,
    /// Microseconds of a commit: the median, and what 99 of 100 stay below.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Runs committers as tasks, each of which says its number.
pub(crate) async fn tasks<F>(
    committers: usize,
    window: Window,
    commit: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Result<Sample>
where
    F: Future<Output = Result<()>> + Send,
{
    let span = Span::of(window);
    let tasks: Vec<_> = (0..committers)
        .map(|number| {
            let commit = commit.clone();
            tokio::spawn(async move {
                let mut laps = Laps::of(span);
                while laps.go_on() {
                    commit(number).await?;
                    laps.lap();
                }
                anyhow::Ok(laps.times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    sample(times, window)
}

/// Runs committers as threads, for what blocks.
pub(crate) fn threads(
    committers: usize,
    window: Window,
    commit: impl Fn(usize) -> Result<()> + Sync,
) -> Result<Sample> {
    let span = Span::of(window);
    let run = |number| {
        let mut laps = Laps::of(span);
        while laps.go_on() {
            commit(number)?;
            laps.lap();
        }
        anyhow::Ok(laps.times)
    };
    let times = thread::scope(|scope| {
        let threads: Vec<_> = (0..committers)
            .map(|number| scope.spawn(move || run(number)))
            .collect();
        let mut times = Vec::new();
        for thread in threads {
            let done = thread.join().map_err(|_| anyhow!("a committer panicked"))?;
            times.extend(done?);
        }
        anyhow::Ok(times)
    });
    sample(times?, window)
}

/// When what is measured begins and ends.
#[derive(Clone, Copy)]
struct Span {
    begin: Instant,
    end: Instant,
}

impl Span {
    fn of(window: Window) -> Self {
        let begin = clock::now() + window.warm_up;
        let end = begin + window.measured;
        Self { begin, end }
    }
}

/// One committer's times. A commit counts if it ended within the span.
struct Laps {
    span: Span,
    last: Instant,
    times: Vec<Duration>,
}

impl Laps {
    fn of(span: Span) -> Self {
        let (last, times) = (clock::now(), Vec::new());
        Self { span, last, times }
    }

    fn go_on(&self) -> bool {
        self.last < self.span.end
    }

    fn lap(&mut self) {
        let now = clock::now();
        if (self.span.begin..self.span.end).contains(&now) {
            self.times.push(now - self.last);
        }
        self.last = now;
    }
}

fn sample(mut times: Vec<Duration>, window: Window) -> Result<Sample> {
    ensure!(
        !times.is_empty(),
        "no commit ended within {:?}",
        window.measured
    );
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    Ok(Sample {
        rate: times.len() as f64 / window.measured.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        warm_up: Duration::ZERO,
        measured: Duration::from_millis(100),
    };

    /// The rate is that of the window, the quantiles those of the commits.
    #[test]
    fn a_sample_is_of_its_window() {
        let times = (1..=101).rev().map(Duration::from_micros).collect();
        let expected = Sample {
            rate: 1_010.0,
            p50: 51.0,
            p99: 100.0,
        };
        assert_eq!(sample(times, WINDOW).unwrap(), expected);
    }

    /// A window in which nothing ended is no result.
    #[test]
    fn nothing_is_no_sample() {
        let error = sample(Vec::new(), WINDOW).unwrap_err();
        assert_eq!(error.to_string(), "no commit ended within 100ms");
    }

    /// What ends outside of the span is not counted, and the committer stops after it.
    #[test]
    fn only_what_ends_within_the_span_counts() {
        let now = clock::now();
        let hour = Duration::from_hours(1);
        let spans = [(now + hour, true), (now, false)];
        for (begin, goes_on) in spans {
            let end = begin;
            let mut laps = Laps::of(Span { begin, end });
            laps.lap();
            assert!(laps.times.is_empty());
            assert_eq!(laps.go_on(), goes_on);
        }
    }

    /// An error of one committer is the result.
    #[test]
    fn an_error_is_no_sample() {
        let error = threads(2, WINDOW, |number| {
            ensure!(number == 0, "full");
            Ok(())
        });
        assert_eq!(error.unwrap_err().to_string(), "full");
    }
}
