//! Follows the log under a claim, in order, and gives what it brings to a sink.

pub(crate) mod dead;
pub(crate) mod lag;
mod options;
mod orders;
mod progress;
mod run;
mod sink;
mod take;
mod term;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backstay_store::{Position, Recorded, Store, Timestamp, Unavailable};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub(crate) use options::Options;
pub(crate) use progress::{ALL, Gauge, Listener, Said};
pub use progress::{Happened, Progress};
pub(crate) use sink::{Sink, SinkError};

use crate::task::Task;

/// What is followed, and how.
pub(crate) struct Consumer<T> {
    pub(crate) log: Store,
    /// Of the consumer.
    pub(crate) name: String,
    /// Streams that begin so.
    pub(crate) prefix: String,
    pub(crate) decode: Box<Decode<T>>,
    pub(crate) options: Options,
    pub(crate) gauge: Gauge,
}

type Decode<T> = dyn Fn(&Recorded) -> Decoded<T> + Send + Sync;

impl<T> Consumer<T> {
    /// Upcasts, and what reads an event, are the user's code.
    fn decoded(&self, recorded: &Recorded) -> Decoded<T> {
        contained(|| (self.decode)(recorded))
            .unwrap_or_else(|| Decoded::Unreadable(PANICKED.to_owned()))
    }
}

/// What the user's code answers; none if it panics.
pub(crate) fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    // A panic's value may panic when it is dropped.
    catch_unwind(AssertUnwindSafe(call))
        .map_err(std::mem::forget)
        .ok()
}

pub(crate) const PANICKED: &str = "its code panicked";

/// What an event of the log is to a consumer.
pub(crate) enum Decoded<T> {
    Item(T),
    /// Of no interest.
    Pass,
    /// It can't be read: it is set aside.
    Unreadable(String),
}

/// Something to be consumed, and where it is in the log.
#[derive(Clone, Debug)]
pub(crate) struct Item<T> {
    pub(crate) place: Arc<Place>,
    pub(crate) what: T,
}

/// Where an event is in the log.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) position: Position,
    pub(crate) stream: String,
    pub(crate) version: backstay_store::Version,
    pub(crate) kind: String,
    pub(crate) at: Timestamp,
}

impl Place {
    pub(crate) fn of(recorded: &Recorded) -> Self {
        Self {
            position: recorded.position,
            stream: recorded.stream.clone(),
            version: recorded.version,
            kind: recorded.kind.clone(),
            at: recorded.at,
        }
    }
}

/// Has a consumer run. When it is stopped it gives its claim to others: what is under way is taken or not, and they go on from there.
pub(crate) fn start<T: Clone + Send + Sync + 'static>(
    consumer: Consumer<T>,
    sink: impl Sink<T>,
) -> Task {
    // It does not panic: what users gave is contained.
    Task::begin(|stop| run::run(consumer, sink, stop))
}

/// How far a read side is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It was not that far in time.
    #[error("it is at position {at}, and {wanted} was asked for")]
    Behind {
        /// Where it is.
        at: Position,
        /// What was asked for.
        wanted: Position,
    },
    /// The store of the read model can't say.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Waits until a place that is told is at a position, at most so long.
pub(crate) async fn at_least(
    mut at: watch::Receiver<Position>,
    wanted: Position,
    within: Duration,
) -> Result<(), WaitError> {
    let until = Instant::now() + within.min(LONGEST);
    let reached = timeout_at(until, at.wait_for(|at| *at >= wanted)).await;
    if matches!(reached, Ok(Ok(_))) {
        return Ok(());
    }
    drop(reached);
    let at = *at.borrow();
    Err(WaitError::Behind { at, wanted })
}

/// Nobody waits a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

#[expect(
    clippy::disallowed_methods,
    reason = "events of other machines have no other clock in common"
)]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or(Duration::ZERO).as_millis();
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
