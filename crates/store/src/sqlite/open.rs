//! What makes a connection safe to build on, checked and not assumed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use backstay_core::{Effect, Invalid};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema::{self, Tables};
use super::{OpenError, SqliteOptions};
use crate::clock::passed;
use crate::{Cause, Unavailable};

/// Before it, a file in write-ahead mode with several connections could lose commits.
const OLDEST_LIBRARY: i32 = 3_051_003;
/// Before it is tried again to open a file that others hold.
const PAUSE: Duration = Duration::from_millis(5);
/// 16 MiB of changes are copied into the file at a time.
const CHECKPOINT_PAGES: u32 = 4_000;
/// More than there are.
const STATEMENTS_KEPT: usize = 64;

/// SQLite would keep these nowhere, and each connection would have a database of its own.
pub(super) fn check_path(path: &Path) -> Result<(), Invalid> {
    if path == Path::new("") || path == Path::new(":memory:") {
        let limit = "must name a file; MemoryStore keeps a store in memory";
        return Err(Invalid::new(
            "path",
            format!("\"{}\"", path.display()),
            limit,
        ));
    }
    Ok(())
}

/// The connection that writes.
pub(super) fn writer(path: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < OLDEST_LIBRARY {
        let found = rusqlite::version();
        return Err(OpenError::OldLibrary { found });
    }
    if path.is_dir() {
        let path = path.to_owned();
        return Err(OpenError::Directory { path });
    }
    refuse_network(path)?;
    let said = |error| OpenError::of(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| {
        // SQLite only says that it can't make the file.
        if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !may_write(folder(path)) {
            read_only(path, error)
        } else {
            said(error)
        }
    })?;
    set_up(&connection, options).map_err(said)?;
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(said)? {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        return Err(read_only(path, rusqlite::Error::SqliteFailure(code, None)));
    }
    // Each is read back: a setting that can't be had is not an error to SQLite.
    for (pragma, set, wanted) in [
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", "2"),
        // macOS needs these for what others call fsync; elsewhere they do nothing.
        ("fullfsync", "ON", "1"),
        ("checkpoint_fullfsync", "ON", "1"),
    ] {
        patiently(options.busy_timeout, || {
            ensure(path, &connection, (pragma, set, wanted))
        })?;
    }
    connection
        .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
        .and_then(|()| connection.pragma_update(None, "trusted_schema", false))
        .map_err(said)?;
    let path = path.to_owned();
    match schema::prepare(&mut connection).map_err(said)? {
        Tables::Ready => Ok(connection),
        Tables::Foreign => Err(OpenError::Foreign { path }),
        Tables::Newer(found) => Err(OpenError::Newer {
            path,
            found,
            known: schema::VERSION,
        }),
    }
}

fn read_only(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    OpenError::ReadOnly { path, source }
}

/// Tries again while others hold the file. SQLite does not wait by itself where it changes how the file is written, as
/// when several open a new one at once.
fn patiently(most: Duration, attempt: impl Fn() -> Result<(), OpenError>) -> Result<(), OpenError> {
    let until = passed().saturating_add(most);
    loop {
        match attempt() {
            Err(OpenError::Locked { .. }) if passed() < until => thread::park_timeout(PAUSE),
            told => return told,
        }
    }
}

pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
pub(super) fn may_write(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
pub(super) fn may_write(_: &Path) -> bool {
    true
}

/// A connection that only reads.
pub(super) fn reader(path: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let said = |error| OpenError::of(path, error);
    let connection = Connection::open_with_flags(path, flags).map_err(said)?;
    set_up(&connection, options).map_err(said)?;
    Ok(connection)
}

fn set_up(connection: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    connection.busy_timeout(options.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Else a statement that compares with a parameter is planned anew for each value, which takes longer than to run it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn ensure(
    path: &Path,
    connection: &Connection,
    (pragma, set, wanted): (&'static str, &str, &'static str),
) -> Result<(), OpenError> {
    // Some answer with the new value and some with nothing.
    let done = connection
        .pragma_update_and_check(None, pragma, set, |_| Ok(()))
        .or_else(|error| {
            if matches!(error, rusqlite::Error::QueryReturnedNoRows) {
                Ok(())
            } else {
                Err(error)
            }
        });
    let found = done.and_then(|()| {
        connection.pragma_query_value(None, pragma, |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => other.as_str()?.to_owned(),
            })
        })
    });
    let found = found.map_err(|error| OpenError::of(path, error))?;
    if found != wanted {
        return Err(OpenError::NotDurable {
            path: path.to_owned(),
            pragma,
            found,
            wanted,
        });
    }
    Ok(())
}

/// Makes the names of new files durable; SQLite sees to their contents.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path)).and_then(|folder| folder.sync_all())
}

/// Makes durable what a process has written to the log and died before it could.
///
/// Whoever opens the file first finds such commits whole, and what is found must not be gone after a loss of power.
pub(super) fn sync_log(path: &Path) -> Result<(), OpenError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match File::open(log).and_then(|log| log.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::io(path, error)),
        _ => Ok(()),
    }
}

/// Where a file is, or the folder that it would be made in, when all symbolic links are followed.
#[cfg(target_os = "linux")]
fn place(path: &Path) -> io::Result<PathBuf> {
    let missing = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        there => return there,
    };
    match path.read_link() {
        // A link to a file that is not there yet.
        Ok(target) => place(&folder(path).join(target)),
        Err(_) => folder(path).canonicalize().map_err(|_| missing),
    }
}

#[cfg(target_os = "linux")]
fn refuse_network(path: &Path) -> Result<(), OpenError> {
    let place = place(path).map_err(|error| OpenError::io(path, error))?;
    let found = rustix::fs::statfs(&place).map_err(|error| OpenError::io(path, error.into()))?;
    // The numbers of statfs(2), as far as they stand for another machine's disk.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the numbers have 32 bits; some systems hold them in 64"
    )]
    let kind = match found.f_type as u32 {
        0x6969 => "nfs",
        0x517b => "smb",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb2",
        0x0102_1997 => "9p",
        0x5346_414f => "afs",
        0x00c3_6400 => "ceph",
        _ => return Ok(()),
    };
    Err(OpenError::NetworkFileSystem { path: place, kind })
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_: &Path) -> Result<(), OpenError> {
    Ok(())
}

/// What does not fit together in the file.
pub(super) fn check(connection: &Connection) -> Result<Vec<String>, Unavailable> {
    let mut statement = connection.prepare("PRAGMA integrity_check").map_err(told)?;
    let lines = statement
        .query_map([], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(told)?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// What SQLite says, before anything is committed.
pub(super) fn told(error: rusqlite::Error) -> Unavailable {
    Unavailable::new(cause(&error), Effect::NotExecuted).because(error)
}

pub(super) fn cause(error: &rusqlite::Error) -> Cause {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Cause::Busy,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Cause::ReadOnly,
        Some(ErrorCode::DiskFull) => Cause::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Cause::Corrupt,
        _ => Cause::Storage,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Links are followed to where the file is, or will be.
    #[test]
    fn links_are_followed_to_the_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path().canonicalize().expect("a folder");
        let there = here.join("there");
        std::fs::create_dir(&there).expect("a folder");
        symlink(there.join("later.db"), here.join("link.db")).expect("a link");
        symlink("link.db", here.join("far.db")).expect("a link");
        symlink(&there, here.join("folder")).expect("a link");
        for name in ["link.db", "far.db", "folder/later.db"] {
            assert_eq!(place(&here.join(name)).expect(name), there, "{name}");
        }
        let file = there.join("later.db");
        File::create(&file).expect("a file");
        for name in ["link.db", "far.db", "folder/later.db"] {
            assert_eq!(place(&here.join(name)).expect(name), file, "{name}");
        }
        assert_eq!(place(&here.join("new.db")).expect("a place"), here);
        symlink("round.db", here.join("round.db")).expect("a link");
        for name in ["round.db", "none/new.db"] {
            assert!(place(&here.join(name)).is_err(), "{name}");
        }
    }
}
