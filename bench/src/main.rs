//! Benchmarks, each beside those who do the same.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use alloc_tracker::Allocator;

use crate::cli::{Bench, Refusal};

mod call;
mod cli;
mod clock;
mod cqrs;
mod failover;
mod replica;
mod results;
mod saga;
mod stats;
mod store;
mod target;

#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

fn main() -> ExitCode {
    // A process that the failover bench has started has no command line.
    if let Some(done) = failover::stand() {
        return ended(done);
    }
    let done = match cli::parse(env::args_os()) {
        Ok(cli) => match cli.bench {
            Bench::Call => call::run(&cli),
            Bench::Store => store::run(&cli),
            Bench::Saga => saga::run(&cli),
            Bench::Cqrs => cqrs::run(&cli),
            Bench::Failover => failover::run(&cli),
            Bench::Replica => replica::run(&cli),
        },
        Err(Refusal::Shown(text)) => io::stdout().write_all(text.as_bytes()).map_err(Into::into),
        Err(Refusal::Mistake(line)) => {
            eprintln!("{line}");
            return ExitCode::from(2);
        }
    };
    ended(done)
}

fn ended(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
