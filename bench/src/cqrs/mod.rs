//! Commands beside commits of rusqlite, and how fast read models follow the log.

mod row;
mod work;

use std::io;

use anyhow::Result;

use crate::cli::Cli;
use crate::results;
use crate::store::Ground;
use row::Row;
use work::{Size, Work};

pub(crate) fn run(cli: &Cli) -> Result<()> {
    let size = if cli.quick { Size::QUICK } else { Size::FULL };
    let json = cli.json();
    results::check_writable(&json)?;
    let ground = Ground::new(&cli.dir(), false)?;
    let chosen = Work::chosen(cli.filter.as_deref().unwrap_or_default())?;
    let mut values = vec![Vec::new(); chosen.len()];
    // In turn, so that what the machine does besides is shared by all.
    for _ in 0..size.rounds {
        for (work, values) in chosen.iter().zip(&mut values) {
            values.push(work.measure(&ground, size)?);
        }
    }
    let rows = chosen.into_iter().zip(values);
    let rows: Vec<Row> = rows.map(|(work, values)| Row::new(work, values)).collect();
    results::write(&json, &rows)?;
    row::print(&mut io::stdout().lock(), &rows)?;
    Ok(())
}
