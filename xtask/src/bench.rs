//! `cargo xtask bench`: one benchmark, built for release, beside the server that it needs.

use std::ffi::OsString;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cargo::{self, Workspace};
use crate::group::Group;
use crate::interrupt::Interrupt;
use crate::servers::{self, Server, Servers};

/// Which server a benchmark talks to.
const NEEDS: &[(&str, Server)] = &[("store", Server::Postgres), ("failover", Server::Postgres)];

/// Runs the benchmark and hands its exit status on.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let status = match server(args) {
        Some(server) => beside(server, workspace, args)?,
        None => release(workspace, "run")
            .arg("--")
            .args(args)
            .status()
            .context("cannot start the benchmark")?,
    };
    // A benchmark ended by a signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn release(workspace: &Workspace, verb: &str) -> Command {
    let mut command = workspace.cargo();
    command.args([verb, "--release", "--package", "backstay-bench"]);
    command
}

/// Starts the server once the benchmark is built, and stops it at the end.
fn beside(server: Server, workspace: &Workspace, args: &[OsString]) -> Result<ExitStatus> {
    let interrupt = Interrupt::watch()?;
    cargo::run(&mut release(workspace, "build"))?;
    let servers = Servers::start([server].into_iter(), &servers::Args::default(), &interrupt)?;
    let group = Group::new(None)?;
    let mut command = release(workspace, "run");
    command.arg("--quiet").arg("--").args(args);
    servers.tell(group.adopt(&mut command));
    let _forward = interrupt.forward_to(&group);
    let mut child = command.spawn().context("cannot start the benchmark")?;
    interrupt.check()?;
    let status = child.wait()?;
    interrupt.check()?;
    Ok(status)
}

/// The server that the benchmark talks to with these arguments, which it checks itself.
fn server(args: &[OsString]) -> Option<Server> {
    let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
    let (_, server) = NEEDS
        .iter()
        .find(|(bench, _)| words.iter().any(|word| word == bench))?;
    let value = server.to_possible_value()?;
    let name = value.get_name();
    let asks = words
        .iter()
        .any(|word| ["-h", "--help", "-V", "--version"].contains(&&**word));
    let left_out = words
        .windows(2)
        .any(|two| two[0] == "--without" && two[1] == name)
        || words
            .iter()
            .any(|word| word.strip_prefix("--without=") == Some(name));
    (!asks && !left_out).then_some(*server)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server is started for the benchmark that needs it, unless it is left out or only help is asked for.
    #[test]
    fn a_server_is_started_where_it_is_needed() {
        let server = |line: &str| server(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in [
            "store",
            "store --quick --filter sqlite",
            "store --without etcd",
        ] {
            assert_eq!(server(line), Some(Server::Postgres), "{line}");
        }
        for line in [
            "call",
            "call --quick",
            "store --help",
            "store --without postgres",
            "store --quick --without=postgres",
        ] {
            assert_eq!(server(line), None, "{line}");
        }
    }
}
