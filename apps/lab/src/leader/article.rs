//! `LeaderElection`.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// The article's numbers.
const EVERY: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(10);

/// Asks for the lease over and over, and starts or stops what only the leader does.
pub(crate) async fn campaign<F, A>(
    try_acquire: F,
    on_become_leader: impl Fn(),
    on_lose_leader: impl Fn(),
) where
    F: Fn(Duration) -> A,
    A: Future<Output = anyhow::Result<bool>>,
{
    let mut is_leader = false;
    // Quirk: the first look is after the first tick, so nobody leads for 5 s.
    let mut ticker = interval_at(Instant::now() + EVERY, EVERY);
    // A Go ticker drops the ticks that nobody took.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticker.tick().await;
        // Quirk: no time limit. While there is no answer it stays what it was.
        let Ok(acquired) = try_acquire(LEASE).await else {
            // Quirk: `continue`: a leader that can't ask goes on as leader, past the end of its lease.
            continue;
        };
        if acquired && !is_leader {
            is_leader = true;
            // Quirk: `go`: nothing waits for what was stopped before, and no token goes along.
            on_become_leader();
        } else if !acquired && is_leader {
            is_leader = false;
            on_lose_leader();
        }
        // Quirk: the lease is never given back.
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use anyhow::bail;
    use tokio::time::timeout;

    use super::*;

    /// What it does in each tick, given what `TryAcquire` answers.
    async fn played(answers: &[Option<bool>]) -> Vec<&'static str> {
        let (tick, done) = (Cell::new(0), RefCell::new(Vec::new()));
        let try_acquire = |_| {
            let answer = answers.get(tick.get()).copied();
            tick.set(tick.get() + 1);
            async move {
                match answer {
                    Some(Some(acquired)) => Ok(acquired),
                    Some(None) => bail!("it can't be reached"),
                    None => std::future::pending().await,
                }
            }
        };
        let become_leader = || done.borrow_mut().push("start");
        let lose_leader = || done.borrow_mut().push("stop");
        let _ = timeout(
            EVERY * 20,
            campaign(try_acquire, become_leader, lose_leader),
        )
        .await;
        done.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_leaves_it_leader() {
        assert_eq!(played(&[Some(true), None, None]).await, ["start"]);
        assert_eq!(
            played(&[Some(true), Some(false), Some(true)]).await,
            ["start", "stop", "start"]
        );
        assert_eq!(played(&[None, Some(false)]).await, [""; 0]);
    }
}
