//! Before the pivot or after it, as types.

/// Where a step stands.
pub trait Stage: sealed::Sealed {
    /// Where a step stands that comes after one here and one there.
    #[doc(hidden)]
    type With<S: Stage>: Stage;
}

/// Before the pivot: it can be undone.
#[derive(Debug)]
pub enum Before {}

/// After the pivot: it is repeated until it is done.
#[derive(Debug)]
pub enum After {}

/// The step's function takes inputs, and nothing says yet from which steps.
#[derive(Debug)]
pub enum NeedsMissing {}

impl Stage for Before {
    type With<S: Stage> = S;
}

impl Stage for After {
    type With<S: Stage> = Self;
}

/// A step that has its inputs.
#[diagnostic::on_unimplemented(
    message = "the step's function takes inputs, and nothing says from which steps",
    label = "say `.needs(..)` before",
    note = "a function that takes only the context needs no steps"
)]
pub trait HasInputs: sealed::Sealed {}

impl HasInputs for Before {}
impl HasInputs for After {}

/// A step that can still be taken back.
#[diagnostic::on_unimplemented(
    message = "a step after the pivot is never undone",
    label = "comes after the pivot",
    note = "after the pivot a saga only goes forward: end the step with `until_done`"
)]
pub trait BeforePivot: sealed::Sealed {}

impl BeforePivot for Before {}
impl BeforePivot for NeedsMissing {}

/// A step that must be done, because the pivot is.
#[diagnostic::on_unimplemented(
    message = "a step before the pivot may have to be taken back",
    label = "does not come after the pivot",
    note = "end it with `undo`, or with `nothing_to_undo` if it changes nothing, or with `pivot` if it is the point of no \
            return"
)]
pub trait AfterPivot: sealed::Sealed {}

impl AfterPivot for After {}
impl AfterPivot for NeedsMissing {}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Before {}
    impl Sealed for super::After {}
    impl Sealed for super::NeedsMissing {}
}
