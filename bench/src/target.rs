//! What Backstay set out to reach, and whether it did.

use std::fmt;
use std::io::{self, Write};

/// One target and what was measured for it.
#[derive(Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) claim: String,
    pub(crate) bound: Bound,
    /// `None` where the rows it needs were not measured.
    pub(crate) measured: Option<f64>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.measured, &self.bound) {
            (None, _) => "not measured",
            (Some(value), Bound::AtMost(limit)) if value <= *limit => "met",
            (Some(value), Bound::AtLeast(limit)) if value >= *limit => "met",
            _ => "missed",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:12}  {}", self.verdict(), self.claim)?;
        if let Some(value) = self.measured {
            write!(f, ": {value:.2}")?;
        }
        match self.bound {
            Bound::AtMost(limit) => write!(f, " (at most {limit:.2})"),
            Bound::AtLeast(limit) => write!(f, " (at least {limit:.2})"),
        }
    }
}

/// Prints one line each, if there are any.
pub(crate) fn print(out: &mut impl Write, targets: &[Target]) -> io::Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ntargets")?;
    for target in targets {
        writeln!(out, "{target}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(bound: Bound, measured: Option<f64>) -> Target {
        let claim = "ours by theirs".to_owned();
        Target {
            claim,
            bound,
            measured,
        }
    }

    /// A value at its bound is met; without a value there is no verdict.
    #[test]
    fn a_bound_includes_itself() {
        let verdicts = [
            (Bound::AtMost(0.5), Some(0.5), "met"),
            (Bound::AtMost(0.5), Some(0.51), "missed"),
            (Bound::AtLeast(2.0), Some(2.0), "met"),
            (Bound::AtLeast(2.0), Some(1.99), "missed"),
            (Bound::AtLeast(2.0), Some(f64::NAN), "missed"),
            (Bound::AtMost(0.5), None, "not measured"),
        ];
        for (bound, measured, verdict) in verdicts {
            assert_eq!(target(bound, measured).verdict(), verdict, "{measured:?}");
        }
    }

    /// A line holds the verdict, the claim, the ratio and its bound.
    #[test]
    fn a_line_says_it_all() {
        let line = |measured| target(Bound::AtMost(0.35), measured).to_string();
        assert_eq!(
            line(Some(0.349)),
            "met           ours by theirs: 0.35 (at most 0.35)"
        );
        assert_eq!(line(None), "not measured  ours by theirs (at most 0.35)");
    }
}
