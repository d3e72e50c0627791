//! One server from its start to its end.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::group::Group;
use crate::interrupt::Interrupt;

/// How long a server may take until it answers; a busy machine with a slow disk needs some of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long one question to a server may take.
const ANSWER: Duration = Duration::from_secs(1);

/// How long to wait before the next look.
const POLL: Duration = Duration::from_millis(20);

/// How often another port is tried when somebody was faster.
const PORTS: usize = 5;

/// How much of a log is shown.
const LINES: usize = 20;

/// How to start one server.
pub(super) struct Plan<'p> {
    pub(super) name: &'static str,
    pub(super) log: PathBuf,
    /// The log has these words once the ports are its own: who answers there might be somebody else.
    pub(super) ready: &'static str,
    /// The signal for a quick end.
    pub(super) stop: Signal,
    /// The call for these ports. Both are free; most servers need one.
    pub(super) command: &'p dyn Fn([u16; 2]) -> Command,
    /// Whether a client would be served at that address.
    pub(super) answers: &'p dyn Fn(TcpStream) -> bool,
}

/// A server that answers; it is stopped when this is dropped.
#[must_use]
pub(super) struct Process {
    child: Child,
    stop: Signal,
}

impl Plan<'_> {
    /// Starts the server on a free port of 127.0.0.1 and waits until it answers.
    pub(super) fn start(&self, group: &Group, interrupt: &Interrupt) -> Result<(Process, u16)> {
        self.start_on(free_ports, group, interrupt)
    }

    fn start_on(
        &self,
        mut ports: impl FnMut() -> Result<[u16; 2]>,
        group: &Group,
        interrupt: &Interrupt,
    ) -> Result<(Process, u16)> {
        for _ in 0..PORTS {
            let ports = ports()?;
            let mut process = self.spawn(ports, group)?;
            if self.comes_up(&mut process, ports[0], interrupt)? {
                return Ok((process, ports[0]));
            }
            eprintln!("{}: port {} or {} was taken", self.name, ports[0], ports[1]);
        }
        bail!(
            "{}: found no port that stayed free in {PORTS} tries",
            self.name
        )
    }

    fn spawn(&self, ports: [u16; 2], group: &Group) -> Result<Process> {
        let log = File::create(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = (self.command)(ports);
        let child = group
            .adopt(&mut command)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Process {
            child,
            stop: self.stop,
        })
    }

    /// Waits until the server answers: `false` if another process has its port.
    fn comes_up(&self, process: &mut Process, port: u16, interrupt: &Interrupt) -> Result<bool> {
        let deadline = now() + PATIENCE;
        loop {
            let ended = process.child.try_wait()?;
            let log = text(&self.log);
            if let Some(status) = ended {
                if is_taken(&log) {
                    return Ok(false);
                }
                bail!("{} ended ({status}):\n{}", self.name, tail(&log));
            }
            if log.contains(self.ready) && connect(port).is_some_and(self.answers) {
                return Ok(true);
            }
            if now() >= deadline {
                bail!(
                    "{} gave no answer in {} s:\n{}",
                    self.name,
                    PATIENCE.as_secs(),
                    tail(&log)
                );
            }
            interrupt.pause(POLL)?;
        }
    }
}

impl Process {
    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    #[expect(
        clippy::disallowed_methods,
        reason = "the end of a process wakes nobody who waits with a bound"
    )]
    fn drop(&mut self) {
        let deadline = now() + GRACE;
        if self.is_running() {
            // Nobody else waits for it, so the id is still its own.
            let _ = kill_process(Pid::from_child(&self.child), self.stop);
        }
        while self.is_running() && now() < deadline {
            thread::sleep(POLL);
        }
        // Both do nothing for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A call without the settings that the user's own clients and servers read from the environment.
pub(super) fn clean(program: &Path, prefix: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        // Without this one etcd 3.4 does not start on arm64.
        let kept = name == "ETCD_UNSUPPORTED_ARCH";
        if name.as_encoded_bytes().starts_with(prefix.as_bytes()) && !kept {
            command.env_remove(name);
        }
    }
    command
}

/// Asks the kernel; both at once, so that they differ.
fn free_ports() -> Result<[u16; 2]> {
    let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1");
    let (one, other) = (any()?, any()?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

fn connect(port: u16) -> Option<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.set_write_timeout(Some(ANSWER)).ok()?;
    Some(stream)
}

/// What a log says when the port has another owner; the same words in C and in Go.
fn is_taken(log: &str) -> bool {
    log.to_lowercase().contains("address already in use")
}

fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[expect(
    clippy::disallowed_methods,
    reason = "real processes take real time, and each wait for one has a bound"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::folder::Folder;
    use super::*;

    /// A script in a server's place; it may use `$1`, its port.
    fn start(
        script: &str,
        ports: impl FnMut() -> Result<[u16; 2]>,
        answers: &dyn Fn(TcpStream) -> bool,
        interrupt: &Interrupt,
    ) -> Result<(Process, u16)> {
        let folder = Folder::new()?;
        let group = Group::new(None)?;
        let plan = Plan {
            name: "fake",
            log: folder.path().join("log"),
            ready: "listening",
            stop: Signal::TERM,
            command: &|[port, _]| {
                let mut command = Command::new("sh");
                command.args(["-c", script, "sh"]).arg(port.to_string());
                command
            },
            answers,
        };
        plan.start_on(ports, &group, interrupt)
    }

    /// A port that was taken meanwhile is given up for the next one.
    #[test]
    fn a_taken_port_is_tried_again_with_another() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let good = listener.local_addr().unwrap().port();
        let ports = RefCell::new(vec![good, 1, 2]);
        let next = || Ok([ports.borrow_mut().pop().unwrap(), 0]);
        let script = format!(
            "if [ $1 = {good} ]; then echo listening; exec sleep 600; fi; \
             echo 'bind: Address already in use'; exit 1"
        );
        let (mut process, port) = start(&script, next, &|_| true, &Interrupt::default()).unwrap();
        assert_eq!(port, good);
        // Its group went at the end of `start`; the drop finds nobody to wait for.
        process.child.wait().unwrap();
    }

    /// When every port is taken, that is said after a bounded number of tries.
    #[test]
    fn taken_ports_are_tried_a_few_times_only() {
        let tries = RefCell::new(0);
        let next = || {
            *tries.borrow_mut() += 1;
            Ok([1, 2])
        };
        let script = "echo 'address already in use'; exit 1";
        let error = start(script, next, &|_| true, &Interrupt::default()).err();
        assert_eq!(
            error.unwrap().to_string(),
            "fake: found no port that stayed free in 5 tries"
        );
        assert_eq!(tries.into_inner(), PORTS);
    }

    /// A server that ends says why: its status and the end of its log.
    #[test]
    fn a_server_that_ends_shows_its_log() {
        let script = "echo no such option >&2; exit 3";
        let error = start(script, free_ports, &|_| true, &Interrupt::default()).err();
        assert_eq!(
            error.unwrap().to_string(),
            "fake ended (exit status: 3):\nno such option"
        );
    }

    /// Somebody else who answers at the port is not taken for the server.
    #[test]
    fn a_stranger_at_the_port_does_not_count() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let never = |_| unreachable!("asked before the server has its port");
        let script = "echo starting; exit 4";
        let error = start(script, || Ok([port, 0]), &never, &Interrupt::default()).err();
        assert_eq!(
            error.unwrap().to_string(),
            "fake ended (exit status: 4):\nstarting"
        );
    }

    /// The end of a log is its last twenty lines.
    #[test]
    fn a_tail_is_twenty_lines() {
        let lines: Vec<_> = (1..=30).map(|line| line.to_string()).collect();
        assert_eq!(tail(&lines.join("\n")), lines[10..].join("\n"));
        assert_eq!(tail("one\n"), "one");
        assert_eq!(tail(""), "");
    }

    /// Two ports are asked for at once.
    #[test]
    fn free_ports_differ() {
        let [one, other] = free_ports().unwrap();
        assert_ne!(one, other);
    }
}
