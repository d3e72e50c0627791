//! A server of a test's own.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use backstay_store::PostgresStore;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::server::variable;

/// As often a killed server's memory may still be in use when the next one starts.
const STARTS: usize = 50;

/// A cluster that only this test reaches, by a socket in its folder.
pub(super) struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    /// Postgres does not run as root.
    user: Option<(u32, u32)>,
}

/// A server that runs; it is killed at the end.
pub(super) struct Running(Child);

impl Cluster {
    pub(super) fn new() -> Option<Self> {
        let programs = variable("BACKSTAY_POSTGRES_BIN")?.into();
        let folder = tempfile::tempdir().expect("a folder");
        let user = geteuid().is_root().then(postgres);
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).expect("its folder");
            let all_pass = Permissions::from_mode(0o711);
            fs::set_permissions(folder.path(), all_pass).expect("its folder");
        }
        let cluster = Self {
            folder,
            programs,
            user,
        };
        let made = cluster
            .command("initdb")
            .arg("--pgdata")
            .arg(cluster.data())
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync"])
            .output()
            .expect("initdb");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        Some(cluster)
    }

    /// Puts a file into its folder, for nobody but its server.
    pub(super) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its file");
        if let Some((user, group)) = self.user {
            chown(&path, Some(user), Some(group)).expect("its file");
        }
        path
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Starts its server with these settings.
    pub(super) fn start(&self, settings: &[String]) -> Running {
        for _ in 0..STARTS {
            let mut command = self.command("postgres");
            command.arg("-D").arg(self.data());
            command.arg("-k").arg(self.folder.path());
            command.args(["-c", "listen_addresses=", "-c", "fsync=on"]);
            for setting in settings {
                command.args(["-c", setting]);
            }
            let mut child = command.stderr(Stdio::piped()).spawn().expect("a server");
            let log = child.stderr.take().expect("its log");
            let mut lines = BufReader::new(log).lines().map_while(Result::ok);
            // A standby accepts those that read only.
            if lines.any(|line| line.contains("ready to accept")) {
                // It goes on talking, and must not wait for a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return Running(child);
            }
            child.wait().expect("it has ended");
        }
        panic!("the server does not start");
    }

    pub(super) async fn open(&self) -> PostgresStore {
        let host = self.folder.path().display();
        let address = format!("host={host} user=postgres dbname=postgres");
        let connected = PostgresStore::connect(&address).await;
        connected.expect("a store")
    }
}

impl Running {
    /// Kills it and all that it has started, at once.
    pub(super) fn kill(&mut self) {
        let id = self.0.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let children = fs::read_to_string(Path::new(&children)).unwrap_or_default();
        // It may have ended by itself.
        let _ = self.0.kill();
        for child in children.split_whitespace() {
            if let Some(child) = child.parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(child, Signal::KILL);
            }
        }
        self.0.wait().expect("it has ended");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The numbers of the user and its group.
fn postgres() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("the users");
    let found = ["postgres:", "nobody:"].into_iter().find_map(|name| {
        let user = users.lines().find(|line| line.starts_with(name))?;
        let mut numbers = user
            .split(':')
            .skip(2)
            .map_while(|field| field.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    });
    found.expect("a user for Postgres")
}
