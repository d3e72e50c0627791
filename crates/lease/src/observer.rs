use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::keeper::by;
use crate::timing::Timing;
use crate::{Clock, Leases};

/// Follows who leads under a name.
///
/// What it tells was true a moment ago. It is for finding the leader, not for acting in its place.
pub struct Observer {
    leases: Arc<dyn Leases>,
    name: String,
    clock: Arc<dyn Clock>,
    timing: Timing,
    hints: BoxStream<'static, ()>,
    told: Option<Leader>,
    has_told: bool,
}

/// Who leads, as the lease's home knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// The token of its term.
    pub token: u64,
    /// What it says of itself; empty if it says nothing, or has not said it yet.
    pub about: String,
}

impl Observer {
    pub(crate) fn new(
        leases: Arc<dyn Leases>,
        name: String,
        clock: Arc<dyn Clock>,
        timing: Timing,
    ) -> Self {
        Self {
            hints: leases.hints(name.clone()),
            leases,
            name,
            clock,
            timing,
            told: None,
            has_told: false,
        }
    }

    /// Who leads: at once the first time, then when it is another than was told last; none if nobody does.
    ///
    /// While the lease's home can't be reached it waits.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was not told comes next time.
    pub async fn next(&mut self) -> Option<Leader> {
        loop {
            let timing = &self.timing;
            let until = self.clock.now().plus(timing.request_timeout);
            let holder = self.leases.holder(self.name.clone());
            if let Some(Ok(holder)) = by(&*self.clock, until, holder).await {
                let leader = holder.map(|holder| Leader {
                    token: holder.lease.token,
                    about: holder.about,
                });
                if !self.has_told || self.told != leader {
                    self.has_told = true;
                    self.told.clone_from(&leader);
                    return leader;
                }
            }
            // A leader that has died gives no hint.
            let next = self.clock.now().plus(timing.renew_every);
            by(&*self.clock, next, self.hints.next()).await;
        }
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer")
            .field("name", &self.name)
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
