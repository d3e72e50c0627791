//! Postgres: a new cluster for every run, as durable as one that matters.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::process::{Plan, Process, clean, tail};
use super::{Ground, find};

/// What tests need to run servers of their own.
const PROGRAMS: &[&str] = &["initdb", "postgres", "pg_ctl"];

/// Where Debian keeps them, by version.
const BASE: &str = "/usr/lib/postgresql";

/// Tests run side by side, each with connections of its own.
const CONNECTIONS: &str = "max_connections=200";

/// Whoever reaches the port may come in; there is no other way.
const HBA: &str = "host all all 127.0.0.1/32 trust\n";

/// Protocol 3.0, user and database `postgres`.
const HELLO: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";

/// The folder of the programs.
pub(super) fn programs() -> Option<PathBuf> {
    let folders = find::path()
        .into_iter()
        .chain(find::versions(Path::new(BASE)));
    find::folder_with(PROGRAMS, folders)
}

pub(super) fn start(programs: &Path, ground: &Ground<'_>) -> Result<(Process, String)> {
    let folder = ground.folder.inside("postgres")?;
    let data = folder.join("data");
    let user = User::for_postgres()?;
    if let Some(user) = user {
        chown(&folder, Some(user.id), Some(user.group))
            .with_context(|| format!("cannot give {} to Postgres' user", folder.display()))?;
    }
    let call = |program: &str| {
        let mut command = clean(&programs.join(program), "PG");
        // Its user may not be allowed where we stand.
        command.current_dir(&folder);
        if let Some(user) = user {
            command.uid(user.id).gid(user.group);
        }
        command
    };

    let mut initdb = call("initdb");
    initdb.arg("--pgdata").arg(&data);
    initdb.args(["--username=postgres", "--auth=trust"]);
    initdb.args(["--encoding=UTF8", "--no-locale"]);
    run(ground.group.adopt(&mut initdb))?;
    let hba = data.join("pg_hba.conf");
    fs::write(&hba, HBA).with_context(|| format!("cannot write {}", hba.display()))?;

    let plan = Plan {
        name: "postgres",
        log: folder.join("log"),
        ready: "database system is ready to accept connections",
        // Quick: without a checkpoint, and without waiting for clients.
        stop: Signal::QUIT,
        command: &|[port, _]| {
            let mut command = call("postgres");
            command.arg("-D").arg(&data);
            command.args(["-p", &port.to_string()]);
            // Sockets lie in the data's folder, where no long path is too long for them.
            command.args(["-k", ".", "-c", "listen_addresses=127.0.0.1"]);
            command.args(["-c", CONNECTIONS]);
            // The defaults, said aloud: tests pull the plug.
            command.args(["-c", "fsync=on", "-c", "synchronous_commit=on"]);
            command
        },
        answers: &answers,
    };
    let (process, port) = plan.start(ground.group, ground.interrupt)?;
    Ok((
        process,
        format!("postgres://postgres@127.0.0.1:{port}/postgres"),
    ))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{} ended ({}):\n{}",
            program.display(),
            output.status,
            tail(&String::from_utf8_lossy(&said))
        );
    }
    Ok(())
}

/// Says hello. `R` lets us in; a server that still starts, or is full, answers `E`.
fn answers(mut stream: TcpStream) -> bool {
    let mut answer = [0];
    stream.write_all(HELLO).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"R"
}

/// Whom the server runs as. It refuses to run as root.
#[derive(Clone, Copy, Debug, PartialEq)]
struct User {
    id: u32,
    group: u32,
}

impl User {
    /// `None`: as we are.
    fn for_postgres() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let user = Self::named("postgres", &users).or_else(|| Self::named("nobody", &users));
        Ok(Some(user.context(
            "postgres does not run as root, and there is no user `postgres` or `nobody`",
        )?))
    }

    /// A line is `name:password:user:group:...`.
    fn named(name: &str, users: &str) -> Option<Self> {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next()? == name;
            let id = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            found.then_some(Self { id, group })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users are found by their whole name; damaged lines are passed over.
    #[test]
    fn users_are_found_by_name() {
        let users = "root:x:0:0:root:/:/bin/sh\n\
            postgres2:x:1:2::/:/bin/sh\n\
            postgres\n\
            postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(
            User::named("postgres", users),
            Some(User {
                id: 101,
                group: 104
            })
        );
        assert_eq!(User::named("nobody", users), None);
    }

    /// The hello carries its own length.
    #[test]
    fn the_hello_is_well_formed() {
        let length = u32::from_be_bytes(HELLO[..4].try_into().unwrap());
        assert_eq!(usize::try_from(length), Ok(HELLO.len()));
    }
}
