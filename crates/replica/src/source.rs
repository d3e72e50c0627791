use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::Moment;
use futures_util::stream::BoxStream;

use crate::nudge::Nudge;
use crate::{Clock, Version};

/// What a source tells, until the session ends.
pub type Session<K, V> = BoxStream<'static, Result<News<K, V>, SourceError>>;

/// Where a copy comes from.
///
/// A source decides nothing: what may replace what, when to begin anew and when it is dead is decided by the replica.
pub trait Source<K, V>: Send + Sync + 'static {
    /// What it is called in events, metrics and the file of a warm start.
    fn name(&self) -> String;

    /// Begins a session. It ends when the stream ends or is dropped, and after its first error.
    ///
    /// A source that can go on from [`Start::resume`] begins with changes or a proof, any other with a snapshot.
    /// It proves at least once a [heartbeat](Start::heartbeat) that nothing is missing, and soon after a
    /// [nudge](Start::nudged).
    fn open(&self, start: Start) -> Session<K, V>;
}

/// How a session begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// What the copy holds; none before the first.
    pub held: Option<Version>,
    /// The same where changes after it would do; none where the copy needs a snapshot.
    pub resume: Option<Version>,
    /// How often to prove that nothing is missing.
    pub heartbeat: Duration,
    /// By what the moments of proofs are counted.
    pub clock: Clock,
    pub(crate) nudge: Arc<Nudge>,
}

impl Start {
    /// Waits until a reader wants a proof now. Many readers are one nudge, and there are 10 ms between two.
    ///
    /// # Cancel safety
    ///
    /// No nudge is lost.
    pub async fn nudged(&self) {
        self.nudge.nudged().await;
    }
}

/// What a session tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News<K, V> {
    /// A snapshot begins. Pages follow, then its completion.
    Snapshot(Version),
    /// Some of the snapshot. Of several changes of one key the one with the highest number counts.
    Page(Vec<Change<K, V>>),
    /// All of the snapshot was told: together it is the source's state at this version.
    Complete {
        /// Not before the version at which it began.
        version: Version,
        /// Before the request whose answer said that the source is at this version.
        asked: Moment,
    },
    /// All that changed after one version up to another. Nothing at all is also something.
    Changes {
        /// Nothing between the copy and this is missing.
        after: Version,
        /// The copy is here when these are applied.
        upto: Version,
        /// In order. Several of one key may be told as the last.
        changes: Vec<Change<K, V>>,
        /// Before the request was sent whose answer says that the source has nothing after `upto`; none where it may.
        ///
        /// What a source says without being asked proves nothing: it may have been on its way for hours.
        asked: Option<Moment>,
    },
    /// As [`Changes`](Self::Changes), by an answer to a request of the source's own that has more behind it.
    ///
    /// It proves no age, and that the source is alive: a copy that is far behind is not given up while it catches up.
    More {
        /// Nothing between the copy and this is missing.
        after: Version,
        /// The copy is here when these are applied.
        upto: Version,
        /// In order. Several of one key may be told as the last.
        changes: Vec<Change<K, V>>,
    },
}

impl<K, V> News<K, V> {
    /// What an answer to a request of the source's own has brought: all there is, if `asked` is the moment before it.
    pub fn answer(
        after: Version,
        upto: Version,
        changes: Vec<Change<K, V>>,
        asked: Option<Moment>,
    ) -> Self {
        match asked {
            Some(_) => Self::Changes {
                after,
                upto,
                changes,
                asked,
            },
            None => Self::More {
                after,
                upto,
                changes,
            },
        }
    }

    /// The source has nothing after a version, by an answer to a request that was sent after `asked`.
    pub fn proof(version: Version, asked: Moment) -> Self {
        Self::Changes {
            after: version,
            upto: version,
            changes: Vec::new(),
            asked: Some(asked),
        }
    }
}

/// A change of a key, or its place in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<K, V> {
    /// Which key.
    pub key: K,
    /// Its number in the source's history.
    pub number: u64,
    /// The value; none since it was deleted.
    pub value: Option<V>,
}

/// Why a session has ended, in the source's words.
#[derive(Clone, Debug)]
pub struct SourceError(Arc<dyn Error + Send + Sync>);

impl SourceError {
    /// Because of this.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::boxed(error.into())
    }

    pub(crate) fn boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(Arc::from(error))
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
