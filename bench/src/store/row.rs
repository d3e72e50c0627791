//! One measured line.

use serde::Serialize;

use super::load::Sample;
use super::subject::{Group, Subject};
use crate::stats::median;

/// One subject with so many committers. Each value is the median over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) group: Group,
    pub(crate) committers: usize,
    #[serde(rename = "commits_per_s")]
    pub(crate) rate: f64,
    /// Microseconds of a commit.
    #[serde(rename = "p50_us")]
    pub(crate) p50: f64,
    #[serde(rename = "p99_us")]
    pub(crate) p99: f64,
    /// Half the distance between the quartiles of `rate`, as a share of it.
    #[serde(skip)]
    pub(crate) spread: f64,
    /// What each round has shown.
    #[serde(skip)]
    pub(crate) samples: Vec<Sample>,
}

impl Row {
    /// How large a value is by that of another row: the median of what the rounds say.
    ///
    /// Both were measured right after each other in each round, so a disk that slows down between rounds changes little.
    pub(crate) fn by(&self, base: &Self, value: fn(&Sample) -> f64) -> f64 {
        let pairs = self.samples.iter().zip(&base.samples);
        let mut ratios: Vec<_> = pairs
            .map(|(ours, theirs)| value(ours) / value(theirs))
            .collect();
        median(&mut ratios).0
    }
}

/// The row of a subject with so many committers.
pub(crate) fn find(rows: &[Row], subject: Subject, committers: usize) -> Option<&Row> {
    rows.iter()
        .find(|row| row.subject == subject && row.committers == committers)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::results;

    /// A row with a p50 of its own.
    pub(crate) fn row(subject: Subject, committers: usize, rate: f64, p50: f64) -> Row {
        let p99 = 2.0 * p50;
        Row {
            subject,
            group: subject.group(),
            committers,
            rate,
            p50,
            p99,
            spread: 0.02,
            samples: vec![Sample { rate, p50, p99 }],
        }
    }

    /// A round in which the disk was slow for both is no advantage of either.
    #[test]
    fn ratios_are_those_of_the_rounds() {
        let rounds = |rates: [f64; 3]| {
            let mut row = row(Subject::Sqlite, 1, 0.0, 0.0);
            let [sample] = row.samples[..] else {
                panic!("one sample");
            };
            row.samples = rates.map(|rate| Sample { rate, ..sample }).to_vec();
            row
        };
        let (ours, theirs) = (rounds([50.0, 5.0, 6.0]), rounds([100.0, 100.0, 12.0]));
        assert_eq!(Some(ours.by(&theirs, |sample| sample.rate)), Some(0.5));
    }

    /// The file holds the rows in six fields each, and nothing else.
    #[test]
    fn the_file_has_six_fields_a_row() {
        let row = row(Subject::Sqlite, 8, 1_000.0, 7.5);
        let value: serde_json::Value =
            serde_json::from_str(&results::json(&[row]).unwrap()).unwrap();
        let expected = serde_json::json!({"rows": [{
            "subject": "backstay", "group": "sqlite", "committers": 8,
            "commits_per_s": 1_000.0, "p50_us": 7.5, "p99_us": 15.0,
        }]});
        assert_eq!(value, expected);
    }
}
