//! What a process said that it committed, held against what a store has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use backstay_store::sqlite::rusqlite::{self, Connection, OpenFlags};
use backstay_store::{Batch, BatchId, Event, Fence, Position, Recorded, SqliteStore, Version};
use futures_util::future::join_all;

/// Batches are made from their number alone, so that each can be made again: events on two streams, a key, a fence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Bytes that each batch also puts under one of three keys.
    pub(crate) blob: usize,
}

const EVENTS: u64 = 3;

impl Load {
    pub(crate) fn batch(self, number: u64) -> Batch {
        let event = |part: u64| Event::new("happened", format!("{number}/{part}"));
        let mut batch = Batch::new()
            .with_id(id(number))
            .fenced(Fence::new(format!("fence-{number}"), number + 1))
            .append(left(number), vec![event(0), event(1)])
            .append(right(number), event(2));
        if self.blob > 0 {
            let byte = u8::try_from(number % 251).expect("small");
            batch = batch.put(format!("blob-{}", number % 3), vec![byte; self.blob]);
        }
        batch.put(format!("key-{number}"), number.to_string())
    }
}

fn left(number: u64) -> String {
    format!("left-{}", number % 5)
}

fn right(number: u64) -> String {
    format!("right-{}", number % 7)
}

/// Its first bytes are those of a far future, so that it is never old enough to be forgotten.
pub(crate) fn id(number: u64) -> BatchId {
    let mut bytes = [0xFF; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    BatchId::from_bytes(bytes)
}

/// What a process has said so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// It was about to commit these.
    pub(crate) tried: BTreeSet<u64>,
    /// These were answered, with their positions.
    pub(crate) acked: BTreeMap<u64, u64>,
}

impl Told {
    pub(crate) fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().expect("a number");
        match words[..] {
            ["try", batch] => {
                self.tried.insert(number(batch));
            }
            ["ack", batch, position] => {
                self.acked.insert(number(batch), number(position));
            }
            // The test harness talks on the same line out.
            _ => {}
        }
    }
}

/// A promise that the store has broken.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The batch was acknowledged and is not there.
    Lost(u64),
    /// Only a part of the batch is there.
    Half(u64, String),
    /// The store does not open, or does not fit together.
    Unsound(String),
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands for an error that ends here"
)]
fn unsound(what: impl ToString) -> Broken {
    Broken::Unsound(what.to_string())
}

/// STO-2: all that was acknowledged is there, nothing is there in part, and nothing that nobody tried.
pub(crate) async fn holds(store: &SqliteStore, told: &Told) -> Result<(), Broken> {
    let faults = store.check().await.map_err(unsound)?;
    if !faults.is_empty() {
        return Err(Broken::Unsound(format!("{faults:?}")));
    }
    let events = by_batch(store).await?;
    let keys = keys(store).await?;
    let fences = fences(store.path()).map_err(unsound)?;
    let there = events.keys().chain(keys.keys()).chain(fences.keys());
    let there: BTreeSet<u64> = there.copied().collect();
    for &number in &there {
        if !told.tried.contains(&number) {
            return Err(Broken::Unsound(format!("nobody tried {number}")));
        }
        let commit = store.find(id(number)).await.map_err(unsound)?;
        whole(
            number,
            commit.map(|commit| commit.position),
            events.get(&number).map_or(&[], Vec::as_slice),
            keys.get(&number).copied(),
            fences.get(&number).copied(),
        )
        .map_err(|what| Broken::Half(number, what))?;
    }
    for (&number, &position) in &told.acked {
        if keys.get(&number).map(|revision| revision.get()) != Some(position) {
            return Err(Broken::Lost(number));
        }
    }
    let head = store.head().await.map_err(unsound)?;
    let last = keys.values().max().copied().unwrap_or_default();
    if head != last {
        let what = format!("the head is {head}, the last change at {last}");
        return Err(Broken::Unsound(what));
    }
    Ok(())
}

/// All parts of one batch are there and belong together.
fn whole(
    number: u64,
    commit: Option<Position>,
    events: &[Recorded],
    key: Option<Position>,
    fence: Option<u64>,
) -> Result<(), String> {
    let streams: Vec<_> = events.iter().map(|event| event.stream.clone()).collect();
    if streams != [left(number), left(number), right(number)] {
        return Err(format!("its events are in {streams:?}"));
    }
    let first = events[0].position.get();
    let positions = events.iter().map(|event| event.position.get());
    if !positions.eq(first..first + EVENTS) {
        return Err("its events are apart".to_owned());
    }
    if key.is_none_or(|key| key.get() < first + EVENTS) || commit != key {
        return Err(format!("commit {commit:?}, key {key:?}"));
    }
    if fence != Some(number + 1) {
        return Err(format!("fence {fence:?}"));
    }
    Ok(())
}

/// Commits all again that was ever tried. What is there must be answered as it was, and not be there twice.
pub(crate) async fn holds_again(
    store: &SqliteStore,
    told: &mut Told,
    load: Load,
) -> Result<(), Broken> {
    let before = keys(store).await?;
    let commits = told.tried.iter().map(|&number| async move {
        let commit = store.commit(load.batch(number)).await;
        commit.map(|commit| (number, commit.position))
    });
    for commit in join_all(commits).await {
        let (number, position) = commit.map_err(unsound)?;
        if before.get(&number).is_some_and(|first| *first != position) {
            let what = format!("{number} was committed a second time");
            return Err(Broken::Unsound(what));
        }
        told.acked.insert(number, position.get());
    }
    holds(store, told).await
}

/// The events of each batch in their order. Their order as a whole, and that of each stream, is without gaps.
async fn by_batch(store: &SqliteStore) -> Result<BTreeMap<u64, Vec<Recorded>>, Broken> {
    let mut batches: BTreeMap<u64, Vec<Recorded>> = BTreeMap::new();
    let mut versions: BTreeMap<String, Version> = BTreeMap::new();
    let mut after = Position::START;
    loop {
        let page = store.read_all(after, 1_000).await.map_err(unsound)?;
        if page.is_empty() {
            return Ok(batches);
        }
        for event in page {
            let version = versions.entry(event.stream.clone()).or_default();
            if event.position <= after || event.version.get() != version.get() + 1 {
                let what = format!("{event:?} after position {after}, version {version}");
                return Err(Broken::Unsound(what));
            }
            (after, *version) = (event.position, event.version);
            let data = String::from_utf8_lossy(&event.data).into_owned();
            let (number, part) = data.split_once('/').ok_or_else(|| unsound(&data))?;
            let number = number.parse().map_err(unsound)?;
            let events = batches.entry(number).or_default();
            if part != events.len().to_string() {
                return Err(Broken::Half(number, format!("part {part} is out of order")));
            }
            events.push(event);
        }
    }
}

async fn keys(store: &SqliteStore) -> Result<BTreeMap<u64, Position>, Broken> {
    let (mut keys, mut after) = (BTreeMap::new(), String::new());
    loop {
        let page = store.list("key-", &after, 1_000).await.map_err(unsound)?;
        let Some(end) = page.last() else {
            return Ok(keys);
        };
        after.clone_from(&end.key);
        for entry in page {
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            if entry.key != format!("key-{value}") {
                return Err(Broken::Unsound(format!("{entry:?}")));
            }
            keys.insert(value.parse().map_err(unsound)?, entry.revision);
        }
    }
}

/// A store does not tell its fences, so they are read past it.
fn fences(path: &Path) -> rusqlite::Result<BTreeMap<u64, u64>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut fences = connection.prepare(
        "SELECT CAST(substr(name, 7) AS INTEGER), token FROM backstay_fences \
         WHERE name LIKE 'fence-%'",
    )?;
    let number = |row: &rusqlite::Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    fences
        .query_map([], |row| Ok((number(row, 0)?, number(row, 1)?)))?
        .collect()
}
