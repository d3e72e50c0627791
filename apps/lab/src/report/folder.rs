//! Where the reports go. Checked before the run, because a run takes more than a minute.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Report, Results, html};

/// More than both reports need.
const ROOM: usize = 4 << 20;

/// The report can't be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write the report to {}", path.display())]
pub(crate) struct Unwritable {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A folder that was writable, with room, when the run began.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder and proves that the reports will fit.
    pub(crate) fn prepare(out: &Path, experiment: &str) -> Result<Self, Unwritable> {
        let relative = out.join(experiment);
        let path = std::path::absolute(&relative).unwrap_or(relative);
        let try_it = || {
            fs::create_dir_all(&path)?;
            let probe = path.join("report.part");
            let written = fill(&probe);
            fs::remove_file(&probe)?;
            written
        };
        match try_it() {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(Unwritable { path, source }),
        }
    }

    /// Writes both reports, each whole or not at all, and says where they are.
    pub(crate) fn write<M: Results>(
        &self,
        report: &Report<M>,
    ) -> Result<(PathBuf, PathBuf), Unwritable> {
        let json = serde_json::to_string_pretty(report).map_err(io::Error::from);
        let json = json.map_err(|source| Unwritable {
            path: self.path.clone(),
            source,
        })?;
        let page = self.put("report.html", &html::page(&json, M::PAGE))?;
        let json = self.put("report.json", &(json + "\n"))?;
        Ok((json, page))
    }

    fn put(&self, name: &str, text: &str) -> Result<PathBuf, Unwritable> {
        let (part, path) = (self.path.join("report.part"), self.path.join(name));
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|source| Unwritable {
                path: path.clone(),
                source,
            })?;
        Ok(path)
    }
}

fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; ROOM])?;
    // Some file systems find out only here that there is no room.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_not_be_made_is_named() {
        let refusal = Folder::prepare(Path::new("/dev/null"), "overload").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "can't write the report to /dev/null/overload"
        );
    }

    #[test]
    fn a_full_disk_is_noticed_before_the_run() {
        // The device takes no byte, like a disk without room.
        if Path::new("/dev/full").exists() {
            assert!(fill(Path::new("/dev/full")).is_err());
        }
    }
}
