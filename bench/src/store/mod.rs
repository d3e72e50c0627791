//! Commits to a store, beside the same rows written by hand.

mod disk;
pub(crate) mod load;
mod measure;
mod row;
pub(crate) mod subject;
mod table;
mod targets;

use std::path::Path;
use std::{env, fs, io};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use self::measure::Effort;
use self::subject::{Group, Subject};
use crate::cli::{Cli, Part};
use crate::results;

/// Where the Postgres server is.
const POSTGRES: &str = "BACKSTAY_POSTGRES_URL";

pub(crate) fn run(cli: &Cli) -> Result<()> {
    let subjects = chosen(cli)?;
    let effort = if cli.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let json = cli.json();
    results::check_writable(&json)?;
    let needs_postgres = subjects.iter().any(|one| one.group() == Group::Postgres);
    let ground = Ground::new(&cli.dir(), needs_postgres)?;
    let rows = measure::measure(&subjects, &ground, effort)?;
    results::write(&json, &rows)?;
    table::print(&mut io::stdout().lock(), &rows, &cli.without)?;
    Ok(())
}

/// The subjects whose name or group has the text, or all; without those of a server that is left out.
fn chosen(cli: &Cli) -> Result<Vec<Subject>> {
    let text = cli.filter.as_deref().unwrap_or_default().to_lowercase();
    let left_out =
        |subject: &Subject| cli.is_without(Part::Postgres) && subject.group() == Group::Postgres;
    let named = |subject: &Subject| {
        subject.name().contains(&text) || subject.group().name().contains(&text)
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

/// Where subjects find a disk and a server.
pub(crate) struct Ground {
    /// Each subject makes a folder in it for every visit.
    pub(crate) folder: TempDir,
    /// Empty where no subject needs it.
    pub(crate) postgres: String,
}

impl Ground {
    pub(crate) fn new(dir: &Path, needs_postgres: bool) -> Result<Self> {
        let made = |what| format!("cannot make {what}{}", dir.display());
        fs::create_dir_all(dir).with_context(|| made(""))?;
        disk::refuse_memory(dir, "name a folder on a disk with `--dir`")?;
        let folder = TempDir::with_prefix_in("bench-", dir);
        let folder = folder.with_context(|| made("a folder in "))?;
        let mut postgres = String::new();
        if needs_postgres {
            postgres = env::var(POSTGRES).ok().context(
                "no Postgres server: run this by `cargo xtask bench`, or leave it out with \
                 `--without postgres`",
            )?;
            subject::postgres::check(&postgres)?;
        }
        Ok(Self { folder, postgres })
    }
}
