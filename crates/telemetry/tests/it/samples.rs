//! Events of each kind, with every value that can become a label.

use std::time::Duration;

use backstay_call::{Effect, EventKind, Outcome};

use crate::transitions::transitions;
use crate::words::{ABANDONED, CONTROLS, EFFECTS, ENDS, FAULTS, POLICIES, SHEDS, STOPS};

const TIME: Duration = Duration::from_millis(250);

pub(crate) fn samples() -> Vec<EventKind> {
    let mut all = vec![
        EventKind::Queued,
        EventKind::Unqueued { waited: TIME },
        EventKind::RetryScheduled {
            number: 2,
            wait: TIME,
        },
        EventKind::CallDropped {
            attempts: 1,
            took: TIME,
        },
        EventKind::Reconfigured,
        EventKind::Admitted { waited: TIME },
    ];
    for policy in POLICIES {
        all.push(EventKind::HedgeSuppressed { by: policy });
        all.push(EventKind::Rejected { by: policy });
        all.push(EventKind::Observed { policy });
    }
    for stop in STOPS {
        // What counts as a failure may be an `Ok` to its caller, and an error a success.
        for succeeded in [false, true] {
            all.push(EventKind::CallEnded {
                stop,
                succeeded,
                attempts: 1,
                took: TIME,
            });
        }
    }
    for hedge in [false, true] {
        all.push(EventKind::AttemptStarted { number: 1, hedge });
        for outcome in outcomes() {
            all.push(ended(hedge, outcome, Effect::Unknown));
        }
    }
    all.extend(EFFECTS.map(|effect| ended(false, Outcome::Success, effect)));
    all.extend(CONTROLS.map(EventKind::BreakerControl));
    all.extend(SHEDS.map(|reason| EventKind::Shed { reason }));
    all.extend(ENDS.map(|end| EventKind::Handled { end, took: TIME }));
    all.extend(transitions().into_iter().map(EventKind::Breaker));
    all
}

pub(crate) fn outcomes() -> Vec<Outcome> {
    let mut all = vec![Outcome::Success, Outcome::Ignored];
    all.extend(FAULTS.map(Outcome::Failure));
    all.extend(ABANDONED.map(Outcome::Abandoned));
    all
}

fn ended(hedge: bool, outcome: Outcome, effect: Effect) -> EventKind {
    EventKind::AttemptEnded {
        number: 1,
        hedge,
        outcome,
        effect,
        took: TIME,
    }
}
