//! One measured line.

use serde::Serialize;

/// One subject in one group on so many threads.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) subject: &'static str,
    pub(crate) group: &'static str,
    pub(crate) threads: usize,
    /// Median over the rounds of a batch's time by its calls in total.
    pub(crate) ns: f64,
    /// Allocations of one call, counted on one thread.
    pub(crate) allocs: f64,
    /// Half the distance between the quartiles of `ns`, as a share of it.
    #[serde(skip)]
    pub(crate) spread: f64,
}

/// How many times the calls a second of `base` the `row` has.
pub(crate) fn throughput(row: &Row, base: &Row) -> f64 {
    base.ns / row.ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results;

    /// The file holds the rows in five fields each, and nothing else.
    #[test]
    fn the_file_has_five_fields_a_row() {
        let row = Row {
            subject: "bare",
            group: "bare call",
            threads: 2,
            ns: 1.5,
            allocs: 0.0,
            spread: 0.1,
        };
        let value: serde_json::Value =
            serde_json::from_str(&results::json(&[row]).unwrap()).unwrap();
        let expected = serde_json::json!({"rows": [{
            "subject": "bare", "group": "bare call", "threads": 2, "ns": 1.5, "allocs": 0.0,
        }]});
        assert_eq!(value, expected);
    }
}
