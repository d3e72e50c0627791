//! Commands on Postgres, each on a thing of its own: ours, and those of cqrs-es.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::work::{Size, accounts};
use crate::saga::load::{self, Progress, Sample};
use crate::saga::subject::peer;
use crate::store::Ground;
use crate::store::subject::postgres::Tables;

/// The median in microseconds, and as many a second.
type Measured = (f64, f64);

pub(super) async fn ours(ground: &Ground, at_once: usize, size: Size) -> Result<Measured> {
    let tables = Tables::new(&ground.postgres).await?;
    let accounts = accounts(tables.store.clone())?;
    let progress = Arc::<Progress>::default();
    let counted = progress.clone();
    let command = move |number: u64| {
        let (accounts, progress) = (accounts.clone(), counted.clone());
        async move {
            progress.started();
            accounts.execute(&number.to_string(), &1).await?;
            progress.step();
            Ok(())
        }
    };
    let sample = load::sagas(at_once, size.window, progress, command).await;
    tables.remove().await?;
    measured(sample?)
}

pub(super) fn peer(ground: &Ground, at_once: usize, size: Size) -> Result<Measured> {
    measured(peer::visit_postgres(
        ground,
        "cqrs-es",
        at_once,
        size.window,
    )?)
}

fn measured(sample: Sample) -> Result<Measured> {
    let p50 = sample.p50.context("no command has ended in time")?;
    Ok((p50, sample.rate))
}
