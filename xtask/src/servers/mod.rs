//! The real servers that tests talk to: found or installed, started for one run, and stopped at its end.

mod etcd;
mod find;
mod folder;
mod install;
mod nats;
mod postgres;
mod process;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use self::folder::Folder;
use self::process::Process;
use crate::group::Group;
use crate::interrupt::Interrupt;

/// Which servers to start; all of them unless told.
#[derive(clap::Args, Default)]
// It stands inside other commands' arguments, whose group has the same name.
#[group(skip)]
pub(crate) struct Args {
    /// Leave a server out; may be repeated.
    #[arg(long, value_name = "NAME")]
    without: Vec<Server>,
}

/// In the order they start.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Server {
    Postgres,
    Etcd,
    Nats,
}

const USED_BY_TESTS: &[Server] = &[Server::Postgres, Server::Etcd, Server::Nats];

/// What tests read, and its value.
type Variable = (&'static str, OsString);

/// Where a server is started.
struct Ground<'g> {
    folder: &'g Folder,
    group: &'g Group,
    interrupt: &'g Interrupt,
}

/// Servers that answer. They are stopped when this is dropped, and when this process dies.
#[must_use]
pub(crate) struct Servers {
    // Dropped in this order: the servers first, their files last.
    running: Vec<Process>,
    group: Group,
    folder: Folder,
    variables: Vec<Variable>,
    skipped: Vec<Server>,
}

/// `cargo xtask servers`: starts them, says how to reach them, and stops them at the first signal.
pub(crate) fn run(args: &Args) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let servers = Servers::start(args.servers(), args, &interrupt)?;
    for (name, value) in &servers.variables {
        println!("export {name}={}", quoted(&value.to_string_lossy()));
    }
    eprintln!("Ctrl-C stops them");
    interrupt.wait();
    Ok(())
}

impl Servers {
    /// Starts all but those left out; what has started is stopped again if another fails.
    pub(crate) fn start(
        wanted: impl Iterator<Item = Server>,
        args: &Args,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut programs = Vec::new();
        for server in wanted {
            programs.push((server, server.find_or_install(interrupt)?));
        }
        let folder = Folder::new()?;
        let mut servers = Self {
            running: Vec::new(),
            group: Group::new(Some(folder.path()))?,
            folder,
            variables: Vec::new(),
            skipped: args.skipped(),
        };
        for (server, program) in programs {
            let (process, variables) = server.start(program, &servers.ground(interrupt))?;
            servers.running.push(process);
            servers.variables.extend(variables);
        }
        Ok(servers)
    }

    fn ground<'g>(&'g self, interrupt: &'g Interrupt) -> Ground<'g> {
        Ground {
            folder: &self.folder,
            group: &self.group,
            interrupt,
        }
    }

    /// Tells a command where the servers are, and of those left out only that: the user may have exported others.
    pub(crate) fn tell(&self, command: &mut Command) {
        for server in Server::value_variants() {
            for name in server.variables() {
                command.env_remove(name);
            }
            command.env_remove(server.left_out());
        }
        for server in &self.skipped {
            command.env(server.left_out(), "1");
        }
        let variables = self.variables.iter();
        command.envs(variables.map(|(name, value)| (name, value)));
    }

    /// One line about the servers left out, if any was.
    pub(crate) fn skipped(&self) -> Option<String> {
        let names: Vec<_> = self.skipped.iter().map(|server| server.name()).collect();
        (!names.is_empty()).then(|| format!("skipped by request: {}", names.join(", ")))
    }
}

impl Args {
    /// What the tests of today talk to. Nobody has to have, or gets installed, what no test needs.
    pub(crate) fn used_by_tests(&self) -> impl Iterator<Item = Server> {
        self.servers()
            .filter(|server| USED_BY_TESTS.contains(server))
    }

    fn servers(&self) -> impl Iterator<Item = Server> {
        let all = Server::value_variants().iter().copied();
        all.filter(|server| !self.without.contains(server))
    }

    /// Each once, in our order.
    fn skipped(&self) -> Vec<Server> {
        let all = Server::value_variants().iter().copied();
        all.filter(|server| self.without.contains(server)).collect()
    }
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Server::Postgres => "postgres",
            Server::Etcd => "etcd",
            Server::Nats => "nats",
        }
    }

    /// Debian's name.
    fn package(self) -> &'static str {
        match self {
            Server::Postgres => "postgresql",
            Server::Etcd => "etcd-server",
            Server::Nats => "nats-server",
        }
    }

    fn variables(self) -> &'static [&'static str] {
        match self {
            Server::Postgres => &["BACKSTAY_POSTGRES_URL", "BACKSTAY_POSTGRES_BIN"],
            Server::Etcd => &["BACKSTAY_ETCD_URL", "BACKSTAY_ETCD_BIN"],
            Server::Nats => &["BACKSTAY_NATS_URL", "BACKSTAY_NATS_BIN"],
        }
    }

    /// Tells tests that they are to be skipped.
    fn left_out(self) -> &'static str {
        match self {
            Server::Postgres => "BACKSTAY_WITHOUT_POSTGRES",
            Server::Etcd => "BACKSTAY_WITHOUT_ETCD",
            Server::Nats => "BACKSTAY_WITHOUT_NATS",
        }
    }

    fn find(self) -> Option<PathBuf> {
        match self {
            Server::Postgres => postgres::programs(),
            Server::Etcd => etcd::program(),
            Server::Nats => nats::program(),
        }
    }

    fn find_or_install(self, interrupt: &Interrupt) -> Result<PathBuf> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        if install::is_possible() {
            let installed = install::package(self.package(), interrupt);
            interrupt.check()?;
            if let Err(error) = installed {
                eprintln!("{error:#}");
            }
        }
        self.find().with_context(|| {
            let (name, advice) = (self.name(), install::advice(self.package()));
            format!("{name} is missing: type `{advice}`, or leave it out with `--without {name}`")
        })
    }

    /// Starts it and returns it with what tests have to know: where it answers, and which program it is.
    fn start(self, program: PathBuf, ground: &Ground<'_>) -> Result<(Process, Vec<Variable>)> {
        let (process, url) = match self {
            Server::Postgres => postgres::start(&program, ground),
            Server::Etcd => etcd::start(&program, ground),
            Server::Nats => nats::start(&program, ground),
        }?;
        eprintln!("{url} is {}", program.display());
        let values = [url.into(), program.into_os_string()];
        let variables = self.variables().iter().copied().zip(values).collect();
        Ok((process, variables))
    }
}

/// As the shell reads it back.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(without: &[Server]) -> Args {
        Args {
            without: without.to_vec(),
        }
    }

    /// Without a choice nothing is left out; a server left out is named once, however often it was asked for.
    #[test]
    fn servers_are_left_out_by_name() {
        assert!(
            args(&[])
                .servers()
                .eq(Server::value_variants().iter().copied())
        );
        assert_eq!(args(&[]).skipped(), []);
        let some = args(&[Server::Nats, Server::Postgres, Server::Nats]);
        assert_eq!(some.servers().collect::<Vec<_>>(), [Server::Etcd]);
        assert_eq!(some.skipped(), [Server::Postgres, Server::Nats]);
    }

    /// The summary says what was left out, and tests are told that and nothing else.
    #[test]
    fn the_summary_names_what_was_left_out() {
        let all = Server::value_variants();
        let interrupt = Interrupt::default();
        let args = args(all);
        let none = Servers::start(args.servers(), &args, &interrupt).unwrap();
        assert_eq!(
            none.skipped().unwrap(),
            "skipped by request: postgres, etcd, nats"
        );
        let mut command = Command::new("true");
        none.tell(&mut command);
        let (told, hidden): (Vec<_>, Vec<_>) =
            command.get_envs().partition(|(_, value)| value.is_some());
        let told: Vec<_> = told.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            told,
            [
                "BACKSTAY_WITHOUT_ETCD",
                "BACKSTAY_WITHOUT_NATS",
                "BACKSTAY_WITHOUT_POSTGRES"
            ]
        );
        assert_eq!(hidden.len(), 6);
    }

    /// The names on the command line are the names in our messages.
    #[test]
    fn names_are_the_same_everywhere() {
        for server in Server::value_variants() {
            let value = server.to_possible_value().unwrap();
            assert_eq!(value.get_name(), server.name());
        }
    }

    /// A quote in a folder's name does not end the word.
    #[test]
    fn exports_are_quoted_for_the_shell() {
        assert_eq!(quoted("/usr/bin/etcd"), "'/usr/bin/etcd'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
