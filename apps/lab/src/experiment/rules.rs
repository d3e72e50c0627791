//! Rules about one number of one arm.

use super::verdict::{Rule, found, promise, validity};
use crate::report::history::{Column, History};

/// This arm has none of it, or the promise is broken.
pub(super) fn none_of(arm: &'static str, column: Column, what: &str) -> Rule<History> {
    promise(format!("{arm} {what}"), move |run: &History| {
        let count = run.number(arm, column.name)?;
        found(count == 0.0, format!("{count}"))
    })
}

/// This arm has some of it, or the run proves nothing.
pub(super) fn must_show(arm: &'static str, column: Column, what: &str) -> Rule<History> {
    validity(format!("{arm} {what}"), move |run: &History| {
        let count = run.number(arm, column.name)?;
        found(count > 0.0, format!("{count}"))
    })
}

/// A number as a headline tells it.
pub(super) fn told(run: &History, arm: &str, column: Column) -> String {
    let number = run.number(arm, column.name);
    number.map_or_else(|| "no".to_owned(), |number| format!("{number}"))
}
