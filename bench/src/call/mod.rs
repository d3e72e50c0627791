//! One protected call, side by side with the peers.

mod drive;
mod measure;
mod row;
mod subject;
mod table;
mod targets;

use std::io;

use anyhow::{Result, ensure};

use self::measure::Effort;
use self::subject::{Group, Run};
use crate::cli::Cli;
use crate::results;

pub(crate) fn run(cli: &Cli) -> Result<()> {
    let runs = chosen(cli.filter.as_deref())?;
    let effort = if cli.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let json = cli.json();
    results::check_writable(&json)?;
    let rows = measure::measure(&runs, effort);
    results::write(&json, &rows)?;
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
