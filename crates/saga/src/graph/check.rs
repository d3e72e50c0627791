use std::collections::BTreeSet;

use super::{Graph, Role};

/// More would make a graph that nobody can read, and rows that are large.
pub(crate) const MAX_STEPS: usize = 256;

/// The longest name of a saga or a step, in bytes.
const MAX_NAME: usize = 64;

/// Why steps are no saga.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A name that can't be part of a key.
    #[error("{what} {name:?}: a name has 1 to 64 characters of a-z, A-Z, 0-9, `-`, `_` and `.`")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Two steps have one name, by which their keys would be the same.
    #[error("two steps are named {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// There is none.
    #[error("the saga has no step")]
    NoSteps,
    /// There are too many.
    #[error("the saga has {steps} steps, and {MAX_STEPS} are allowed")]
    TooManySteps {
        /// So many.
        steps: usize,
    },
    /// A step was begun and not ended: it does not say how it is taken back.
    #[error(
        "step {name:?} does not say what becomes of it: end it with `undo`, `nothing_to_undo`, `pivot` or `until_done`"
    )]
    Unfinished {
        /// The step.
        name: String,
    },
    /// Of two pivots one would be done when the other fails.
    #[error("{first:?} and {second:?} are both pivots, and a saga has one point of no return")]
    TwoPivots {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// A step that the pivot waits for is declared after it.
    #[error(
        "step {name:?} does not come after the pivot, so the pivot waits for it: declare it before, or say what of \
        the pivot's it comes `after`"
    )]
    AfterThePivot {
        /// The step.
        name: String,
    },
    /// A step refers to one of another saga.
    #[error("step {name:?} needs a step of another saga")]
    ForeignStep {
        /// The step that refers.
        name: String,
    },
    /// A saga that can't be undone is part of another at a place where it may have to be.
    #[error(
        "step {name:?} runs saga {child:?}, which has a pivot: only a pivot or a step after it can"
    )]
    ChildHasPivot {
        /// The step.
        name: String,
        /// The saga that it runs.
        child: String,
    },
    /// An option of a step can't be used.
    #[error("step {name:?}")]
    Option {
        /// The step.
        name: String,
        /// What is wrong with it.
        #[source]
        invalid: backstay_core::Invalid,
    },
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), BuildError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    let name = name.to_owned();
    Err(BuildError::Name { what, name })
}

/// What types can't say of a graph.
pub(crate) fn check(graph: &Graph) -> Result<(), BuildError> {
    check_name("saga", &graph.saga)?;
    match graph.steps.len() {
        0 => return Err(BuildError::NoSteps),
        1..=MAX_STEPS => {}
        steps => return Err(BuildError::TooManySteps { steps }),
    }
    let mut names = BTreeSet::new();
    let mut pivot: Option<&str> = None;
    for step in &graph.steps {
        check_name("step", &step.name)?;
        if !names.insert(&step.name) {
            let name = step.name.clone();
            return Err(BuildError::SameName { name });
        }
        if step.role == Role::Pivot
            && let Some(first) = pivot.replace(&step.name)
        {
            return Err(BuildError::TwoPivots {
                first: first.to_owned(),
                second: step.name.clone(),
            });
        }
    }
    Ok(())
}
