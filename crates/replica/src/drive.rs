//! The task that follows a source.

use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::follow::{Apply, Broken, Claims, Follow};
use crate::replica::Shared;
use crate::table::Loading;
use crate::{Change, Ended, Event, Moment, News, Origin, Source, SourceError, Start, Version};

/// After a failure a reader who waits has the source asked again no sooner than this.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// Ends once it is told to stop, or when nobody holds the replica any more.
pub(crate) async fn drive<K, V>(
    shared: Arc<Shared<K, V>>,
    source: Arc<dyn Source<K, V>>,
    mut stop: watch::Receiver<bool>,
) where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let mut follower = Follower {
        follow: Follow::new(shared.version()),
        loading: None,
        shared,
    };
    let (mut failures, mut wait) = (0, Duration::ZERO);
    loop {
        let mut proved = false;
        let reason = select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            reason = follower.session(&*source, &mut proved) => reason,
        };
        if proved {
            (failures, wait) = (0, Duration::ZERO);
        }
        failures += 1;
        let options = &follower.shared.options;
        wait = options.backoff.delay(failures, wait, fastrand::u64(..));
        follower.shared.listener.hear(&Event::SessionEnded {
            reason,
            retry_in: wait,
        });
        let nudge = follower.shared.nudge.clone();
        let nudged = async {
            sleep(LEAST_WAIT).await;
            nudge.nudged().await;
        };
        select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(wait) => {}
            () = nudged => {}
        }
    }
}

struct Follower<K, V> {
    follow: Follow,
    loading: Option<Loading<K, V>>,
    shared: Arc<Shared<K, V>>,
}

impl<K, V> Follower<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    async fn session(&mut self, source: &dyn Source<K, V>, proved: &mut bool) -> Ended {
        let mut session = source.open(Start {
            held: self.follow.held(),
            resume: self.follow.resume(),
            heartbeat: self.shared.options.heartbeat,
            clock: self.shared.clock.clone(),
            nudge: self.shared.nudge.clone(),
        });
        let quiet = self.shared.options.dead_after();
        let mut dead_at = Instant::now() + quiet;
        let reason = loop {
            // A source that has all to tell at once does not keep the thread to itself.
            tokio::task::coop::consume_budget().await;
            let next = AssertUnwindSafe(session.next()).catch_unwind();
            match timeout_at(dead_at, next).await {
                Err(_) => break Ended::Silent { quiet },
                // A source has users' code in it, and one bad value must not end the copy for ever.
                Ok(Err(_)) => break Ended::Failed(SourceError::new("the source has panicked")),
                Ok(Ok(None)) => break Ended::Closed,
                Ok(Ok(Some(Err(error)))) => break Ended::Failed(error),
                Ok(Ok(Some(Ok(news)))) => match self.take(news) {
                    Ok(Heard::Proof) => {
                        *proved = true;
                        dead_at = Instant::now() + quiet;
                    }
                    Ok(Heard::Answer) => dead_at = Instant::now() + quiet,
                    // Changes come also over a connection that does not carry our questions any more.
                    Ok(Heard::Changes) => {}
                    Err(reason) => break reason,
                },
            }
        };
        if matches!(reason, Ended::Broken(_)) {
            self.follow.on_broken();
        }
        self.follow.on_end();
        self.loading = None;
        reason
    }

    fn take(&mut self, news: News<K, V>) -> Result<Heard, Ended> {
        let limit = self.shared.options.max_entries;
        match news {
            News::Snapshot(version) => {
                self.follow.on_snapshot(version)?;
                self.loading = Some(Loading::beside(self.shared.table(), version));
                Ok(Heard::Answer)
            }
            News::Page(page) => {
                self.follow.on_page()?;
                if let Some(loading) = &mut self.loading {
                    loading.page(page, limit)?;
                }
                Ok(Heard::Answer)
            }
            News::Complete { version, asked } => {
                self.refuse_future(asked)?;
                let before = self.shared.version();
                self.follow.on_complete(version)?;
                let loading = self.loading.take().unwrap_or_default();
                self.shared.install(loading, version, asked, Origin::Source);
                if let Some(from) = before.filter(|from| from.epoch != version.epoch) {
                    let to = version;
                    self.shared.listener.hear(&Event::EpochChanged { from, to });
                }
                let entries = self.shared.len();
                self.shared
                    .listener
                    .hear(&Event::Synced { version, entries });
                Ok(Heard::Proof)
            }
            News::Changes {
                after,
                upto,
                changes,
                asked,
            } => {
                let Some(asked) = asked else {
                    self.apply(after, upto, changes, Claims::Nothing)?;
                    return Ok(Heard::Changes);
                };
                self.refuse_future(asked)?;
                self.apply(after, upto, changes, Claims::AtHead)?;
                let is_new = self.shared.prove(asked);
                Ok(if is_new { Heard::Proof } else { Heard::Changes })
            }
            News::More {
                after,
                upto,
                changes,
            } => {
                self.apply(after, upto, changes, Claims::Nothing)?;
                Ok(Heard::Answer)
            }
        }
    }

    fn apply(
        &mut self,
        after: Version,
        upto: Version,
        changes: Vec<Change<K, V>>,
        claims: Claims,
    ) -> Result<(), Broken> {
        if let Apply::Above(number) = self.follow.on_changes(after, upto, claims)? {
            self.shared.apply(upto, number, changes)?;
            self.follow.on_applied(upto);
        }
        Ok(())
    }

    fn refuse_future(&self, asked: Moment) -> Result<(), Ended> {
        if asked > self.shared.clock.now() {
            return Err(Ended::Failed(SourceError::new("a proof from the future")));
        }
        Ok(())
    }
}

/// What keeps a session alive.
enum Heard {
    /// Of an answer to a question, which proves no age.
    Answer,
    /// Unasked.
    Changes,
    Proof,
}
