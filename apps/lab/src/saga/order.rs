//! An order, and the calls that it takes.

use serde::{Deserialize, Serialize};

/// An order, as its customer sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: u64,
    pub(crate) cents: u64,
    pub(crate) flow: Flow,
}

/// Whether it is refused, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flow {
    Good,
    /// The bank refuses the charge.
    NotPaid,
    /// The shop refuses to confirm.
    NotConfirmed,
}

/// A call of the orchestrator to a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    Create,
    Reserve,
    Charge,
    Confirm,
    /// Takes a confirmation back; the article has no such call.
    Revoke,
    Refund,
    Release,
    Delete,
}

/// A process of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Process {
    Orchestrator,
    /// Keeps orders and stock.
    Shop,
    /// Keeps payments.
    Bank,
}

impl Flow {
    pub(crate) const ALL: [Self; 3] = [Self::Good, Self::NotPaid, Self::NotConfirmed];

    pub(crate) fn refuses(self, call: Call) -> bool {
        match self {
            Self::Good => false,
            Self::NotPaid => call == Call::Charge,
            Self::NotConfirmed => call == Call::Confirm,
        }
    }

    /// All calls, those that undo among them, as long as nobody dies.
    pub(crate) fn calls(self) -> &'static [Call] {
        use Call::{Charge, Confirm, Create, Delete, Refund, Release, Reserve};
        match self {
            Self::Good => &[Create, Reserve, Charge, Confirm],
            Self::NotPaid => &[Create, Reserve, Charge, Release, Delete],
            Self::NotConfirmed => &[Create, Reserve, Charge, Confirm, Refund, Release, Delete],
        }
    }
}

impl Call {
    pub(crate) const ALL: [Self; 8] = [
        Self::Create,
        Self::Reserve,
        Self::Charge,
        Self::Confirm,
        Self::Revoke,
        Self::Refund,
        Self::Release,
        Self::Delete,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Reserve => "reserve",
            Self::Charge => "charge",
            Self::Confirm => "confirm",
            Self::Revoke => "revoke",
            Self::Refund => "refund",
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }

    pub(crate) fn of(self) -> Process {
        match self {
            Self::Charge | Self::Refund => Process::Bank,
            _ => Process::Shop,
        }
    }

    pub(crate) fn is_undo(self) -> bool {
        use Call::{Delete, Refund, Release, Revoke};
        matches!(self, Revoke | Refund | Release | Delete)
    }
}

impl Process {
    pub(crate) const ALL: [Self; 3] = [Self::Orchestrator, Self::Shop, Self::Bank];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::Shop => "shop",
            Self::Bank => "bank",
        }
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|process| process.name() == name)
    }
}
