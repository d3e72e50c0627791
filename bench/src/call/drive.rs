//! The measured loop: calls one after another on each thread, nothing else.
//!
//! Every subject goes through this code, compiled for its own types, so no call is
//! dynamic and what the loop itself costs is the `bare call` row.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::coop::unconstrained;

use crate::clock;

/// Calls that a thread takes from the batch at a time.
///
/// Threads take what they can do, so none is left to finish alone when the machine
/// gave it less time. Large enough that taking a chunk costs a call nothing.
const CHUNK: u64 = 64;

/// Calls each thread makes before the clock starts: fills caches, windows and pools.
const WARM_UP: u64 = 1_000;

/// Times `calls` calls on one thread.
pub(crate) fn alone<H>(
    build: &impl AsyncFn() -> H,
    call: &impl AsyncFn(&mut H) -> bool,
    calls: u64,
) -> Duration {
    let runtime = runtime();
    let mut handle = runtime.block_on(build());
    Batch::new(calls, 1)
        .run(&runtime, &mut handle, call)
        .elapsed()
}

/// Times `calls` calls in total on `threads` threads, each with its clone of one handle.
///
/// The time is that of the whole batch, from the first thread's start to the last one's
/// end. With perfect scaling it halves when the threads double.
pub(crate) fn shared<H: Clone + Send>(
    build: &impl AsyncFn() -> H,
    call: &(impl AsyncFn(&mut H) -> bool + Sync),
    calls: u64,
    threads: usize,
) -> Duration {
    // The handle is built here, so this runtime outlives the batch: seatbelt's clock
    // has its driver on it.
    let home = runtime();
    let mut handle = home.block_on(build());
    let batch = Batch::new(calls, threads);
    let all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let (batch, mut handle) = (&batch, handle.clone());
                scope.spawn(move || batch.run(&runtime(), &mut handle, call))
            })
            .collect();
        let own = batch.run(&home, &mut handle, call);
        others.into_iter().fold(own, |all, other| {
            all.join(&other.join().expect("a bench thread panicked"))
        })
    });
    all.elapsed()
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a current-thread runtime with only a timer needs nothing that can fail")
}

/// Work that several threads share.
struct Batch {
    left: AtomicU64,
    start: Barrier,
}

impl Batch {
    fn new(calls: u64, threads: usize) -> Self {
        Self {
            left: AtomicU64::new(calls),
            start: Barrier::new(threads),
        }
    }

    /// Warms up, waits for the other threads, then calls until the batch is done.
    fn run<H>(
        &self,
        runtime: &Runtime,
        handle: &mut H,
        call: &impl AsyncFn(&mut H) -> bool,
    ) -> Span {
        // Unconstrained: each real call has a task's budget of its own, so the loop must
        // not charge a subject for the yields that tokio asks of one endless task.
        runtime.block_on(unconstrained(async {
            let mut expected = true;
            for _ in 0..WARM_UP {
                expected &= call(handle).await;
            }
            self.start.wait();
            let start = clock::now();
            while let Some(calls) = self.take() {
                for _ in 0..calls {
                    expected &= call(handle).await;
                }
            }
            let end = clock::now();
            assert!(expected, "a measured call did not end as its group says");
            Span { start, end }
        }))
    }

    fn take(&self) -> Option<u64> {
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                (left > 0).then(|| left.saturating_sub(CHUNK))
            });
        left.ok().map(|left| left.min(CHUNK))
    }
}

/// When a thread's measured calls began and ended.
struct Span {
    start: Instant,
    end: Instant,
}

impl Span {
    fn join(self, other: &Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    fn elapsed(&self) -> Duration {
        self.end.duration_since(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads take exactly the batch, whatever is left for the last one.
    #[test]
    fn chunks_add_up_to_the_batch() {
        for calls in [0, 1, CHUNK, 3 * CHUNK + 7] {
            let batch = Batch::new(calls, 1);
            let taken: u64 = std::iter::from_fn(|| batch.take()).sum();
            assert_eq!(taken, calls);
        }
    }

    /// A call that does not end as expected is never reported as a time.
    #[test]
    #[should_panic(expected = "did not end as its group says")]
    fn an_unexpected_end_is_no_result() {
        alone(&async || (), &async |(): &mut ()| false, 1);
    }
}
