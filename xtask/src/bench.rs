//! `cargo xtask bench`: one benchmark, built for release, beside the server and with the peers that it needs.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cargo::{self, Workspace};
use crate::group::Group;
use crate::interrupt::Interrupt;
use crate::servers::{self, Server, Servers};

/// Which servers a benchmark talks to.
const NEEDS: &[(&str, &[Server])] = &[
    ("store", &[Server::Postgres]),
    ("saga", &[Server::Postgres]),
    ("cqrs", &[Server::Postgres, Server::Nats]),
    ("failover", &[Server::Postgres]),
];

/// Which benchmarks have peers in a package that is no part of the workspace.
const HAVE_PEERS: &[&str] = &["saga", "cqrs"];
const PEERS: &str = "BACKSTAY_BENCH_PEERS";

/// Runs the benchmark and hands its exit status on.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let peers = if needs_peers(args) {
        Some(build_peers(workspace)?)
    } else {
        None
    };
    let servers = servers(args);
    let status = if servers.is_empty() {
        release(workspace, "run")
            .envs(peers.map(|peers| (PEERS, peers)))
            .arg("--")
            .args(args)
            .status()
            .context("cannot start the benchmark")?
    } else {
        beside(servers, workspace, args, peers)?
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

/// Builds the program that runs the peers, and says where it is.
fn build_peers(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.target.join("bench-peers");
    let mut build = workspace.cargo();
    build
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(workspace.root.join("bench/peers/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target);
    cargo::run(&mut build).context("the peers; `--without peers` leaves them out")?;
    let name = format!("backstay-bench-peers{}", std::env::consts::EXE_SUFFIX);
    Ok(target.join("release").join(name))
}

/// Starts the servers once the benchmark is built, and stops them at the end.
fn beside(
    servers: Vec<Server>,
    workspace: &Workspace,
    args: &[OsString],
    peers: Option<PathBuf>,
) -> Result<ExitStatus> {
    let interrupt = Interrupt::watch()?;
    cargo::run(&mut release(workspace, "build"))?;
    let servers = Servers::start(servers.into_iter(), &servers::Args::default(), &interrupt)?;
    let group = Group::new(None)?;
    let mut command = release(workspace, "run");
    command.envs(peers.map(|peers| (PEERS, peers)));
    command.arg("--quiet").arg("--").args(args);
    servers.tell(group.adopt(&mut command));
    let _forward = interrupt.forward_to(&group);
    let mut child = command.spawn().context("cannot start the benchmark")?;
    interrupt.check()?;
    let status = child.wait()?;
    interrupt.check()?;
    Ok(status)
}

/// The servers that the benchmark talks to with these arguments, which it checks itself.
fn servers(args: &[OsString]) -> Vec<Server> {
    let words = words(args);
    let needed = NEEDS
        .iter()
        .find(|(bench, _)| words.iter().any(|word| word == bench));
    let Some((_, servers)) = needed.filter(|_| !asks(&words)) else {
        return Vec::new();
    };
    let is_wanted = |server: &Server| {
        let value = server.to_possible_value();
        value.is_some_and(|value| !is_left_out(&words, value.get_name()))
    };
    servers.iter().copied().filter(is_wanted).collect()
}

/// Whether peers have to be built for these arguments.
fn needs_peers(args: &[OsString]) -> bool {
    let words = words(args);
    words.iter().any(|word| HAVE_PEERS.contains(&&**word))
        && !asks(&words)
        && !is_left_out(&words, "peers")
}

fn words(args: &[OsString]) -> Vec<Cow<'_, str>> {
    args.iter().map(|word| word.to_string_lossy()).collect()
}

/// Whether nothing is measured.
fn asks(words: &[Cow<'_, str>]) -> bool {
    words
        .iter()
        .any(|word| ["-h", "--help", "-V", "--version"].contains(&&**word))
}

fn is_left_out(words: &[Cow<'_, str>], part: &str) -> bool {
    let in_two = |two: &[Cow<'_, str>]| two[0] == "--without" && two[1] == part;
    let in_one = |word: &Cow<'_, str>| word.strip_prefix("--without=") == Some(part);
    words.windows(2).any(in_two) || words.iter().any(in_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers are started for the benchmark that needs them, unless they are left out or only help is asked for.
    #[test]
    fn servers_are_started_where_they_are_needed() {
        let servers =
            |line: &str| servers(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in [
            "store",
            "store --quick --filter sqlite",
            "store --without etcd",
            "saga --without peers",
        ] {
            assert_eq!(servers(line), [Server::Postgres], "{line}");
        }
        assert_eq!(servers("cqrs"), [Server::Postgres, Server::Nats]);
        assert_eq!(servers("cqrs --without postgres"), [Server::Nats]);
        for line in [
            "call",
            "call --quick",
            "store --help",
            "store --without postgres",
            "store --quick --without=postgres",
            "saga --without peers --without postgres",
        ] {
            assert_eq!(servers(line), [], "{line}");
        }
    }

    /// Peers are built for the benchmark that has them, unless they are left out.
    #[test]
    fn peers_are_built_where_they_are_needed() {
        let needs_peers =
            |line: &str| needs_peers(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(needs_peers("saga --quick --without postgres"));
        assert!(needs_peers("cqrs"));
        for line in [
            "store",
            "saga --help",
            "saga --without=postgres --without=peers",
        ] {
            assert!(!needs_peers(line), "{line}");
        }
    }
}
