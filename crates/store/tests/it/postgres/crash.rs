//! STO-2: a server of its own that is killed in the middle of its work.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use backstay_store::{Append, Batch, CommitError, Effect, Event, Position, PostgresStore, Version};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::server::variable;

const WRITERS: usize = 8;
/// Then the server is killed.
const ACKNOWLEDGED: usize = 400;
/// As often a killed server's memory may still be in use when the next one starts.
const STARTS: usize = 50;

/// A cluster that only this test reaches, by a socket in its folder.
struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    /// Postgres does not run as root.
    user: Option<(u32, u32)>,
}

/// A server that runs; it is killed at the end.
struct Running(Child);

impl Cluster {
    fn new() -> Option<Self> {
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

    fn start(&self) -> Running {
        for _ in 0..STARTS {
            let mut command = self.command("postgres");
            command.arg("-D").arg(self.data());
            command.arg("-k").arg(self.folder.path());
            command.args(["-c", "listen_addresses=", "-c", "fsync=on"]);
            let mut child = command.stderr(Stdio::piped()).spawn().expect("a server");
            let log = child.stderr.take().expect("its log");
            let mut lines = BufReader::new(log).lines().map_while(Result::ok);
            if lines.any(|line| line.contains("ready to accept connections")) {
                // It goes on talking, and must not wait for a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return Running(child);
            }
            child.wait().expect("it has ended");
        }
        panic!("the server does not start");
    }

    async fn open(&self) -> PostgresStore {
        let host = self.folder.path().display();
        let address = format!("host={host} user=postgres dbname=postgres");
        let connected = PostgresStore::connect(&address).await;
        connected.expect("a store")
    }
}

impl Running {
    /// Kills it and all that it has started, at once.
    fn kill(&mut self) {
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

fn batch(writer: usize, number: usize) -> Batch {
    let event = |data: String| Append::new(Event::new("happened", data));
    Batch::new()
        .append(format!("own-{writer}"), event(number.to_string()))
        .put(format!("k/{writer}"), number.to_string())
        .append("shared", event(writer.to_string()))
}

/// Commits until the server is gone; returns how many were acknowledged, and the batch that was not.
async fn write(store: PostgresStore, writer: usize, done: mpsc::Sender<()>) -> (usize, Batch) {
    for number in 0.. {
        let batch = batch(writer, number);
        match store.commit(batch.clone()).await {
            // Nobody counts any more once there are enough.
            Ok(_) => drop(done.send(()).await),
            Err(CommitError::Unavailable(unavailable)) => {
                assert_ne!(unavailable.effect(), Effect::Executed);
                return (number, batch);
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("it ends with the server")
}

/// STO-2: after `kill -9` of the server all that was acknowledged is there, nothing is there by halves, and a batch whose
/// answer was lost is committed once when it is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_the_servers_death() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let mut server = cluster.start();
    let (done, mut acknowledged) = mpsc::channel(1);
    let mut writers = JoinSet::new();
    let stores = [cluster.open().await, cluster.open().await];
    for writer in 0..WRITERS {
        let (store, done) = (stores[writer % 2].clone(), done.clone());
        writers.spawn(async move { (writer, write(store, writer, done).await) });
    }
    for _ in 0..ACKNOWLEDGED {
        acknowledged.recv().await.expect("commits");
    }
    server.kill();
    drop(acknowledged);
    let ended = writers.join_all().await;

    let _server = cluster.start();
    let store = cluster.open().await;
    for (writer, (count, last)) in ended {
        let (own, key) = (format!("own-{writer}"), format!("k/{writer}"));
        let there = store.read(&own, Version::START, 10_000).await;
        let there = there.expect("a read");
        let numbers = there.iter().map(|event| event.data.clone());
        let due = (0..there.len()).map(|number| number.to_string());
        assert!(numbers.eq(due.map(bytes::Bytes::from)), "{there:?}");
        let was_written = there.len() == count + 1;
        assert!(was_written || there.len() == count, "{count}: {there:?}");
        let value = store.get(&key).await.expect("a read");
        let value = value.map(|entry| entry.value);
        assert_eq!(value, there.last().map(|event| event.data.clone()));
        assert_eq!(
            store.find(last.id()).await.map(|found| found.is_some()),
            Ok(was_written)
        );

        store.commit(last.clone()).await.expect("a commit");
        store.commit(last).await.expect("the same");
        let there = store.read(&own, Version::START, 10_000).await;
        assert_eq!(there.expect("a read").len(), count + 1);
    }
    let all = store
        .read_all(Position::START, 10_000)
        .await
        .expect("a read");
    let shared = all.iter().filter(|event| event.stream == "shared").count();
    assert_eq!(shared * 2, all.len(), "no batch is there by halves");
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
}
