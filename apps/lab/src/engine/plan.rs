//! When things happen, as offsets from the first moment of the load.

use std::ops::Range;
use std::time::Duration;

/// The phases of one run. An empty fault is a run without one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Rates and quantiles leave out what is due before: pools and caches are still cold.
    pub(crate) counted_from: Duration,
    pub(crate) fault_from: Duration,
    pub(crate) fault_until: Duration,
    pub(crate) end: Duration,
}

impl Plan {
    pub(crate) fn has_fault(&self) -> bool {
        self.fault_from < self.fault_until
    }

    pub(crate) fn before(&self) -> Range<Duration> {
        self.counted_from..self.fault_from
    }

    pub(crate) fn during(&self) -> Range<Duration> {
        self.fault_from..self.fault_until
    }

    pub(crate) fn after(&self) -> Range<Duration> {
        self.fault_until..self.end
    }

    pub(crate) fn counted(&self) -> Range<Duration> {
        self.counted_from..self.end
    }

    /// What is happening at this moment, for the reader of the progress lines.
    pub(crate) fn phase_at(&self, elapsed: Duration) -> String {
        if elapsed < self.fault_from {
            if self.has_fault() {
                "before the fault"
            } else {
                "no fault"
            }
            .to_owned()
        } else if elapsed < self.fault_until {
            let left = self.fault_until.saturating_sub(elapsed);
            format!("FAULT, {:.0} s left", left.as_secs_f64().ceil())
        } else {
            format!(
                "fault ended {} s ago",
                elapsed.saturating_sub(self.fault_until).as_secs()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_named_for_the_reader() {
        let plan = Plan {
            counted_from: Duration::from_secs(3),
            fault_from: Duration::from_secs(10),
            fault_until: Duration::from_secs(20),
            end: Duration::from_secs(70),
        };
        assert!(plan.has_fault());
        assert_eq!(plan.phase_at(Duration::from_secs(9)), "before the fault");
        assert_eq!(plan.phase_at(Duration::from_secs(10)), "FAULT, 10 s left");
        assert_eq!(
            plan.phase_at(Duration::from_secs(40)),
            "fault ended 20 s ago"
        );
    }
}
