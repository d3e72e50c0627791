//! The project's own commands: `cargo xtask <command>`.
#![expect(clippy::print_stdout, reason = "a command line tool answers on stdout")]

mod bench;
mod cargo;
mod ci;
mod group;
mod interrupt;
mod loom;
mod servers;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::cargo::Workspace;

/// Build, test and check Backstay.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test, doc tests included; the last line is `N passed, N failed`.
    Test(servers::Args),
    /// Start the servers that tests talk to, print how to reach them, and stay until Ctrl-C.
    Servers(servers::Args),
    /// Run the lock-free parts under loom's model checker.
    Loom,
    /// Check the conventions no compiler knows.
    Tidy,
    /// Run one benchmark: `cargo xtask bench <name> [args..]`.
    Bench {
        /// The benchmark, and what it takes.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run every step of the build, or some of them, and stop at the first that fails.
    Ci(ci::Args),
}

fn main() -> ExitCode {
    run(Args::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::read()?;
    match command {
        Command::Test(args) => return test::run(&workspace, &args),
        Command::Servers(args) => servers::run(&args)?,
        Command::Bench { args } => return bench::run(&workspace, &args),
        Command::Loom => loom::run(&workspace)?,
        Command::Tidy => tidy::run(&workspace)?,
        Command::Ci(args) => ci::run(&workspace, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}
