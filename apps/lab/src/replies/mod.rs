//! Orders that are placed once: a server that keeps them, customers, and a way between them that loses replies.

pub(crate) mod customer;
pub(crate) mod proxy;
pub(crate) mod server;

/// How orders are placed and taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Once, whatever comes of it.
    None,
    Article,
    /// Our pipeline, which is told that it may repeat, before a server that takes every request for a new one.
    NoKey,
    /// Our pipeline with a key, and our layer.
    Backstay,
}

pub(crate) const ARMS: [Arm; 4] = [
    Arm {
        name: "none",
        about: "a timeout of 5 s, no retry",
        way: Way::None,
    },
    Arm {
        name: "article",
        about: "the article's retry around its timeout, before its idempotent store",
        way: Way::Article,
    },
    Arm {
        name: "nokey",
        about: "our pipeline by default, told that orders are idempotent; the server takes each request for a new one",
        way: Way::NoKey,
    },
    Arm {
        name: "backstay",
        about: "our pipeline by default with a key, our layer, and a handler that commits its row with its answer",
        way: Way::Backstay,
    },
];

pub(crate) fn find(name: &str) -> Option<Arm> {
    ARMS.into_iter().find(|arm| arm.name == name)
}
