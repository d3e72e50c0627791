//! Our store in a file, with its defaults.

use anyhow::Result;
use backstay::store::SqliteStore;

use super::{commit_to, runtime};
use crate::store::Ground;
use crate::store::load::{Sample, Window};

pub(super) fn visit(ground: &Ground, committers: usize, window: Window) -> Result<Sample> {
    let folder = tempfile::tempdir_in(ground.folder.path())?;
    runtime()?.block_on(async {
        let store = SqliteStore::open(folder.path().join("store.db")).await?;
        commit_to(store.store(), committers, window).await
    })
}
