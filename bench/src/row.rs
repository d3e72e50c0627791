//! One measured line, and the file that keeps all of them.

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};
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

/// The file's whole content.
#[derive(Serialize)]
struct Results<'a> {
    rows: &'a [Row],
}

/// Fails now rather than after minutes of measuring. Keeps what the file holds.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder of {}", path.display()))?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

pub(crate) fn write(path: &Path, rows: &[Row]) -> Result<()> {
    fs::write(path, json(rows)?).with_context(|| format!("cannot write {}", path.display()))
}

fn json(rows: &[Row]) -> Result<String> {
    Ok(serde_json::to_string_pretty(&Results { rows })? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let value: serde_json::Value = serde_json::from_str(&json(&[row]).unwrap()).unwrap();
        let expected = serde_json::json!({"rows": [{
            "subject": "bare", "group": "bare call", "threads": 2, "ns": 1.5, "allocs": 0.0,
        }]});
        assert_eq!(value, expected);
    }

    /// A path that cannot be a file is refused before anything is measured.
    #[test]
    fn a_folder_is_not_writable() {
        let error = check_writable(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
    }
}
