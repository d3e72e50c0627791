//! The task that renews a lease, and gives it back when the term ends.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use backstay_core::Moment;
use tokio::select;

use crate::event::{Event, StepDown};
use crate::term::{Phase, Term};
use crate::{Clock, Leases};

/// The thread that watches for the end looks so often.
const LOOK: Duration = Duration::from_secs(1);
/// Shorter waits than this are not worth a wake-up.
const SHORT: Duration = Duration::from_millis(1);

/// Keeps a lease that was asked for at a moment, until the term has ended and its work has stopped.
pub(crate) async fn keep(
    term: Arc<Term>,
    leases: Arc<dyn Leases>,
    asked: Moment,
    resigned: impl Future<Output = ()>,
) {
    let term = Ending(term);
    let term = &term.0;
    let reason = select! {
        biased;
        () = resigned => term.stop(StepDown::Resigned),
        reason = term.stopping() => reason,
        reason = renew(term, &*leases, asked) => term.stop(reason),
    };
    let released = give_back(term, &*leases, reason).await;
    term.end();
    term.listener.hear(&Event::Ended {
        token: term.lease.token,
        released,
    });
}

/// Ends the term also when its runtime ends, so that nobody waits for it.
struct Ending(Arc<Term>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.stop(StepDown::Released);
        self.0.end();
    }
}

/// Renews until it can't be renewed any more.
async fn renew(term: &Term, leases: &dyn Leases, asked: Moment) -> StepDown {
    let (timing, clock) = (&term.timing, &*term.clock);
    let mut next = asked.plus(timing.until_renewal(fastrand::f64()));
    loop {
        let stop_at = term.state().span.stop_at;
        clock.sleep_until(next.min(stop_at)).await;
        let now = clock.now();
        if stop_at <= now {
            return StepDown::TimeUp;
        }
        let until = now.plus(timing.request_timeout).min(stop_at);
        let answer = leases.renew(term.lease.clone(), timing.ttl);
        let error = match by(clock, until, answer).await {
            Some(Ok(true)) => {
                if !term.extend(now) {
                    return StepDown::TimeUp;
                }
                next = now.plus(timing.until_renewal(fastrand::f64()));
                continue;
            }
            Some(Ok(false)) => return StepDown::Lost,
            Some(Err(error)) => Some(error),
            None => None,
        };
        term.listener.hear(&Event::RenewalFailed {
            token: term.lease.token,
            error,
            left: term.remaining(),
        });
        let pause = timing.until_renewal_again(fastrand::f64());
        next = clock.now().plus(pause.max(SHORT));
    }
}

/// Waits for the work, then gives the lease back. Whether its home has said so.
async fn give_back(term: &Term, leases: &dyn Leases, reason: StepDown) -> bool {
    let clock = &*term.clock;
    let valid_until = term.state().span.valid_until;
    let is_idle = by(clock, valid_until, term.idle()).await.is_some();
    // Work that blocks the only thread keeps this from looking until it has ended.
    if !is_idle || term.worked_until(valid_until) {
        let token = term.lease.token;
        term.listener.hear(&Event::Overran { token });
        return false;
    }
    if reason == StepDown::Lost {
        return false;
    }
    loop {
        let now = clock.now();
        if valid_until <= now {
            return false;
        }
        let until = now.plus(term.timing.request_timeout).min(valid_until);
        let answer = leases.release(term.lease.clone());
        if let Some(Ok(())) = by(clock, until, answer).await {
            return true;
        }
        let pause = term.timing.until_renewal_again(fastrand::f64());
        let again = clock.now().plus(pause.max(SHORT));
        clock.sleep_until(again.min(valid_until)).await;
    }
}

/// What comes by a moment.
pub(crate) async fn by<F: Future>(
    clock: &dyn Clock,
    until: Moment,
    wanted: F,
) -> Option<F::Output> {
    select! {
        biased;
        wanted = wanted => Some(wanted),
        () = clock.sleep_until(until) => None,
    }
}

/// Ends the process when work goes on after the lease is over. It has a thread: work may block all the others.
pub(crate) fn abort_if_stuck(term: Arc<Term>) -> io::Result<()> {
    let watch = move || {
        loop {
            let state = term.state();
            let left = state.span.valid_until.since(term.clock.now());
            if left.is_zero() && term.has_work() {
                std::process::abort();
            }
            if left.is_zero() || matches!(state.phase, Phase::Over(_)) {
                return;
            }
            // It does not count suspend, and nobody wakes it.
            thread::park_timeout(left.clamp(SHORT, LOOK));
        }
    };
    let thread = thread::Builder::new().name("backstay-lease".to_owned());
    thread.spawn(watch).map(drop)
}
