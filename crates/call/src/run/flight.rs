use std::time::Duration;

use backstay_core::Moment;
use backstay_core::breaker::Admission;
use backstay_core::budget::Token;
use pin_project_lite::pin_project;

/// What an attempt under way holds, and when something is due for it.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u32,
    pub(super) hedge: bool,
    pub(super) start: Moment,
    pub(super) waited: Duration,
    pub(super) timeout_at: Moment,
    /// When it becomes slow in the breaker's eyes; never, once it has.
    pub(super) slow_at: Moment,
    pub(super) admission: Option<Admission>,
    pub(super) token: Option<Token>,
}

impl Flight {
    /// Says when it began, where the clock was not read then.
    pub(super) fn begin(&mut self, at: Moment) {
        self.start = at;
        if let Some(admission) = &mut self.admission {
            admission.began(at);
        }
    }

    pub(super) fn due_at(&self) -> Moment {
        self.timeout_at.min(self.slow_at)
    }
}

pin_project! {
    /// A place for one attempt's future.
    #[project = SlotProjection]
    #[derive(Debug)]
    pub(super) enum Slot<Fut> {
        Empty,
        Taken {
            #[pin]
            work: Fut,
            flight: Option<Flight>,
        },
    }
}

impl<Fut> Slot<Fut> {
    pub(super) fn flight(&self) -> Option<&Flight> {
        match self {
            Self::Empty => None,
            Self::Taken { flight, .. } => flight.as_ref(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(super) fn due_at(&self) -> Moment {
        self.flight().map_or(Moment::NEVER, Flight::due_at)
    }
}
