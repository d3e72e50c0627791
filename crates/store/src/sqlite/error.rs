use std::io;
use std::path::{Path, PathBuf};

use backstay_core::Invalid;

use super::open::cause;
use crate::{Cause, Unavailable};

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An option is out of its range, or the path names no file.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The library under it has a bug that loses commits.
    #[error("SQLite {found} can lose commits; 3.51.3 or newer is needed")]
    OldLibrary {
        /// Its version.
        found: &'static str,
    },
    /// The file lies where locks and `fsync` do not hold.
    #[error("{} is on a network file system ({kind}), where a store is not safe", path.display())]
    NetworkFileSystem {
        /// The file, or the folder that it would be in, without symbolic links.
        path: PathBuf,
        /// What is mounted there.
        kind: &'static str,
    },
    /// A setting that durability needs did not take.
    #[error("{}: {pragma} is {found:?} and not {wanted:?}: commits would not be durable", path.display())]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// The setting.
        pragma: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// The file was written by a newer version.
    #[error("{} has schema {found}; this version knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// The file has tables with names of ours that somebody else has made.
    #[error("{} has tables named backstay_* that are not a store's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is a directory.
    #[error("{} is a directory", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// Others hold the file.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file or its folder may not be written.
    #[error("{} is read-only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// It is no SQLite file, or a broken one.
    #[error("{} is corrupt or not a SQLite file", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// No room is left where it lies.
    #[error("no room is left for {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file or its folder can't be reached.
    #[error("{} can't be reached: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Anything else that SQLite says.
    #[error("{} can't be opened: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The tokio runtime ends.
    #[error("the runtime shuts down")]
    ShuttingDown,
}

impl OpenError {
    /// What SQLite says of a file.
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match cause(&source) {
            Cause::Busy => Self::Locked { path, source },
            Cause::ReadOnly => Self::ReadOnly { path, source },
            Cause::Corrupt => Self::Corrupt { path, source },
            Cause::Full => Self::Full { path, source },
            _ => Self::Sqlite { path, source },
        }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { path, source }
    }
}

/// Why no copy was made. The store is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackUpError {
    /// The copy's name is taken.
    #[error("{} is there already", path.display())]
    Taken {
        /// The copy.
        path: PathBuf,
    },
    /// The folder that the copy would be in is not there.
    #[error("{} can't be made: its folder is not there", path.display())]
    NoFolder {
        /// The copy.
        path: PathBuf,
    },
    /// The folder that the copy would be in may not be written.
    #[error("{} can't be made: its folder is read-only", path.display())]
    ReadOnly {
        /// The copy.
        path: PathBuf,
    },
    /// The path does not end in a name, or in one that is no text.
    #[error("{} is no name for a file", path.display())]
    NoName {
        /// The copy.
        path: PathBuf,
    },
    /// The store can't be read, or the copy can't be written.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
