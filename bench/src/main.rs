//! One protected call, side by side with the peers.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use alloc_tracker::Allocator;
use anyhow::{Result, ensure};

use crate::cli::{Cli, Refusal};
use crate::measure::Effort;
use crate::subject::{Group, Run};

mod cli;
mod clock;
mod drive;
mod measure;
mod row;
mod subject;
mod table;
mod targets;

#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

fn main() -> ExitCode {
    let done = match cli::parse(env::args_os()) {
        Ok(cli) => run(&cli),
        Err(Refusal::Shown(text)) => io::stdout().write_all(text.as_bytes()).map_err(Into::into),
        Err(Refusal::Mistake(line)) => {
            eprintln!("{line}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let runs = chosen(cli.filter.as_deref())?;
    let effort = if cli.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let json = cli.json();
    row::check_writable(&json)?;
    let rows = match cli.bench {
        cli::Bench::Call => measure::measure(&runs, effort),
    };
    row::write(&json, &rows)?;
    table::print(&mut io::stdout().lock(), &rows)?;
    Ok(())
}

/// The runs whose subject or group has the text, or all.
fn chosen(filter: Option<&str>) -> Result<Vec<Run>> {
    let mut runs = subject::all();
    if let Some(text) = filter {
        let text = text.to_lowercase();
        runs.retain(|run| run.subject.contains(&text) || run.group.name().contains(&text));
        ensure!(
            !runs.is_empty(),
            "no subject and no group has {text:?} in its name; the groups are: {}",
            Group::ALL.map(Group::name).join("; "),
        );
    }
    Ok(runs)
}
