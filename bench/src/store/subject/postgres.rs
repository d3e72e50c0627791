//! Our store on a server, with its defaults, and schemas that are gone after each visit.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use backstay::store::PostgresStore;
use backstay::store::postgres::PostgresOptions;
use tokio_postgres::{Client, NoTls};

use super::{commit_to, runtime};
use crate::store::load::{Sample, Window};
use crate::store::{Ground, disk};

pub(super) fn visit(ground: &Ground, committers: usize, window: Window) -> Result<Sample> {
    runtime()?.block_on(async {
        let tables = Tables::new(&ground.postgres).await?;
        let sample = commit_to(tables.store.store(), committers, window).await;
        tables.remove().await?;
        sample
    })
}

/// A schema of its own, with the store's tables.
pub(crate) struct Tables {
    pub(crate) schema: String,
    pub(crate) store: PostgresStore,
    client: Client,
}

impl Tables {
    pub(crate) async fn new(url: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let schema = format!("bench_{}_{number}", std::process::id());
        let client = connect(url).await?;
        let options = PostgresOptions::new().schema(&schema);
        let store = options.connect(url).await?;
        Ok(Self {
            schema,
            store,
            client,
        })
    }

    pub(crate) async fn remove(self) -> Result<()> {
        drop(self.store);
        let drop = format!(
            "SET client_min_messages = warning; DROP SCHEMA {} CASCADE",
            self.schema
        );
        Ok(self.client.batch_execute(&drop).await?)
    }
}

/// A plain connection.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.context("the Postgres server can't be reached")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Asks whether the server is there, and refuses one whose files are in memory of this machine.
pub(crate) fn check(url: &str) -> Result<()> {
    runtime()?.block_on(async {
        let client = connect(url).await?;
        // Not everybody may ask where the files are.
        let Ok(row) = client.query_one("SHOW data_directory", &[]).await else {
            return Ok(());
        };
        let folder: String = row.try_get(0)?;
        let folder = Path::new(&folder);
        if folder.exists() {
            disk::refuse_memory(folder, "set TMPDIR to a folder on a disk")?;
        }
        Ok(())
    })
}
