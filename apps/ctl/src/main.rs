//! `backstay`: sees what sagas and consumers of events do and decides about them, from a terminal or a script.
//!
//! Exit status: 0 done, 1 it can't be done, 64 a command line that can't be read.

mod cli;
mod command;
mod output;
mod place;

use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;

use output::one_line;

/// As in `sysexits.h`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let line = match cli::parse(std::env::args_os()) {
        Ok(line) => line,
        Err(cli::Refusal::Shown(text)) => {
            // Whoever has gone does not want to read it.
            let _ = writeln!(stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Err(cli::Refusal::Mistake(what)) => {
            complain(&what);
            return ExitCode::from(USAGE);
        }
    };
    match run(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(line: &cli::Line) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command::run(line))
}

/// Whoever read the output, such as `head`, has enough of it.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Prints one line to the error stream, whatever is in the text.
fn complain(what: &str) {
    let _ = writeln!(stderr(), "backstay: {}", one_line(what));
}
