//! Commands beside commits of rusqlite and beside cqrs-es, and how fast read models and messages follow the log.

mod messages;
mod on_postgres;
mod row;
mod work;

use std::io;

use anyhow::{Context, Result};

use crate::cli::Cli;
use crate::results;
use crate::saga::subject::peer;
use crate::store::Ground;
use row::Row;
use work::{Size, Work};

pub(crate) fn run(cli: &Cli) -> Result<()> {
    let size = if cli.quick { Size::QUICK } else { Size::FULL };
    let json = cli.json();
    results::check_writable(&json)?;
    let chosen = Work::chosen(cli)?;
    if chosen.iter().any(|work| work.is_peers()) {
        peer::check()?;
    }
    let needs_postgres = chosen.iter().any(|work| work.needs_postgres());
    let ground = Ground::new(&cli.dir(), needs_postgres)?;
    let mut values = vec![Vec::new(); chosen.len()];
    // In turn, so that what the machine does besides is shared by all.
    for round in 1..=size.rounds {
        eprintln!("round {round} of {}, {} rows", size.rounds, chosen.len());
        for (work, values) in chosen.iter().zip(&mut values) {
            let value = work.measure(&ground, size);
            values.push(value.with_context(|| work.name())?);
        }
    }
    let rows = chosen.into_iter().zip(values);
    let rows: Vec<Row> = rows.map(|(work, values)| Row::new(work, values)).collect();
    results::write(&json, &rows)?;
    row::print(&mut io::stdout().lock(), &rows, &cli.without)?;
    Ok(())
}
