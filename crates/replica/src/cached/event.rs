use std::time::Duration;

/// What happens in a cache of look-ups. Hits are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupEvent {
    /// A load has brought an answer.
    Loaded {
        /// How long it took.
        took: Duration,
    },
    /// A load has failed.
    LoadFailed {
        /// How long it took.
        took: Duration,
        /// Whether an older answer may be served instead.
        is_unavailable: bool,
    },
    /// An answer was served whose time is over.
    ServedStale {
        /// Its age.
        age: Duration,
    },
    /// A look-up was refused because there are too many loads.
    Refused {
        /// The bound.
        limit: usize,
    },
    /// A key or all of them were invalidated.
    Invalidated,
}
