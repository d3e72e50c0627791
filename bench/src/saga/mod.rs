//! Sagas of three steps that do nothing, on our engine and on those of others.

pub(crate) mod load;
mod measure;
mod row;
pub(crate) mod subject;
mod table;
mod targets;

use std::io;

use anyhow::{Result, ensure};

use self::measure::Effort;
use self::subject::{Group, Subject, peer};
use crate::cli::{Cli, Part};
use crate::results;
use crate::store::Ground;

pub(crate) fn run(cli: &Cli) -> Result<()> {
    let subjects = chosen(cli)?;
    let effort = if cli.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let json = cli.json();
    results::check_writable(&json)?;
    if subjects.iter().any(|one| one.is_peer()) {
        peer::check()?;
    }
    let needs_postgres = subjects.iter().any(|one| one.group() == Group::Postgres);
    let ground = Ground::new(&cli.dir(), needs_postgres)?;
    let rows = measure::measure(&subjects, &ground, effort)?;
    results::write(&json, &rows)?;
    table::print(&mut io::stdout().lock(), &rows, &cli.without)?;
    Ok(())
}

/// The subjects whose name or group has the text, or all; without those that are left out.
fn chosen(cli: &Cli) -> Result<Vec<Subject>> {
    let text = cli.filter.as_deref().unwrap_or_default().to_lowercase();
    let left_out = |one: &Subject| {
        let postgres = cli.is_without(Part::Postgres) && one.group() == Group::Postgres;
        postgres || (cli.is_without(Part::Peers) && one.is_peer())
    };
    let named = |one: &Subject| {
        one.name().to_lowercase().contains(&text) || one.group().name().contains(&text)
    };
    let all = Subject::ALL.into_iter();
    let subjects: Vec<_> = all.filter(|one| named(one) && !left_out(one)).collect();
    ensure!(
        !subjects.is_empty(),
        "no subject and no group has {text:?} in its name; the groups are: {}",
        Group::ALL.map(Group::name).join("; "),
    );
    Ok(subjects)
}
