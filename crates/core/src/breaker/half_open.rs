use crate::Moment;
use std::time::Duration;

/// A round of probes: who is out, and how those that came back did.
#[derive(Debug, Default)]
pub(super) struct Round {
    out: Vec<(u32, Moment)>,
    last: u32,
    succeeded: u32,
    failed: u32,
}

impl Round {
    /// Sends a probe if fewer than `allowed` are out or back, or if one has been silent for `patience`.
    pub(super) fn send(&mut self, allowed: u32, patience: Duration, now: Moment) -> Option<u32> {
        let taken = self.out.len() as u64 + u64::from(self.succeeded + self.failed);
        if taken >= u64::from(allowed) {
            let lost = self
                .out
                .iter()
                .position(|(_, since)| now.since(*since) >= patience)?;
            self.out.remove(lost);
        }
        self.last = self.last.wrapping_add(1);
        self.out.push((self.last, now));
        Some(self.last)
    }

    /// Takes a probe back. One that was replaced has no place any more, but its answer still counts: a dependency
    /// slower than the patience would else never be heard.
    pub(super) fn take_back(&mut self, probe: u32) {
        self.out.retain(|(out, _)| *out != probe);
    }

    pub(super) fn succeed(&mut self) -> u32 {
        self.succeeded += 1;
        self.succeeded
    }

    pub(super) fn fail(&mut self) -> u32 {
        self.failed += 1;
        self.failed
    }

    /// How long until the oldest probe loses its place.
    pub(super) fn next_place(&self, patience: Duration, now: Moment) -> Option<Duration> {
        let (_, since) = self.out.first()?;
        Some(since.plus(patience).since(now))
    }
}
