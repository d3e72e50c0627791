/// Where a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused.
    Open,
    /// A few probes pass and decide.
    HalfOpen,
}

/// Who decides about a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// The results of the calls.
    Automatic,
    /// An operator: refuse everything.
    ForcedOpen,
    /// An operator: let everything pass. Results are counted and open nothing.
    ForcedClosed,
    /// The results decide, and the driver only reports what would have been refused.
    Observing,
}

/// State in one word: epoch (32 bits), generation of the window (16 bits), control, phase.
///
/// The epoch changes with every transition; an admission carries the one it was given under. The generation
/// changes when the window starts anew, which is whenever the circuit closes and when its length is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) const START: Self = Self(0);

    pub(super) fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> 8 & 0xFFFF
    }

    pub(super) fn phase(self) -> Phase {
        match self.0 & 3 {
            0 => Phase::Closed,
            1 => Phase::Open,
            _ => Phase::HalfOpen,
        }
    }

    pub(super) fn control(self) -> Control {
        match self.0 >> 4 & 3 {
            0 => Control::Automatic,
            1 => Control::ForcedOpen,
            2 => Control::ForcedClosed,
            _ => Control::Observing,
        }
    }

    /// The word of the next epoch, in `phase`.
    pub(super) fn enter(self, phase: Phase) -> Self {
        let epoch = u64::from(self.epoch().wrapping_add(1));
        Self(epoch << 32 | self.0 & 0xFFFF_FFFC | phase as u64)
    }

    pub(super) fn controlled(self, control: Control) -> Self {
        Self(self.0 & !0x30 | (control as u64) << 4)
    }

    pub(super) fn next_generation(self) -> Self {
        Self(self.0 & !0x00FF_FF00 | ((self.generation() + 1) & 0xFFFF) << 8)
    }
}
