//! What a step refers to: outputs of others, by type.

use std::fmt;
use std::marker::PhantomData;

use super::stage::{Before, Stage};

/// The output of a step, to be given to later ones.
///
/// It is a place in the graph and not a value: the value is there when a step runs that needs it.
pub struct Ref<T, S> {
    pub(super) builder: u64,
    pub(super) step: usize,
    kind: PhantomData<fn() -> (T, S)>,
}

impl<T, S> Ref<T, S> {
    pub(super) fn new(builder: u64, step: usize) -> Self {
        let kind = PhantomData;
        Self {
            builder,
            step,
            kind,
        }
    }
}

impl<T, S> Clone for Ref<T, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, S> Copy for Ref<T, S> {}

impl<T, S> fmt::Debug for Ref<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ref").field(&self.step).finish()
    }
}

/// A step, or several in a tuple, whose outputs are values of type `V`.
#[diagnostic::on_unimplemented(
    message = "these steps do not give what is needed here",
    label = "gives something else than `{V}`",
    note = "a step's function takes a context and then, as one value or a tuple, the outputs of the steps that it needs, \
            in the order of `needs`",
    note = "a step has an output that others can need once it ends with `undo`, `nothing_to_undo`, `pivot` or `until_done`"
)]
pub trait Needs<V>: Steps {}

/// A step, or several in a tuple.
#[diagnostic::on_unimplemented(
    message = "this is no step that others can refer to",
    label = "not a step that is part of the saga",
    note = "a step is part of the saga when it says what becomes of it: end it with `undo`, `nothing_to_undo`, `pivot` or \
            `until_done`"
)]
pub trait Steps: Sized {
    /// After the pivot if one of them is.
    type Stage: Stage;

    #[doc(hidden)]
    fn places(self) -> Places;
}

/// Where steps are, and whether their outputs come as a tuple.
#[doc(hidden)]
#[derive(Debug)]
pub struct Places {
    /// Each with the builder it is of.
    pub(super) steps: Vec<(u64, usize)>,
    pub(super) is_tuple: bool,
}

impl<T, S: Stage> Steps for Ref<T, S> {
    type Stage = S;

    fn places(self) -> Places {
        Places {
            steps: vec![(self.builder, self.step)],
            is_tuple: false,
        }
    }
}

impl<T, S: Stage> Needs<T> for Ref<T, S> {}

impl Steps for () {
    type Stage = Before;

    fn places(self) -> Places {
        Places {
            steps: Vec::new(),
            is_tuple: false,
        }
    }
}

impl Needs<()> for () {}

macro_rules! tuples {
    ($(($($value:ident $stage:ident $place:tt),+) => $all:ty;)+) => { $(
        impl<$($value, $stage: Stage),+> Steps for ($(Ref<$value, $stage>,)+) {
            type Stage = $all;

            fn places(self) -> Places {
                Places {
                    steps: vec![$((self.$place.builder, self.$place.step)),+],
                    is_tuple: true,
                }
            }
        }

        impl<$($value, $stage: Stage),+> Needs<($($value,)+)> for ($(Ref<$value, $stage>,)+) {}
    )+ };
}

tuples! {
    (A SA 0) => SA;
    (A SA 0, B SB 1) => SA::With<SB>;
    (A SA 0, B SB 1, C SC 2) => SA::With<SB::With<SC>>;
    (A SA 0, B SB 1, C SC 2, D SD 3) => SA::With<SB::With<SC::With<SD>>>;
    (A SA 0, B SB 1, C SC 2, D SD 3, E SE 4) => SA::With<SB::With<SC::With<SD::With<SE>>>>;
    (A SA 0, B SB 1, C SC 2, D SD 3, E SE 4, F SF 5) => SA::With<SB::With<SC::With<SD::With<SE::With<SF>>>>>;
    (A SA 0, B SB 1, C SC 2, D SD 3, E SE 4, F SF 5, G SG 6)
        => SA::With<SB::With<SC::With<SD::With<SE::With<SF::With<SG>>>>>>;
    (A SA 0, B SB 1, C SC 2, D SD 3, E SE 4, F SF 5, G SG 6, H SH 7)
        => SA::With<SB::With<SC::With<SD::With<SE::With<SF::With<SG::With<SH>>>>>>>;
}
