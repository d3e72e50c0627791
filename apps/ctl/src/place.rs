//! Where the instances are: a store, and a group in it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use backstay_saga::Operator;
use backstay_store::postgres::PostgresOptions;
use backstay_store::sqlite::rusqlite::{Connection, OpenFlags};
use backstay_store::{SqliteStore, Store};

/// A store as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    File(PathBuf),
    Server {
        /// It may hold a password.
        url: String,
        /// The store's own unless it was named.
        schema: Option<String>,
    },
}

impl Where {
    /// Reads `--store`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let choice = "the path of a SQLite file, or postgres://user@host/database";
        match text.split_once("://") {
            _ if text.is_empty() => Err(format!("it is empty; give {choice}")),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Server {
                url: text.to_owned(),
                schema: None,
            }),
            Some((scheme, _)) => Err(format!("there is no store of `{scheme}://`; give {choice}")),
            None => Ok(Self::File(text.into())),
        }
    }

    /// Opens a store that is there.
    async fn open(&self) -> anyhow::Result<Store> {
        match self {
            Self::File(path) => {
                check(path)?;
                Ok(SqliteStore::open(path).await?.into())
            }
            Self::Server { url, schema } => {
                let options = PostgresOptions::new().must_exist();
                let options = match schema {
                    Some(schema) => options.schema(schema),
                    None => options,
                };
                Ok(options.connect(url).await?.into())
            }
        }
    }
}

/// For people: without what is secret.
impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server { url, schema } => {
                f.write_str(&without_secrets(url))?;
                let Some(schema) = schema else { return Ok(()) };
                write!(f, ", schema {schema}")
            }
        }
    }
}

/// Scheme, user, host and database. The password stands after the user, or in the options after `?`.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", ""));
    let Some((user, host)) = rest.rsplit_once('@') else {
        let host = rest.split('?').next().unwrap_or_default();
        return format!("{scheme}://{host}");
    };
    // One of them is in a password or an option: what is what can't be told.
    if user.contains('?') {
        return format!("{scheme}://...");
    }
    let user = user.split(':').next().unwrap_or_default();
    let host = host.split('?').next().unwrap_or_default();
    format!("{scheme}://{user}@{host}")
}

/// A mistyped path must neither make a file nor put tables into somebody else's.
fn check(path: &Path) -> anyhow::Result<()> {
    let is_there = path.try_exists().context("it can't be reached")?;
    if !is_there {
        bail!("there is no such file");
    }
    if path.is_dir() {
        bail!("it is a folder, not a SQLite file");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let tables =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'backstay_state'";
    let count: u32 = Connection::open_with_flags(path, flags)
        .and_then(|file| file.query_row(tables, [], |row| row.get(0)))
        .context("it can't be read as a SQLite file")?;
    if count == 0 {
        bail!("it is a file without a store");
    }
    Ok(())
}

/// A group's instances, and how to name the place in an error.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) operator: Operator,
    pub(crate) events: backstay_cqrs::Operator,
    pub(crate) log: Store,
    pub(crate) group: String,
    store: Where,
}

impl Place {
    pub(crate) async fn open(store: Where, group: &str) -> anyhow::Result<Self> {
        let opened = store.open().await;
        let opened = opened.with_context(|| store.to_string())?;
        Ok(Self {
            operator: Operator::new(opened.clone()).group(group),
            events: backstay_cqrs::Operator::new(opened.clone()),
            log: opened,
            group: group.to_owned(),
            store,
        })
    }
}

impl Place {
    /// What an error begins with that is about no group.
    pub(crate) fn name(&self) -> String {
        self.store.to_string()
    }
}

/// What an error begins with.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, group {}", self.store, self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A password is neither shown nor told in an error.
    #[test]
    fn secrets_are_not_shown() {
        for (given, shown) in [
            ("shop.db", "shop.db"),
            ("postgres://db/shop", "postgres://db/shop"),
            ("postgres://eva@db/shop", "postgres://eva@db/shop"),
            ("postgres://eva:se@cret@db/shop", "postgres://eva@db/shop"),
            (
                "postgresql://db/shop?password=secret",
                "postgresql://db/shop",
            ),
        ] {
            assert_eq!(Where::parse(given).unwrap().to_string(), shown);
        }
    }

    /// Another kind of store is a mistake, not a file of that name.
    #[test]
    fn other_stores_are_refused() {
        assert!(
            Where::parse("mysql://db/shop")
                .unwrap_err()
                .contains("`mysql://`")
        );
        assert!(Where::parse("").is_err());
    }
}
