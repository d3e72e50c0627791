//! Stripes: each thread counts in a place of its own, so that sharing a policy costs no cache-line traffic.

/// How many places. Threads beyond it share, which costs speed and nothing else.
#[cfg(not(loom))]
pub(crate) const STRIPES: usize = 8;
#[cfg(loom)]
pub(crate) const STRIPES: usize = 2;

/// A value alone on its cache lines (two of them: processors fetch lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// The stripe of this thread, the same for its whole life.
#[cfg(not(loom))]
pub(crate) fn current() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    // A call that is dropped while its thread ends still finds a place to count.
    MINE.try_with(|mine| *mine).unwrap_or(0)
}

#[cfg(loom)]
std::thread_local! {
    // All threads of a model run on one thread of the system, and models of other tests on others.
    static MODEL_NEXT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Gives stripes from the first again; every run of a model must begin with it to be repeatable.
#[cfg(loom)]
pub fn reset_for_model() {
    MODEL_NEXT.set(0);
}

#[cfg(loom)]
pub(crate) fn current() -> usize {
    loom::thread_local! {
        static MINE: usize = MODEL_NEXT.replace(MODEL_NEXT.get() + 1) % STRIPES;
    }
    MINE.with(|mine| *mine)
}
