//! The file of a warm start. docs/formats.md says what it holds.

use std::fmt::{Display, Write as _};
use std::fs::{self, File};
use std::hash::Hash;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backstay_core::Moment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::table::{Loading, Table};
use crate::{Change, Clock, Version, WarmError};

const SCHEMA: u32 = 1;

/// The first line. The rest is one entry a line: key, number and value.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    backstay_replica: u32,
    source: String,
    #[serde(flatten)]
    version: Version,
    entries: usize,
    /// Which start of the machine `proven` counts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    /// The moment of the proof, by the clock that counts from there.
    proven: u64,
    /// The same by the wall clock, in milliseconds since 1970.
    proven_unix_ms: u64,
    /// Of the whole file, in which this is empty.
    sha256: String,
}

/// What a file holds.
pub(crate) struct Found<K, V> {
    pub(crate) loading: Loading<K, V>,
    pub(crate) version: Version,
    pub(crate) asked: Moment,
}

type Save<K, V> = dyn Fn(&Path, &Table<K, V>, &str, &Clock) -> Result<(), WarmError> + Send + Sync;
type Load<K, V> =
    dyn Fn(&Path, &Wanted<'_>) -> Result<Option<Found<K, V>>, WarmError> + Send + Sync;

/// How a copy is written and read, once its types are known to be able to.
pub(crate) struct Disk<K, V> {
    pub(crate) path: PathBuf,
    pub(crate) save: Box<Save<K, V>>,
    pub(crate) load: Box<Load<K, V>>,
    /// Held while the file is written: the last one at the end may meet one before.
    pub(crate) writing: Mutex<()>,
}

/// What a file must be to be of use.
pub(crate) struct Wanted<'a> {
    pub(crate) source: &'a str,
    pub(crate) clock: &'a Clock,
    pub(crate) max_entries: usize,
    pub(crate) fail_closed: Option<Duration>,
}

impl<K, V> Disk<K, V>
where
    K: Hash + Eq + Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            save: Box::new(save),
            load: Box::new(load),
            writing: Mutex::new(()),
        }
    }
}

fn save<K: Hash + Eq + Serialize, V: Serialize>(
    path: &Path,
    table: &Table<K, V>,
    source: &str,
    clock: &Clock,
) -> Result<(), WarmError> {
    // The proof and the version first: what is written is at least as new.
    let (proven, version) = (table.proven(), table.version());
    let (mut body, mut entries, mut failed) = (Vec::new(), 0, None);
    table.each(|key, number, value| {
        entries += 1;
        if let Err(error) = serde_json::to_writer(&mut body, &(key, number, &**value)) {
            failed = Some(error);
        }
        body.push(b'\n');
    });
    if let Some(error) = failed {
        return Err(io::Error::from(error).into());
    }
    let age = clock.now().since(proven);
    let mut head = Head {
        backstay_replica: SCHEMA,
        source: source.to_owned(),
        version,
        entries,
        boot: clock.era(),
        proven: proven.as_nanos(),
        proven_unix_ms: unix_millis().saturating_sub(millis_up(age)),
        sha256: String::new(),
    };
    let line = |head: &Head| serde_json::to_string(head).map_err(io::Error::from);
    head.sha256 = sum(&line(&head)?, &body);
    let mut text = line(&head)?.into_bytes();
    text.push(b'\n');
    text.append(&mut body);
    write(path, &text)?;
    Ok(())
}

/// What a file is called while it is written: that of the other process at the same time is another.
const PART: &str = ".tmp";
/// No file takes so long to write; what is older was left by a process that was killed.
const PART_LIVES: Duration = Duration::from_secs(60 * 60);

fn part(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}{PART}", fastrand::u64(..)));
    path.with_file_name(name)
}

/// Takes away what earlier processes have left half written. What can't be is in the way of nobody.
fn sweep(path: &Path) -> io::Result<()> {
    let own = path.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in fs::read_dir(folder(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let random = name.as_encoded_bytes().strip_prefix(own);
        let random = random.and_then(|rest| rest.strip_suffix(PART.as_bytes()));
        let is_part = random.is_some_and(|random| random.len() == 17 && random[0] == b'.');
        let changed = entry.metadata()?.modified()?.duration_since(UNIX_EPOCH);
        let changed = changed.map_or(u64::MAX, millis_up);
        if is_part && unix_millis().saturating_sub(changed) > millis_up(PART_LIVES) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Only for its owner: it holds what the source may have told nobody else.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whole or not at all, also through a loss of power.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = part(path);
    let written = create(&beside).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if renamed.is_err() {
        // What is left is of no use, and may be in the way of nobody.
        let _ = fs::remove_file(&beside);
    }
    renamed?;
    File::open(folder(path))?.sync_all()
}

fn load<K, V>(path: &Path, wanted: &Wanted<'_>) -> Result<Option<Found<K, V>>, WarmError>
where
    K: Hash + Eq + DeserializeOwned,
    V: DeserializeOwned,
{
    let _ = sweep(path);
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let end = text.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| damaged("it has no first line"))?;
    let (line, body) = (&text[..end], &text[end + 1..]);
    let line = std::str::from_utf8(line).map_err(damaged)?;
    let head: Head = serde_json::from_str(line).map_err(damaged)?;
    if head.backstay_replica != SCHEMA {
        return Err(damaged(format!("version {}", head.backstay_replica)));
    }
    let sealed = format!("\"sha256\":\"{}\"", head.sha256);
    if sum(&line.replacen(&sealed, "\"sha256\":\"\"", 1), body) != head.sha256 {
        return Err(damaged("the checksum differs"));
    }
    if head.source != wanted.source {
        return Err(WarmError::Foreign {
            found: head.source,
            wanted: wanted.source.to_owned(),
        });
    }
    let asked = asked(&head, wanted)?;
    let entries = serde_json::Deserializer::from_slice(body).into_iter::<(K, u64, V)>();
    let mut loading = Loading::default();
    let mut count = 0;
    for entry in entries {
        let (key, number, value) = entry.map_err(damaged)?;
        count += 1;
        let value = Some(value);
        let page = vec![Change { key, number, value }];
        loading.page(page, wanted.max_entries).map_err(damaged)?;
    }
    if count != head.entries {
        return Err(damaged("entries are missing"));
    }
    Ok(Some(Found {
        loading,
        version: head.version,
        asked,
    }))
}

/// When it was proven, by our clock.
fn asked(head: &Head, wanted: &Wanted<'_>) -> Result<Moment, WarmError> {
    let now = wanted.clock.now();
    let era = wanted.clock.era();
    let is_exact = era.is_some() && era == head.boot;
    let proven = if is_exact {
        Moment::from_nanos(head.proven)
    } else {
        let ago = unix_millis().checked_sub(head.proven_unix_ms);
        now.minus(Duration::from_millis(ago.ok_or(WarmError::Ageless)?))
    };
    if proven > now {
        return Err(WarmError::Ageless);
    }
    match wanted.fail_closed {
        // A wall clock proves nothing.
        Some(limit) if !is_exact || now.since(proven) > limit => Err(WarmError::Stale { limit }),
        _ => Ok(proven),
    }
}

fn damaged(why: impl Display) -> WarmError {
    WarmError::Damaged(format!("{why}"))
}

fn sum(line: &str, body: &[u8]) -> String {
    let mut text = String::new();
    let sum = Sha256::new().chain_update(line).chain_update("\n");
    for byte in sum.chain_update(body).finalize() {
        // Text takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn millis_up(age: Duration) -> u64 {
    u64::try_from(age.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "only the wall clock goes on while the machine is off"
)]
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
