use std::fmt;
use std::time::Duration;

use backstay_core::Moment;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::time::{ClockId, clock_gettime};

/// The clock by which a leader knows how long it may act.
///
/// It never goes back and counts the time in which the machine was suspended.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since some origin.
    fn now(&self) -> Moment;

    /// Ends at a moment or soon after, never before.
    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()>;
}

/// The machine's clock since its start, with the time it was suspended.
///
/// Where there is none but Linux's `CLOCK_BOOTTIME`, it is the clock that leaves that time out: a machine that is
/// suspended there may think for a moment that it still leads, and only the fence stops it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// tokio's timers stand still while the machine is suspended; so long at most it takes to notice.
const LOOK: Duration = Duration::from_secs(1);

impl Clock for BootClock {
    fn now(&self) -> Moment {
        let now = clock_gettime(SINCE_BOOT);
        let part = |part: i64| u64::try_from(part).unwrap_or_default();
        let nanos = part(now.tv_sec).saturating_mul(1_000_000_000);
        Moment::from_nanos(nanos.saturating_add(part(now.tv_nsec)))
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        async move {
            loop {
                let left = at.since(BootClock.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LOOK)).await;
            }
        }
        .boxed()
    }
}

/// tokio's clock, which a test pauses.
#[cfg(feature = "test-util")]
#[derive(Clone, Copy, Debug)]
pub struct TokioClock(tokio::time::Instant);

#[cfg(feature = "test-util")]
impl TokioClock {
    /// A clock that begins now.
    #[expect(
        clippy::new_without_default,
        reason = "each begins at another moment: a default that differs surprises"
    )]
    pub fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

#[cfg(feature = "test-util")]
impl Clock for TokioClock {
    fn now(&self) -> Moment {
        Moment::default().plus(self.0.elapsed())
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        let nanos = Duration::from_nanos(at.as_nanos());
        let at = self.0.checked_add(nanos);
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}
