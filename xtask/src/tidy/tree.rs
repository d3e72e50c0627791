//! The files of the repository, read once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Path from the root, with `/`, to text; a file that is not text is there with no text.
pub(super) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads what git tracks, and new files it would not ignore, so that a finding shows before the commit.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let output = Command::new("git")
            // The checkout may belong to another user than the one who runs this, as in a container.
            .args([
                "-c",
                "safe.directory=*",
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .context("cannot start git")?;
        if !output.status.success() {
            bail!(
                "git ls-files: {}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
        let mut files = BTreeMap::new();
        for name in names.split_terminator('\0') {
            let path = root.join(name);
            // Deleted but not yet committed, or a folder of its own.
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {name}"))?;
            files.insert(
                name.to_owned(),
                String::from_utf8(bytes).unwrap_or_default(),
            );
        }
        Ok(Self { files })
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// The files of one kind.
    pub(super) fn of_kind<'t>(
        &'t self,
        extension: &'t str,
    ) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.all()
            .filter(move |(path, _)| has_extension(path, &[extension]))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether there is such a file, or a folder with a file in it; the root is a folder.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self
                .files
                .keys()
                .any(|file| file == path || file.starts_with(&folder))
    }

    /// A made-up tree.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|&(path, text)| (path.to_owned(), text.to_owned()))
                .collect(),
        }
    }
}

pub(super) fn has_extension(path: &str, extensions: &[&str]) -> bool {
    let extension = Path::new(path)
        .extension()
        .and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extensions.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// New files are read, ignored and deleted ones are not, and what is no text has none.
    #[test]
    fn the_files_git_would_keep_are_read() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        std::fs::create_dir_all(root.join("folder")).unwrap();
        let git = |args: &[&str]| {
            assert!(
                Command::new("git")
                    .args(args)
                    .current_dir(&root)
                    .status()
                    .unwrap()
                    .success()
            );
        };
        git(&["init", "--quiet"]);
        for (path, bytes) in [
            (".gitignore", &b"ignored"[..]),
            ("ignored", b""),
            ("folder/new.rs", b"text"),
            ("deleted", b""),
            ("image", b"\xff"),
        ] {
            std::fs::write(root.join(path), bytes).unwrap();
        }
        git(&["add", "deleted", "image"]);
        std::fs::remove_file(root.join("deleted")).unwrap();

        let tree = Tree::read(&root);
        std::fs::remove_dir_all(&root).unwrap();
        let tree = tree.unwrap();
        let files: Vec<_> = tree.all().collect();
        assert_eq!(
            files,
            [
                (".gitignore", "ignored"),
                ("folder/new.rs", "text"),
                ("image", "")
            ]
        );
        assert!(tree.has("folder") && !tree.has("fold"));
    }
}
