//! One measured line.

use serde::Serialize;

use super::load::Sample;
use super::subject::{Durability, Group, Subject};
use crate::stats::median;

/// One subject with so many at once. Each value is the median over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) group: Group,
    pub(crate) durability: Durability,
    pub(crate) at_once: usize,
    /// Steps a second, or commits where the subject commits.
    #[serde(rename = "per_s")]
    pub(crate) rate: f64,
    /// Microseconds of a saga, or of a commit. None if none ended in a round's time.
    #[serde(rename = "p50_us")]
    pub(crate) p50: Option<f64>,
    #[serde(rename = "p99_us")]
    pub(crate) p99: Option<f64>,
    /// Half the distance between the quartiles of `rate`, as a share of it.
    #[serde(skip)]
    pub(crate) spread: f64,
    /// What each round has shown.
    #[serde(skip)]
    pub(crate) samples: Vec<Sample>,
}

impl Row {
    pub(crate) fn new(subject: Subject, at_once: usize, samples: Vec<Sample>) -> Self {
        let mut rates: Vec<_> = samples.iter().map(|sample| sample.rate).collect();
        let (rate, spread) = median(&mut rates);
        // Where nothing was done, nothing spreads.
        let spread = if rate > 0.0 { spread } else { 0.0 };
        let time = |value: fn(&Sample) -> Option<f64>| {
            let mut times: Vec<_> = samples.iter().filter_map(value).collect();
            (!times.is_empty()).then(|| median(&mut times).0)
        };
        Self {
            subject,
            group: subject.group(),
            durability: subject.durability(),
            at_once,
            rate,
            p50: time(|sample| sample.p50),
            p99: time(|sample| sample.p99),
            spread,
            samples,
        }
    }

    /// How large a value is by that of another row: the median of what the rounds say, in each of which both took their
    /// turn. None where a round has none, or nothing was done to compare with.
    pub(crate) fn by(&self, base: &Self, value: fn(&Sample) -> Option<f64>) -> Option<f64> {
        let pairs = self.samples.iter().zip(&base.samples);
        let ratios = pairs.map(|(ours, theirs)| Some(value(ours)? / value(theirs)?));
        let mut ratios: Vec<_> = ratios.collect::<Option<_>>()?;
        let ratio = (!ratios.is_empty()).then(|| median(&mut ratios).0);
        ratio.filter(|ratio| ratio.is_finite())
    }

    /// The same of what is done a second.
    pub(crate) fn rate_by(&self, base: &Self) -> Option<f64> {
        self.by(base, |sample| Some(sample.rate))
    }
}

/// The row of a subject with so many at once.
pub(crate) fn find(rows: &[Row], subject: Subject, at_once: usize) -> Option<&Row> {
    rows.iter()
        .find(|row| row.subject == subject && row.at_once == at_once)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::results;

    /// A row of one round.
    pub(crate) fn row(subject: Subject, at_once: usize, rate: f64, p50: f64) -> Row {
        let sample = Sample {
            rate,
            p50: Some(p50),
            p99: Some(2.0 * p50),
        };
        Row::new(subject, at_once, vec![sample])
    }

    fn rounds(subject: Subject, rounds: [(f64, Option<f64>); 3]) -> Row {
        let samples = rounds.map(|(rate, p50)| Sample {
            rate,
            p50,
            p99: p50,
        });
        Row::new(subject, 1, samples.to_vec())
    }

    /// Each value is the median of the rounds that have it; a ratio is that of the rounds.
    #[test]
    fn a_row_is_made_of_medians() {
        let ours = rounds(
            Subject::Sqlite,
            [(50.0, Some(1.0)), (5.0, None), (6.0, Some(3.0))],
        );
        assert_eq!((ours.rate, ours.p50), (6.0, Some(1.0)));
        let theirs = rounds(
            Subject::Duroxide,
            [(100.0, Some(1.0)), (100.0, Some(1.0)), (12.0, Some(1.0))],
        );
        assert_eq!(ours.rate_by(&theirs), Some(0.5));
        assert_eq!(ours.by(&theirs, |sample| sample.p50), None);
        let none = rounds(Subject::Steno, [(1.0, None); 3]);
        assert_eq!((none.p50, none.spread), (None, 0.0));
        let idle = rounds(Subject::DuroxideFull, [(0.0, None); 3]);
        assert_eq!((idle.rate, idle.spread), (0.0, 0.0));
        assert_eq!(ours.rate_by(&idle), None);
    }

    /// The file holds the rows in seven fields each, and nothing else.
    #[test]
    fn the_file_has_seven_fields_a_row() {
        let row = row(Subject::DuroxideFull, 64, 1_000.0, 7.5);
        let value: serde_json::Value =
            serde_json::from_str(&results::json(&[row]).unwrap()).unwrap();
        let expected = serde_json::json!({"rows": [{
            "subject": "duroxide, synchronous=FULL", "group": "sqlite", "durability": "fsync",
            "at_once": 64, "per_s": 1_000.0, "p50_us": 7.5, "p99_us": 15.0,
        }]});
        assert_eq!(value, expected);
    }
}
