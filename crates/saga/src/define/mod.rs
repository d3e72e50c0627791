//! How a saga is written: steps, what they need, and what becomes of them when the saga can't go on.

mod builder;
mod code;
mod policy;
mod reference;
mod saga;
mod stage;
mod step;

pub use builder::Builder;
pub use code::{Inputs, StepFn, UndoFn};
pub(crate) use policy::Policy;
pub use policy::Retry;
pub use reference::{Needs, Ref, Steps};
pub use saga::Saga;
pub(crate) use saga::{Input, Run};
pub use stage::{After, AfterPivot, Before, BeforePivot, HasInputs, Stage};
pub use step::Step;
