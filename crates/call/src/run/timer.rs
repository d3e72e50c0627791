use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use backstay_core::Moment;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use crate::clock;

pin_project! {
    /// One timer for everything that is due in a call. It does not exist until something waits.
    #[derive(Debug)]
    pub(crate) struct Timer {
        #[pin]
        sleep: Option<Sleep>,
        set_to: Moment,
    }
}

/// As far as a timer is ever set. Timers do not take the end of time.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Timer {
    pub(crate) const fn new() -> Self {
        Self {
            sleep: None,
            set_to: Moment::NEVER,
        }
    }

    /// Ready, with the time, once it is `at` or later.
    pub(crate) fn poll_at(self: Pin<&mut Self>, at: Moment, cx: &mut Context<'_>) -> Poll<Moment> {
        let mut this = self.project();
        if at == Moment::NEVER {
            return Poll::Pending;
        }
        let mut fired = None;
        loop {
            if *this.set_to != at || this.sleep.is_none() {
                let now = fired.map_or_else(clock::now, clock::fired);
                if now >= at {
                    return Poll::Ready(now);
                }
                let due = at.min(now.plus(FAR));
                let instant = clock::instant(due, now);
                *this.set_to = due;
                match this.sleep.as_mut().as_pin_mut() {
                    Some(sleep) => sleep.reset(instant),
                    None => this.sleep.set(Some(sleep_until(instant))),
                }
            }
            let Some(sleep) = this.sleep.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            if sleep.poll(cx).is_pending() {
                return Poll::Pending;
            }
            // A timer is set for a year at most, and its clock may run a little apart from ours: look again.
            fired = Some(std::mem::replace(this.set_to, Moment::NEVER));
        }
    }
}
