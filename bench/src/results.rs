//! The file that keeps the rows of a run.

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// The file's whole content.
#[derive(Serialize)]
struct Results<'a, R> {
    rows: &'a [R],
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

pub(crate) fn write(path: &Path, rows: &[impl Serialize]) -> Result<()> {
    fs::write(path, json(rows)?).with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn json(rows: &[impl Serialize]) -> Result<String> {
    Ok(serde_json::to_string_pretty(&Results { rows })? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that cannot be a file is refused before anything is measured.
    #[test]
    fn a_folder_is_not_writable() {
        let error = check_writable(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
    }
}
