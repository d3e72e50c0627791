//! Whether tokio's clock can be paused.
//!
//! A file of its own, so that the test of the build without `test-util` asks the same question.

/// Whether tokio has `pause`. Features can't be asked across crates, but names can: the name below is tokio's
/// where tokio has it, because a glob in the inner scope comes before what the outer scope names.
pub(crate) const CAN_PAUSE: bool = {
    const fn pause() -> Missing {
        Missing
    }
    const _: Missing = pause();
    {
        #[cfg_attr(
            not(test),
            expect(
                clippy::wildcard_imports,
                reason = "a name that may be missing can't be imported"
            )
        )]
        use tokio::time::*;
        const _: Option<Sleep> = None;
        exists(pause)
    }
};

struct Missing;

trait Found {
    const FOUND: bool;
}

impl Found for Missing {
    const FOUND: bool = false;
}

/// `tokio::time::pause` returns nothing.
impl Found for () {
    const FOUND: bool = true;
}

const fn exists<Answer: Found>(_: fn() -> Answer) -> bool {
    Answer::FOUND
}
