//! What is cut, what is revoked, and when.

use std::time::Duration;

use crate::engine::draw::{Purpose, below};
use crate::engine::load::arrivals;
use crate::wire::Link;

/// What happens to a door in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its way to the authority refuses connections.
    Refused,
    /// Nothing comes through, and connections stay open.
    Silent,
    /// It is started again while it is cut off.
    Restarted,
}

impl Fault {
    pub(super) const ALL: [Self; 3] = [Self::Refused, Self::Silent, Self::Restarted];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Restarted => "restarted",
        }
    }
}

/// A key, of which each world has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// It is never revoked.
    Good,
    /// It is revoked while all is well.
    Early,
    /// It is revoked while the authority can't be reached.
    Late,
}

impl Key {
    pub(super) const ALL: [Self; 3] = [Self::Good, Self::Early, Self::Late];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Early => "early",
            Self::Late => "late",
        }
    }
}

/// Times are from the start of the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    seed: u64,
    /// When the key is revoked that is revoked while all is well.
    pub(super) early: Duration,
    pub(super) cut: Duration,
    pub(super) late: Duration,
    pub(super) heal: Duration,
    pub(super) end: Duration,
    /// How a door is cut off that is started again.
    restarted: Link,
}

/// How often each key is shown, in a second.
const PACE: f64 = 8.0;
/// Far longer than a revocation takes that goes through.
const EARLY: Duration = Duration::from_secs(3);
/// Longer than it takes until a silent source is given up, twice.
const CUT: Duration = Duration::from_secs(11);
const WATCH: Duration = Duration::from_secs(6);

impl Plan {
    pub(super) fn drawn(seed: u64) -> Self {
        let up_to =
            |millis, what| Duration::from_millis(below(millis, seed, Purpose::Moment, what));
        let early = Duration::from_millis(500) + up_to(500, 0);
        let cut = early + EARLY + up_to(1_000, 1);
        let heal = cut + CUT;
        Self {
            seed,
            early,
            cut,
            // So that it can't come through.
            late: cut + Duration::from_millis(10) + up_to(500, 2),
            heal,
            end: heal + WATCH,
            restarted: match below(2, seed, Purpose::Moment, 3) {
                0 => Link::Held,
                _ => Link::Refused,
            },
        }
    }

    pub(super) fn link(&self, fault: Fault) -> Link {
        match fault {
            Fault::Refused => Link::Refused,
            Fault::Silent => Link::Held,
            Fault::Restarted => self.restarted,
        }
    }

    /// When keys are shown at a door, in this order: the same in every arm.
    pub(super) fn shown(&self, fault: Fault) -> Vec<(Duration, Key)> {
        let mut shown: Vec<_> = (0..)
            .zip(Key::ALL)
            .flat_map(|(nth, key)| {
                let pace = below(u64::MAX, self.seed, Purpose::Turn, fault as u64 * 8 + nth);
                let times = arrivals(pace, PACE, self.end).into_iter();
                times.map(move |at| (at, key))
            })
            .collect();
        shown.sort_by_key(|(at, _)| *at);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_draws_moments_paces_and_links() {
        assert_eq!(Plan::drawn(1), Plan::drawn(1));
        assert_ne!(Plan::drawn(1), Plan::drawn(2));
        let shown = |seed, fault| Plan::drawn(seed).shown(fault);
        assert_eq!(shown(1, Fault::Silent), shown(1, Fault::Silent));
        assert_ne!(shown(1, Fault::Silent), shown(2, Fault::Silent));
        assert_ne!(shown(1, Fault::Silent), shown(1, Fault::Refused));
        let links = (0..20).map(|seed| Plan::drawn(seed).link(Fault::Restarted));
        let held = links.filter(|link| *link == Link::Held).count();
        assert!((1..20).contains(&held), "{held}");
    }

    #[test]
    fn a_key_is_revoked_after_the_link_is_cut() {
        for seed in 0..100 {
            let plan = Plan::drawn(seed);
            assert!(plan.early < plan.cut && plan.cut < plan.late && plan.late < plan.heal);
        }
    }
}
