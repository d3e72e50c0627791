//! Gets a missing server from the system's packages.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::find;
use super::process::tail;
use crate::interrupt::Interrupt;

/// Debian's packages ask it whether they may start what they installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Our answer while we install: no. Our tests start their own servers, and nobody asked for others.
///
/// It ends with the id of its process.
const NO_START: &str = "#!/bin/sh\n\
    # Written by Backstay's `cargo xtask` for the time of one apt-get; may be removed.\n\
    exit 101\n\
    # ";

/// What a person would type.
pub(super) fn advice(package: &str) -> String {
    if rustix::process::geteuid().is_root() {
        format!("apt-get install -y {package}")
    } else {
        format!("sudo apt-get install -y {package}")
    }
}

/// Whether we may and can install: root, on a system with apt-get.
pub(super) fn is_possible() -> bool {
    rustix::process::geteuid().is_root() && find::folder_with(&["apt-get"], find::path()).is_some()
}

/// Installs the package; the lists of packages are fetched only when it fails without.
pub(super) fn package(name: &str, interrupt: &Interrupt) -> Result<()> {
    eprintln!("installing {name}");
    let _policy = Policy::new(Path::new(POLICY))?;
    let install = ["install", "--yes", "--no-install-recommends", name];
    if apt_get(&install).is_ok() {
        return Ok(());
    }
    // Ctrl-C reaches apt-get too, and is no reason to try again.
    interrupt.check()?;
    apt_get(&["update"])?;
    interrupt.check()?;
    apt_get(&install)
}

fn apt_get(args: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        // Another apt-get may be at work.
        .args(["-q", "-o", "DPkg::Lock::Timeout=120"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot start apt-get")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "apt-get {} failed ({}):\n{}",
            args.join(" "),
            output.status,
            tail(&String::from_utf8_lossy(&said))
        );
    }
    Ok(())
}

/// The answer's file, unless the system has one of its own, which is left alone.
struct Policy<'p> {
    ours: Option<&'p Path>,
}

impl<'p> Policy<'p> {
    fn new(path: &'p Path) -> Result<Self> {
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path);
        let ours = match created {
            Ok(mut file) => {
                let policy = Self { ours: Some(path) };
                write!(file, "{NO_START}{}", std::process::id())
                    .with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(policy);
            }
            Err(_) if was_left(path) => Some(path),
            Err(_) => None,
        };
        Ok(Self { ours })
    }
}

/// Whether the file is of one of us who was killed. One who is at work still needs it.
fn was_left(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let id = text.strip_prefix(NO_START);
    id.is_some_and(|id| !Path::new("/proc").join(id).exists())
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.ours
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::*;

    /// Ours comes and goes, also one that was left; the system's own stays as it is.
    #[test]
    fn the_systems_own_policy_is_left_alone() {
        let folder = Folder::new().unwrap();
        let path = folder.path().join("policy-rc.d");
        let policy = Policy::new(&path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with(NO_START));
        // Another who comes meanwhile leaves it.
        drop(Policy::new(&path).unwrap());
        assert!(path.exists());
        drop(policy);
        assert!(!path.exists());

        fs::write(&path, format!("{NO_START}gone")).unwrap();
        drop(Policy::new(&path).unwrap());
        assert!(!path.exists());

        fs::write(&path, "exit 0").unwrap();
        drop(Policy::new(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "exit 0");
    }
}
