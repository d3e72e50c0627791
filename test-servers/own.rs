//! Servers of a test's own, that are killed and started again.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::variable;

/// As often a killed server's memory or port may still be in use when the next one starts.
const STARTS: usize = 50;

/// It is killed at the end.
#[derive(Debug)]
pub struct OwnServer {
    folder: TempDir,
    program: PathBuf,
    args: Vec<String>,
    /// Postgres does not run as root.
    user: Option<(u32, u32)>,
    /// The words in its log once it answers.
    ready: &'static str,
    running: Option<Child>,
    /// Where it is reached.
    pub url: String,
}

impl OwnServer {
    /// A member that is alone. None, as for all, where the tests were told to do without.
    pub fn etcd() -> Option<Self> {
        Self::etcd_cluster(1)?.pop()
    }

    /// Members of one cluster; they answer once more than half of them run.
    pub fn etcd_cluster(members: usize) -> Option<Vec<Self>> {
        let program = PathBuf::from(variable("ETCD", "BIN")?);
        let peers: Vec<_> = (0..members).map(|_| free_url("http")).collect();
        let all = peers.iter().enumerate();
        let all: Vec<_> = all
            .map(|(member, peer)| format!("m{member}={peer}"))
            .collect();
        let all = all.join(",");
        let members = peers.iter().enumerate().map(|(member, peer)| {
            let folder = tempfile::tempdir().expect("a folder");
            let url = free_url("http");
            let args = [
                ("--name", &*format!("m{member}")),
                ("--data-dir", &path(&folder, "data")),
                ("--listen-client-urls", &url),
                ("--advertise-client-urls", &url),
                ("--listen-peer-urls", peer),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", &all),
            ];
            Self {
                folder,
                program: program.clone(),
                args: args.map(|(name, value)| format!("{name}={value}")).to_vec(),
                user: None,
                ready: "ready to serve client requests",
                running: None,
                url,
            }
        });
        Some(members.collect())
    }

    /// One with `JetStream`.
    pub fn nats() -> Option<Self> {
        let program = variable("NATS", "BIN")?.into();
        let folder = tempfile::tempdir().expect("a folder");
        let url = free_url("nats");
        let (_, port) = url.rsplit_once(':').expect("a port");
        let data = path(&folder, "data");
        let args = ["-js", "-a", "127.0.0.1", "-p", port, "-sd", &data];
        let args = args.map(str::to_owned).to_vec();
        Some(Self {
            folder,
            program,
            args,
            user: None,
            ready: "Server is ready",
            running: None,
            url,
        })
    }

    /// One whose disk has nothing yet.
    pub fn postgres() -> Option<Self> {
        let programs = PathBuf::from(variable("POSTGRES", "BIN")?);
        let folder = tempfile::tempdir().expect("a folder");
        let user = geteuid().is_root().then(postgres);
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).expect("its folder");
            let all_pass = Permissions::from_mode(0o711);
            fs::set_permissions(folder.path(), all_pass).expect("its folder");
        }
        let address = free_url("postgres");
        let (_, port) = address.rsplit_once(':').expect("a port");
        let data = path(&folder, "data");
        let sockets = path(&folder, "");
        let args = ["-D", &data, "-k", &sockets, "-h", "127.0.0.1", "-p", port];
        let args = args.map(str::to_owned).to_vec();
        let server = Self {
            folder,
            program: programs.join("postgres"),
            args,
            user,
            // A standby accepts those that read only.
            ready: "ready to accept",
            running: None,
            url: format!("{}/postgres", address.replace("://", "://postgres@")),
        };
        let mut initdb = server.command(&programs.join("initdb"));
        initdb.args(["--pgdata", &data, "--username=postgres", "--auth=trust"]);
        initdb.args(["--encoding=UTF8", "--no-locale", "--no-sync"]);
        let made = initdb.output().expect("initdb");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        Some(server)
    }

    /// Starts it with these settings of Postgres from now on.
    #[must_use]
    pub fn with(mut self, settings: &[String]) -> Self {
        let settings = settings
            .iter()
            .flat_map(|setting| ["-c".to_owned(), setting.clone()]);
        self.args.extend(settings);
        self
    }

    /// Puts a file into its folder, for nobody but the server.
    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its file");
        if let Some((user, group)) = self.user {
            chown(&path, Some(user), Some(group)).expect("its file");
        }
        path
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Starts it, for the first time or again, and waits until it answers.
    pub async fn start(mut self) -> Self {
        let started = tokio::task::spawn_blocking(move || {
            self.start_now();
            self
        });
        started.await.expect("it has started")
    }

    /// The same where nobody is held up by waiting.
    pub fn start_now(&mut self) {
        for _ in 0..STARTS {
            let mut command = self.command(&self.program);
            command.args(&self.args).stderr(Stdio::piped());
            let mut child = command.spawn().expect("a server");
            let log = child.stderr.take().expect("its log");
            let mut lines = BufReader::new(log).lines().map_while(Result::ok);
            let is_ready = lines.any(|line| line.contains(self.ready));
            self.running = Some(child);
            if is_ready {
                // It goes on talking, and must not wait for a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return;
            }
            self.kill();
        }
        panic!("the server does not start");
    }

    /// Stops its process where it is; it goes on after [`go_on`](Self::go_on).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("it runs");
        kill_process(Pid::from_child(running), signal).expect("it lives");
    }

    /// Throws away what a server that does not run has kept. Postgres can't start after that.
    pub fn forget(&self) {
        fs::remove_dir_all(self.folder.path().join("data")).expect("its data");
    }

    /// Copies what a server that does not run has kept. Not of Postgres, whose user has to own it.
    pub fn back_up(&self) {
        copy(
            &self.folder.path().join("data"),
            &self.folder.path().join("backup"),
        );
    }

    /// Puts that in the place of what there is.
    pub fn restore(&self) {
        self.forget();
        copy(
            &self.folder.path().join("backup"),
            &self.folder.path().join("data"),
        );
    }

    /// Kills it and all that it has started, at once. Its disk stays.
    pub fn kill(&mut self) {
        let Some(mut child) = self.running.take() else {
            return;
        };
        let id = child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        // It may have ended by itself.
        let _ = child.kill();
        for child in children.unwrap_or_default().split_whitespace() {
            if let Some(child) = child.parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(child, Signal::KILL);
            }
        }
        child.wait().expect("it has ended");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a file");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a file").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_string_lossy().into_owned()
}

/// The address of a port on which nobody listens.
fn free_url(scheme: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    format!("{scheme}://{address}")
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
