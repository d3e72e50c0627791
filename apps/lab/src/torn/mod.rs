//! Orders that one process writes and another one shows, each with a file of its own, and ways between them.

mod article;
pub(crate) mod customer;
pub(crate) mod gate;
pub(crate) mod order;
mod ours;
pub(crate) mod read_side;
pub(crate) mod reader;
mod tables;
pub(crate) mod write_side;
pub(crate) mod writer;

/// How the reader hears of what the writer has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a call after the commit.
    None,
    Article,
    /// Our relay, before a reader that takes each message for a new one.
    NoInbox,
    /// Our relay, before our inbox.
    Backstay,
}

pub(crate) const ARMS: [Arm; 4] = [
    Arm {
        name: "none",
        about: "the writer calls the reader once when it has committed, whatever comes of it",
        way: Way::None,
    },
    Arm {
        name: "article",
        about: "the article's services: insert, then publish in memory; only what is created is handled",
        way: Way::Article,
    },
    Arm {
        name: "noinbox",
        about: "our commands with a key and our relay, by default; the reader takes each message for a new one",
        way: Way::NoInbox,
    },
    Arm {
        name: "backstay",
        about: "our commands with a key and our relay, by default, before our inbox; reads carry the position of what was written",
        way: Way::Backstay,
    },
];

impl Way {
    /// Whether a relay sends what is in the log: a page of it after the other.
    pub(crate) fn has_relay(self) -> bool {
        matches!(self, Self::NoInbox | Self::Backstay)
    }
}

pub(crate) fn find(name: &str) -> Option<Arm> {
    ARMS.into_iter().find(|arm| arm.name == name)
}
