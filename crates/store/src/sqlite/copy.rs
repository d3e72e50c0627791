//! A copy of the store, which is there whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use backstay_core::Effect;
use rusqlite::{Connection, OpenFlags};

use super::BackUpError;
use super::open::{check, folder, may_write, sync_folder, told};
use crate::{BatchId, Cause, Unavailable};

/// Copies the store as of one moment.
///
/// The copy is made beside its place and moved there when it is whole and on disk.
pub(super) fn back_up(connection: &Connection, to: &Path) -> Result<(), BackUpError> {
    let path = to.to_owned();
    if to.symlink_metadata().is_ok() {
        return Err(BackUpError::Taken { path });
    }
    let Some(beside) = beside(to) else {
        return Err(BackUpError::NoName { path });
    };
    if !folder(to).is_dir() {
        return Err(BackUpError::NoFolder { path });
    }
    if !may_write(folder(to)) {
        return Err(BackUpError::ReadOnly { path });
    }
    let copied = copy(connection, &beside)
        .map_err(BackUpError::from)
        .and_then(|()| {
            put(&beside, to).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => BackUpError::Taken { path },
                _ => not_done(error).into(),
            })
        });
    if copied.is_err() {
        // It may not have been made.
        let _ = fs::remove_file(&beside);
    }
    copied
}

/// A name of its own in the same folder.
fn beside(to: &Path) -> Option<PathBuf> {
    let name = to.file_name()?.to_str()?;
    Some(to.with_file_name(format!("{name}.{}.part", BatchId::new())))
}

fn copy(connection: &Connection, beside: &Path) -> Result<(), Unavailable> {
    let name = beside.to_str().ok_or_else(|| {
        let text = format!("{} is no text", beside.display());
        not_done(io::Error::new(io::ErrorKind::InvalidInput, text))
    })?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(told)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(beside, flags).map_err(told)?;
    let wrong = check(&copy)?;
    if !wrong.is_empty() {
        let wrong = io::Error::new(io::ErrorKind::InvalidData, wrong.join("; "));
        return Err(Unavailable::new(Cause::Corrupt, Effect::NotExecuted).because(wrong));
    }
    drop(copy);
    File::open(beside)
        .and_then(|file| file.sync_all())
        .map_err(not_done)
}

fn put(beside: &Path, to: &Path) -> io::Result<()> {
    rename(beside, to)?;
    let synced = sync_folder(to);
    if synced.is_err() {
        // It was not there before.
        let _ = fs::remove_file(to);
    }
    synced
}

/// Gives a file its name, unless that is taken.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::EXIST) => return Err(taken(to)),
            // Not every file system can do it; most of those can have a second name.
            Err(_) => {}
        }
    }
    fs::hard_link(from, to).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            taken(to)
        } else {
            error
        }
    })?;
    // Should it stay, it is a second name of a whole copy.
    let _ = fs::remove_file(from);
    Ok(())
}

fn taken(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, path.display().to_string())
}

fn not_done(error: io::Error) -> Unavailable {
    let cause = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::Full,
        io::ErrorKind::ReadOnlyFilesystem => Cause::ReadOnly,
        _ => Cause::Storage,
    };
    Unavailable::new(cause, Effect::NotExecuted).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that is taken, also since it was looked at, is left as it is.
    #[test]
    fn a_name_that_is_taken_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").expect("a file");
        fs::write(&to, "old").expect("a file");
        let taken = rename(&from, &to).expect_err("it is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).expect("a file"), b"old");
        fs::remove_file(&to).expect("a file");
        rename(&from, &to).expect("it is free");
        assert_eq!(fs::read(&to).expect("a file"), b"new");
        assert!(!from.exists());
    }
}
