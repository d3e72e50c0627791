//! A process group that does not outlive this process.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

/// The group's first member. It reads a pipe whose other end only we hold, and so learns of our death however we died,
/// `kill -9` included; then it ends the others and removes `$1`, if one is given. The signal is the one for which nobody
/// waits for clients or writes more.
const WATCHMAN: &str = "\
    trap '' QUIT\n\
    read -r _\n\
    kill -QUIT 0\n\
    sleep 2\n\
    if [ -n \"$1\" ]; then rm -rf -- \"$1\"; fi\n\
    kill -KILL 0\n";

/// Processes that end together: when this is dropped at the latest, and when we are killed.
#[must_use]
pub(crate) struct Group {
    watchman: Child,
}

impl Group {
    /// An empty group. The folder is removed only if we die without dropping the group.
    pub(crate) fn new(folder: Option<&Path>) -> Result<Self> {
        let watchman = Command::new("sh")
            .args(["-c", WATCHMAN, "sh"])
            .args(folder)
            .stdin(Stdio::piped())
            // Whoever reads our output must not wait for this one.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { watchman })
    }

    /// Makes the command start as a member; the terminal's Ctrl-C then no longer reaches it.
    pub(crate) fn adopt<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.process_group(self.pid().as_raw_nonzero().get())
    }

    /// The group's id. It stays ours until the drop, for nobody waits for the watchman before.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.watchman)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It fails when all members are gone, which is what we want.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.watchman.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who still runs when the group is dropped ends with it.
    #[test]
    fn members_end_with_the_group() {
        let group = Group::new(None).unwrap();
        let mut member = group
            .adopt(Command::new("sleep").arg("600"))
            .spawn()
            .unwrap();
        assert!(member.try_wait().unwrap().is_none());
        drop(group);
        assert!(!member.wait().unwrap().success());
    }

    /// The pipe that closes is what a `kill -9` of the owner looks like: members end and the folder goes.
    #[test]
    fn members_and_folder_go_when_the_owner_dies() {
        let folder = std::env::temp_dir().join(format!("backstay-group-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mut group = Group::new(Some(&folder)).unwrap();
        let mut member = group
            .adopt(Command::new("sleep").arg("600"))
            .spawn()
            .unwrap();
        drop(group.watchman.stdin.take());
        assert!(!member.wait().unwrap().success());
        group.watchman.wait().unwrap();
        assert!(!folder.exists());
        // Its id is no longer ours.
        std::mem::forget(group);
    }
}
