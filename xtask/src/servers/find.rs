//! Where the servers' programs are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The first folder that holds all of the programs.
pub(super) fn folder_with(
    programs: &[&str],
    folders: impl IntoIterator<Item = PathBuf>,
) -> Option<PathBuf> {
    folders
        .into_iter()
        // What we hand on must mean the same in another folder.
        .filter(|folder| folder.is_absolute())
        .find(|folder| programs.iter().all(|name| is_program(&folder.join(name))))
}

/// The folders of `PATH`, in its order.
pub(super) fn path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// `<base>/<version>/bin` for every version there, newest first.
pub(super) fn versions(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    newest_first(names.collect())
        .iter()
        .map(|version| base.join(version).join("bin"))
        .collect()
}

/// `16`, `15`, `9.6`; what is no version is left out.
fn newest_first(names: Vec<String>) -> Vec<String> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        name.split('.').map(|number| number.parse().ok()).collect()
    };
    let mut versions: Vec<_> = names
        .into_iter()
        .filter_map(|name| Some((numbers(&name)?, name)))
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, name)| name).collect()
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::*;

    /// Versions are compared as numbers, and other names are passed over.
    #[test]
    fn the_newest_version_comes_first() {
        let names = ["9.6", "15", "9.10", "lost+found", "16", ""].map(str::to_owned);
        assert_eq!(
            newest_first(names.to_vec()),
            ["16", "15", "9.10", "9.6"].map(str::to_owned)
        );
        assert_eq!(
            versions(Path::new("/nowhere/at/all")),
            [""; 0].map(PathBuf::from)
        );
    }

    /// A folder counts when it has every program, and each may be run.
    #[test]
    fn a_folder_needs_all_programs() {
        let base = Folder::new().unwrap();
        let place = |folder: &str, name: &str, mode: u32| {
            let folder = base.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), "").unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        place("half", "initdb", 0o755);
        place("text", "initdb", 0o755);
        place("text", "postgres", 0o644);
        place("whole", "initdb", 0o755);
        place("whole", "postgres", 0o755);
        let folders = || ["", "half", "text", "whole"].map(|name| base.path().join(name));
        assert_eq!(
            folder_with(&["initdb", "postgres"], folders()),
            Some(base.path().join("whole"))
        );
        assert_eq!(folder_with(&["initdb", "pg_ctl"], folders()), None);
        assert_eq!(folder_with(&[], [PathBuf::from("relative")]), None);
    }
}
