//! One read of a local copy with its age, side by side with what has none.

mod measure;
mod subject;
mod table;

use std::io;

use anyhow::{Result, ensure};

use self::measure::Effort;
use crate::cli::Cli;
use crate::results;

pub(crate) fn run(cli: &Cli) -> Result<()> {
    let mut subjects = subject::all()?;
    if let Some(text) = cli.filter.as_deref() {
        subjects.retain(|subject| subject.name.contains(&text.to_lowercase()));
        ensure!(!subjects.is_empty(), "no subject has {text:?} in its name");
    }
    let effort = if cli.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let json = cli.json();
    results::check_writable(&json)?;
    let rows = measure::measure(&subjects, effort);
    results::write(&json, &rows)?;
    table::print(&mut io::stdout().lock(), &rows)?;
    Ok(())
}
