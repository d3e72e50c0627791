//! An order over two services that keep books, placed by a process that can die as they can.

mod article;
mod backstay;
pub(crate) mod books;
pub(crate) mod customer;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod orchestrator;
pub(crate) mod order;
pub(crate) mod participant;
mod remote;

/// How orders are placed, and what stands before the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One call after the other, whatever comes of it.
    None,
    Article,
    /// Our saga, before plain handlers.
    NoKey,
    /// Our saga, before participants with our layer.
    Backstay,
}

pub(crate) const ARMS: [Arm; 4] = [
    Arm {
        name: "none",
        about: "the calls in a row, and the first that fails is the last",
        way: Way::None,
    },
    Arm {
        name: "article",
        about: "the article's saga: in memory, undone once, errors of that dropped; plain handlers",
        way: Way::Article,
    },
    Arm {
        name: "nokey",
        about: "our saga on a file by default; plain handlers, which take each call for a new one",
        way: Way::NoKey,
    },
    Arm {
        name: "backstay",
        about: "our saga on a file by default, before our layer and handlers that commit their row with their answer",
        way: Way::Backstay,
    },
];

pub(crate) fn find(name: &str) -> Option<Arm> {
    ARMS.into_iter().find(|arm| arm.name == name)
}
