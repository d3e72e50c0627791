//! Open-loop load: calls start when they are due, whether or not earlier ones have ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::DEADLINE;
use super::draw::{Purpose, exponential, unit};
use super::measure::Ended;
use super::running::Running;
use crate::arms::{Call, Client};

/// When each call is due: a Poisson process of this rate, drawn before the run.
///
/// The same seed gives the same gaps; the measured capacity only stretches them.
pub(crate) fn arrivals(seed: u64, per_second: f64, length: Duration) -> Vec<Duration> {
    let mean = Duration::from_secs_f64(1.0 / per_second);
    let mut due = Duration::ZERO;
    let mut all = Vec::new();
    for call in 0.. {
        due += exponential(unit(seed, Purpose::Arrival, call, 0), mean);
        if due >= length {
            break;
        }
        all.push(due);
    }
    all
}

/// Starts every call when it is due, in every arm, and returns when the last has had its time.
pub(crate) async fn drive(start: Instant, arrivals: &[Duration], end: Duration, arms: &[Running]) {
    // Those who go on for seconds are cut off here and count as lost.
    let closes = start + end + DEADLINE + Duration::from_millis(50);
    for (index, due) in arrivals.iter().enumerate() {
        let due = start + *due;
        sleep_until(due).await;
        for arm in arms {
            let call = Call {
                index: index as u64,
                deadline: due + DEADLINE,
            };
            tokio::spawn(make(arm.client.clone(), call, due, closes, arm.log.clone()));
        }
    }
    sleep_until(closes).await;
}

async fn make(
    client: Arc<dyn Client>,
    call: Call,
    due: Instant,
    closes: Instant,
    log: Arc<super::measure::Log>,
) {
    log.started(call.index, due.elapsed());
    if let Ok(answer) = timeout_at(closes, client.call(call)).await {
        let after = due.elapsed();
        let ended = if answer.is_ok() {
            Ended::Answered(after)
        } else {
            Ended::Failed
        };
        log.ended(call.index, ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        let length = Duration::from_secs(20);
        assert_eq!(arrivals(3, 300.0, length), arrivals(3, 300.0, length));
        assert_ne!(arrivals(3, 300.0, length), arrivals(4, 300.0, length));
    }

    #[test]
    fn arrivals_have_their_rate_and_stay_inside() {
        let length = Duration::from_secs(100);
        let all = arrivals(1, 300.0, length);
        assert!((29_300..30_700).contains(&all.len()), "{}", all.len());
        assert!(all.is_sorted());
        assert!(all.iter().all(|due| *due < length));
    }
}
