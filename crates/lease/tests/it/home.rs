//! The homes, by names that can be given to another process.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use backstay_lease::Leases;
use backstay_store::SqliteStore;

/// Where leases live.
#[derive(Clone, Debug)]
pub(crate) enum Home {
    Sqlite(PathBuf),
}

impl Home {
    pub(crate) fn sqlite(folder: &Path) -> Self {
        Self::Sqlite(folder.join("home.db"))
    }

    pub(crate) async fn open(&self) -> Arc<dyn Leases> {
        match self {
            Self::Sqlite(path) => {
                let store = SqliteStore::open(path).await.expect("a store");
                Arc::new(store.store())
            }
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::from_millis(500),
        }
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for Home {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::Sqlite(name.into()))
    }
}
