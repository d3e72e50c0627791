//! Rules written before a run, and the verdict they come to after it.

use std::fmt;

use serde::Serialize;

use crate::report::Measured;

/// What a run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    /// Every promise was kept.
    Pass,
    /// The run counts, and a promise was broken.
    Fail,
    /// The run proves nothing, either way.
    Invalid,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
        })
    }
}

/// What it means when a rule does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The run proves nothing.
    Validity,
    /// The project broke its word.
    Promise,
}

type Judge<M> = Box<dyn Fn(&M) -> Option<Finding>>;

/// One rule, stated before the run.
pub(crate) struct Rule<M = Measured> {
    kind: Kind,
    text: String,
    judge: Judge<M>,
}

/// A rule that the project promises to keep.
///
/// `judge` answers `None` when the run has nothing that the rule could be held against. The run
/// then proves nothing: a promise that nobody looked at is not kept.
pub(crate) fn promise<M>(text: String, judge: impl Fn(&M) -> Option<Finding> + 'static) -> Rule<M> {
    Rule {
        kind: Kind::Promise,
        text,
        judge: Box::new(judge),
    }
}

/// A rule without which the run proves nothing.
pub(crate) fn validity<M>(
    text: String,
    judge: impl Fn(&M) -> Option<Finding> + 'static,
) -> Rule<M> {
    Rule {
        kind: Kind::Validity,
        text,
        judge: Box::new(judge),
    }
}

/// What a rule found.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) holds: bool,
    pub(crate) measured: String,
}

/// What a rule found, as its judge answers it.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a judge ends with it, after questions that may have no answer"
)]
pub(crate) fn found(holds: bool, measured: String) -> Option<Finding> {
    Some(Finding { holds, measured })
}

/// A rule with what it found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) kind: Kind,
    pub(crate) rule: String,
    pub(crate) holds: bool,
    pub(crate) measured: String,
}

impl Check {
    pub(crate) fn line(&self) -> String {
        let mark = match (self.holds, self.kind) {
            (true, _) => "ok",
            (false, Kind::Promise) => "FAIL",
            (false, Kind::Validity) => "INVALID",
        };
        format!("{mark:<8} {}: {}", self.rule, self.measured)
    }

    fn reason(&self) -> String {
        format!("{}: {}", self.rule, self.measured)
    }
}

/// The promises as the user reads them before the run; the conditions are told when it has ended.
pub(crate) fn announce<M>(rules: &[Rule<M>]) -> String {
    let of = |kind| rules.iter().filter(move |rule| rule.kind == kind);
    let promises: Vec<_> = of(Kind::Promise).map(|rule| rule.text.as_str()).collect();
    format!(
        "PASS if {}.\nINVALID if a condition does not hold; the end lists all {} of them.",
        promises.join("; "),
        of(Kind::Validity).count()
    )
}

/// Holds what was measured against the rules. `cut_short` says why the run is not whole, if so.
pub(crate) fn judge<M>(
    rules: &[Rule<M>],
    measured: &M,
    cut_short: Option<&str>,
) -> (Verdict, Vec<String>, Vec<Check>) {
    let checks: Vec<Check> = rules
        .iter()
        .filter_map(|rule| {
            let Finding { holds, measured } = (rule.judge)(measured)?;
            Some(Check {
                kind: rule.kind,
                rule: rule.text.clone(),
                holds,
                measured,
            })
        })
        .collect();
    let broken = |kind| {
        let broken = checks
            .iter()
            .filter(move |check| check.kind == kind && !check.holds);
        broken.map(Check::reason).collect::<Vec<_>>()
    };
    let void: Vec<String> = cut_short
        .map(str::to_owned)
        .into_iter()
        .chain(broken(Kind::Validity))
        .collect();
    let failed = broken(Kind::Promise);
    let unjudged: Vec<String> = rules
        .iter()
        .filter(|rule| checks.iter().all(|check| check.rule != rule.text))
        .map(|rule| format!("{}: not measured", rule.text))
        .collect();
    let (verdict, reasons) = if !void.is_empty() {
        (Verdict::Invalid, void)
    } else if !unjudged.is_empty() {
        (Verdict::Invalid, unjudged)
    } else if !failed.is_empty() {
        (Verdict::Fail, failed)
    } else {
        let kept = checks.iter().filter(|check| check.kind == Kind::Promise);
        (Verdict::Pass, kept.map(Check::reason).collect())
    };
    (verdict, reasons, checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(holds: bool) -> Finding {
        Finding {
            holds,
            measured: if holds { "well" } else { "badly" }.to_owned(),
        }
    }

    fn verdict(valid: Option<bool>, kept: Option<bool>) -> (Verdict, Vec<String>) {
        let rules = [
            validity("validity".to_owned(), move |_| valid.map(finding)),
            promise("promise".to_owned(), move |_| kept.map(finding)),
        ];
        let (verdict, reasons, _) = judge(&rules, &Measured::default(), None);
        (verdict, reasons)
    }

    #[test]
    fn an_invalid_run_neither_passes_nor_fails() {
        let well = || vec!["promise: well".to_owned()];
        assert_eq!(verdict(Some(true), Some(true)), (Verdict::Pass, well()));
        assert_eq!(
            verdict(Some(true), Some(false)),
            (Verdict::Fail, vec!["promise: badly".to_owned()])
        );
        assert_eq!(
            verdict(Some(true), None),
            (Verdict::Invalid, vec!["promise: not measured".to_owned()])
        );
        assert_eq!(
            verdict(None, Some(true)),
            (Verdict::Invalid, vec!["validity: not measured".to_owned()])
        );
        for promise in [Some(true), Some(false), None] {
            assert_eq!(
                verdict(Some(false), promise),
                (Verdict::Invalid, vec!["validity: badly".to_owned()])
            );
        }
    }

    #[test]
    fn conditions_are_counted_before_the_run() {
        let rules = [
            promise("this".to_owned(), |_: &Measured| None),
            promise("that".to_owned(), |_| None),
            validity("it rains".to_owned(), |_| None),
        ];
        assert_eq!(
            announce(&rules),
            "PASS if this; that.\nINVALID if a condition does not hold; the end lists all 1 of them."
        );
    }

    #[test]
    fn a_run_cut_short_is_invalid_and_says_why() {
        let rules = [promise("promise".to_owned(), |_| Some(finding(true)))];
        let (verdict, reasons, checks) = judge(&rules, &Measured::default(), Some("interrupted"));
        assert_eq!(
            (verdict, reasons),
            (Verdict::Invalid, vec!["interrupted".to_owned()])
        );
        assert_eq!(checks.len(), 1);
    }

    #[test]
    fn verdicts_are_written_in_capitals() {
        assert_eq!(
            serde_json::to_string(&Verdict::Invalid).unwrap(),
            "\"INVALID\""
        );
        assert_eq!(Verdict::Pass.to_string(), "PASS");
    }
}
