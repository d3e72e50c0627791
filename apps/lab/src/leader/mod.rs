//! Who may write: a service that lends leases, a store that all write to, and candidates, each a process of its own.

pub(crate) mod article;
pub(crate) mod candidate;
pub(crate) mod coordination;
mod remote;
pub(crate) mod resource;
pub(crate) mod rpc;

/// How candidates come to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Every candidate writes all the time.
    None,
    Article,
    /// Our election.
    Election {
        /// Whether its writes carry the fence.
        fenced: bool,
    },
}

pub(crate) const ARMS: [Arm; 4] = [
    Arm {
        name: "none",
        about: "no election: every candidate does the work",
        way: Way::None,
    },
    Arm {
        name: "article",
        about: "the article's election: asks every 5 s for 10 s, and believes what it heard last",
        way: Way::Article,
    },
    Arm {
        name: "nofence",
        about: "our election by default; its writes carry no fence",
        way: Way::Election { fenced: false },
    },
    Arm {
        name: "backstay",
        about: "our election by default; its writes carry the fence",
        way: Way::Election { fenced: true },
    },
];

pub(crate) fn find(name: &str) -> Option<Arm> {
    ARMS.into_iter().find(|arm| arm.name == name)
}
