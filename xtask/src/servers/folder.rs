//! A folder that is removed at the end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

#[must_use]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new one in the system's folder for temporary files.
    pub(super) fn new() -> Result<Self> {
        let base = std::env::temp_dir();
        // Servers have other working folders than we.
        let base = base
            .canonicalize()
            .with_context(|| format!("no folder {}", base.display()))?;
        let mut number = 0;
        loop {
            let path = base.join(format!("backstay-{}-{number}", std::process::id()));
            // Others may pass through it to a folder of their own, but not look around.
            match DirBuilder::new().mode(0o711).create(&path) {
                Ok(()) => return Ok(Self { path }),
                // Ours, of another thread; or left by somebody who had our id before.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot make {}", path.display()));
                }
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder inside, for one server.
    pub(super) fn inside(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let mut builder = DirBuilder::new();
        builder
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two folders never meet, and each goes with what is in it.
    #[test]
    fn a_folder_is_its_own_and_goes_at_the_end() {
        let (one, other) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(one.path(), other.path());
        fs::write(one.inside("etcd").unwrap().join("log"), "text").unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(other.path().exists());
    }
}
