//! Keys that one service gives and revokes, and doors elsewhere that let in whoever has one.

mod article;
pub(crate) mod authority;
pub(crate) mod door;
pub(crate) mod ours;

/// How a door knows which keys there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It asks, each time.
    None,
    Article,
    /// Our copy, which says how old it is, and is served however old that is.
    NoBound,
    /// Our cache of look-ups, which fails closed.
    Cached,
    /// Our copy, which fails closed.
    Backstay,
}

pub(crate) const ARMS: [Arm; 5] = [
    Arm {
        name: "none",
        about: "no copy: the authority is asked each time, for 500 ms; no answer is a no",
        way: Way::None,
    },
    Arm {
        name: "article",
        about: "the article's cache: all keys, each second; errors are passed over",
        way: Way::Article,
    },
    Arm {
        name: "nobound",
        about: "our replica with a heartbeat of 2 s, from disk at once; no bound",
        way: Way::NoBound,
    },
    Arm {
        name: "cached",
        about: "our cache of look-ups for 1 s, which fails closed at 4 s",
        way: Way::Cached,
    },
    Arm {
        name: "backstay",
        about: "our replica with a heartbeat of 2 s, from disk at once; it fails closed at 4 s",
        way: Way::Backstay,
    },
];

pub(crate) fn find(name: &str) -> Option<Arm> {
    ARMS.into_iter().find(|arm| arm.name == name)
}
