//! Processes that the lab starts: itself again, told what to be.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child as Process, ChildStdout, Command};
use tokio::sync::watch;

/// A process that ends with this, and when this process dies.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    /// How many lines it has said.
    said: watch::Receiver<u64>,
}

impl Child {
    /// Starts a service, and waits until it says its address.
    pub(crate) async fn service(words: &[String]) -> anyhow::Result<(Self, SocketAddr)> {
        let (process, out) = spawn(words)?;
        let mut lines = BufReader::new(out).lines();
        let address = lines.next_line().await?.context("it has ended")?;
        let child = Self {
            process,
            said: count(lines),
        };
        Ok((child, address.parse()?))
    }

    pub(crate) fn start(words: &[String]) -> anyhow::Result<Self> {
        let (process, out) = spawn(words)?;
        let said = count(BufReader::new(out).lines());
        Ok(Self { process, said })
    }

    /// Waits for the next line that it says.
    pub(crate) async fn next_line(&self) {
        let mut said = self.said.clone();
        said.mark_unchanged();
        if said.changed().await.is_err() {
            // It has ended; whoever waits for it has a limit.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it has ended, and says whether that was as `kill -9` does it.
    pub(crate) async fn was_killed(&mut self) -> anyhow::Result<bool> {
        let status = self.process.wait().await?;
        Ok(status.signal() == Some(Signal::KILL.as_raw()))
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self
            .process
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(kill_process(pid.context("it has ended")?, signal)?)
    }

    /// Whether the kernel has stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        let Some(id) = self.process.id() else {
            return false;
        };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name before it may hold anything but its closing bracket comes last.
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        state == Some('T')
    }
}

fn spawn(words: &[String]) -> anyhow::Result<(Process, ChildStdout)> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(words)
        // It ends when this is closed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for the lab alone, which then reports what they know.
        .process_group(0)
        .spawn()?;
    let out = process.stdout.take().context("it is piped")?;
    Ok((process, out))
}

fn count(mut lines: tokio::io::Lines<BufReader<ChildStdout>>) -> watch::Receiver<u64> {
    let (tell, said) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok(Some(_)) = lines.next_line().await {
            tell.send_modify(|said| *said += 1);
        }
    });
    said
}

/// Ends when the process that started this one has gone: its end of standard input is closed then. A process that is
/// stopped can't read that, so the kernel is told as well.
pub(crate) async fn orphaned() {
    // Where there is no such signal, standard input is all there is.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let gone = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        while std::io::stdin()
            .read_line(&mut line)
            .is_ok_and(|read| read > 0)
        {}
    });
    let _ = gone.await;
}
