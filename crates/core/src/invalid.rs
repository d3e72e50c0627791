use std::fmt;

/// An option that can't be used: the field, the value given and what is allowed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value}: {limit}")]
#[non_exhaustive]
pub struct Invalid {
    /// Path of the option, as in a configuration file: `retry.max_attempts`.
    pub field: String,
    /// The value as given.
    pub value: String,
    /// What is allowed, or the relation that was broken.
    pub limit: String,
}

/// As for people: it is what `main` prints, and holds all three.
impl fmt::Debug for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Invalid {
    /// States that `field` can't be `value` because of `limit`.
    pub fn new(
        field: impl Into<String>,
        value: impl fmt::Display,
        limit: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            limit: limit.into(),
        }
    }
}

/// `value` if it lies in `allowed`, else the error that names the field and the range.
pub(crate) fn in_range<T: PartialOrd + fmt::Debug + Copy>(
    field: &str,
    value: T,
    allowed: std::ops::RangeInclusive<T>,
) -> Result<(), Invalid> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        format!("{value:?}"),
        format!("must be in {:?}..={:?}", allowed.start(), allowed.end()),
    ))
}
