use std::fmt;

macro_rules! number {
    ($(#[$what:meta])* $name:ident, $(#[$start:meta])* START) => {
        $(#[$what])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            $(#[$start])*
            pub const START: Self = Self(0);

            /// The one with this number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Its number.
            pub const fn get(self) -> u64 {
                self.0
            }

            pub(crate) fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A place in the store's one order of all changes; the first change is at 1.
    ///
    /// Every event takes one, and every change of a key: that of its last change is the key's revision. Positions grow
    /// with time, and what a reader has passed never changes: no commit appears later at a lower one. They are not
    /// dense.
    Position,
    /// Before the first change.
    START
}

number! {
    /// How many events a stream has; its first event is version 1.
    Version,
    /// Of a stream without events; what is read after it begins with the first.
    START
}
