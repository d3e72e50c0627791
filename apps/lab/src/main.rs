//! The lab: the same load and the same fault, with and without Backstay.
//!
//! `cargo run --release` runs the headline experiment, prints a table and ends with a verdict.
//! Exit status: 0 PASS, 1 FAIL, 2 INVALID, 64 a command line that can't be read, 74 a report that
//! can't be written, 70 anything else that keeps an experiment from running.

mod arms;
mod child;
mod cli;
mod engine;
mod experiment;
mod keys;
mod leader;
mod part;
mod replies;
mod report;
mod saga;
mod torn;
mod wire;

use std::process::ExitCode;

use experiment::verdict::Verdict;
use report::terminal::{complain, say};

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(cli::Refusal::Shown(text)) => {
            say(&text);
            return ExitCode::SUCCESS;
        }
        Err(cli::Refusal::Mistake(line)) => {
            complain(&line);
            return ExitCode::from(64);
        }
    };
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(if error.is::<report::folder::Unwritable>() {
                74
            } else {
                70
            })
        }
    }
}

fn run(command: cli::Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let verdict = match command {
        cli::Command::List => {
            say(experiment::list().trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        cli::Command::Overload(settings) => {
            runtime.block_on(experiment::overload::run_and_report(&settings))
        }
        cli::Command::Healthy(settings) => {
            runtime.block_on(experiment::healthy::run_and_report(&settings))
        }
        cli::Command::PausedLeader(settings) => {
            runtime.block_on(experiment::paused_leader::run_and_report(&settings))
        }
        cli::Command::LostReplies(settings) => {
            runtime.block_on(experiment::lost_replies::run_and_report(&settings))
        }
        cli::Command::Crash(settings) => {
            runtime.block_on(experiment::crash::run_and_report(&settings))
        }
        cli::Command::TornPublish(settings) => {
            runtime.block_on(experiment::torn_publish::run_and_report(&settings))
        }
        cli::Command::Revoked(settings) => {
            runtime.block_on(experiment::revoked::run_and_report(&settings))
        }
        cli::Command::Part(part) => {
            runtime.block_on(part::be(part))?;
            runtime.shutdown_background();
            return Ok(ExitCode::SUCCESS);
        }
    };
    // Calls of the arms that never gave up are still waiting; they are counted, so let them go.
    runtime.shutdown_background();
    Ok(exit_code(verdict?))
}

fn exit_code(verdict: Verdict) -> ExitCode {
    ExitCode::from(match verdict {
        Verdict::Pass => 0,
        Verdict::Fail => 1,
        Verdict::Invalid => 2,
    })
}
