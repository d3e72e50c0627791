//! What an earlier process has left.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use backstay_replica::{Event, Origin, ReadError, Version, WarmError};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::world::{Heard, MS, S, World};

type Copy = backstay_replica::Replica<String, u32>;

/// The world with keys that can be read from a file.
struct Named(World, &'static str);

impl backstay_replica::Source<String, u32> for Named {
    fn name(&self) -> String {
        self.1.to_owned()
    }

    fn open(&self, start: backstay_replica::Start) -> backstay_replica::Session<String, u32> {
        use backstay_replica::{Change, News};
        use futures_util::StreamExt;
        let named = |changes: Vec<Change<&'static str, u32>>| {
            let changes = changes.into_iter().map(|change| Change {
                key: change.key.to_owned(),
                number: change.number,
                value: change.value,
            });
            changes.collect::<Vec<_>>()
        };
        self.0
            .open(start)
            .map(move |news| {
                Ok(match news? {
                    News::Page(page) => News::Page(named(page)),
                    News::Snapshot(version) => News::Snapshot(version),
                    News::Complete { version, asked } => News::Complete { version, asked },
                    News::Changes {
                        after,
                        upto,
                        changes,
                        asked,
                    } => News::Changes {
                        after,
                        upto,
                        changes: named(changes),
                        asked,
                    },
                    _ => unreachable!("there is nothing else"),
                })
            })
            .boxed()
    }
}

fn builder(
    world: &World,
    path: &Path,
    heard: &Heard,
) -> backstay_replica::ReplicaBuilder<String, u32> {
    let builder = Copy::builder(Named(world.clone(), "named")).clock(world.clock());
    builder.warm(path).on_event(heard.hear())
}

/// A copy that was stopped, 100 s ago, and left its file.
async fn left(world: &World, path: &Path) {
    world.put("a", Some(1));
    world.put("b", Some(2));
    let built = builder(world, path, &Heard::default())
        .build()
        .expect("options");
    let copy = built.start().await.expect("a copy");
    copy.stop().await;
    sleep(S(100)).await;
}

/// Changes a file, and makes its checksum right again, as docs/formats.md says.
fn rewrite(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file");
    let (before, rest) = text.split_once("\"sha256\":\"").expect("a checksum");
    let (_, after) = rest.split_once('"').expect("its end");
    let sealed = |sum: &str| format!("{before}\"sha256\":\"{sum}\"{after}").replacen(from, to, 1);
    let sum = Sha256::digest(sealed(""))
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("text takes all");
            text
        });
    fs::write(path, sealed(&sum)).expect("a file");
}

fn ignored(heard: &Heard) -> Option<WarmError> {
    heard.all().into_iter().find_map(|event| match event {
        Event::WarmIgnored { reason } => Some(reason),
        _ => None,
    })
}

/// REP-1: what is served from a file has the age that it has, until the source is heard.
#[tokio::test(start_paused = true)]
async fn a_file_is_served_with_its_age() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    let (world, heard) = (World::new(), Heard::default());
    left(&world, &path).await;
    world.way(|way| way.is_stuck = true);
    let built = builder(&world, &path, &heard).build().expect("options");
    let copy = built.start().await.expect("a copy");
    let reading = copy.peek("a").expect("a reading");
    assert_eq!(reading.value.as_deref(), Some(&1));
    assert_eq!(
        (reading.age, reading.source),
        (S(100) + MS(10), Origin::Disk)
    );
    assert_eq!(reading.version, Version::new(1, 2));

    world.way(|way| way.is_stuck = false);
    world.put("a", Some(3));
    sleep(S(20)).await;
    let reading = copy.peek("a").expect("a reading");
    assert_eq!(
        (reading.value.as_deref(), reading.source),
        (Some(&3), Origin::Source)
    );
    // It went on from the file: no snapshot was needed.
    assert!(heard.synced().is_empty());
}

/// REP-3: a file that is damaged anywhere is not used, and an event says so; nothing panics.
#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    let world = World::new();
    left(&world, &path).await;
    let whole = fs::read(&path).expect("a file");
    let mut damages: Vec<Vec<u8>> = vec![Vec::new(), b"hello".to_vec(), b"\n\n".to_vec()];
    damages.extend((1..whole.len()).step_by(7).map(|end| whole[..end].to_vec()));
    let flip = |at: usize| {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        flipped
    };
    damages.extend((0..whole.len()).map(flip));
    for damage in damages {
        fs::write(&path, &damage).expect("a file");
        let heard = Heard::default();
        let built = builder(&world, &path, &heard).build().expect("options");
        let copy = built.start().await.expect("a copy");
        let shown = String::from_utf8_lossy(&damage).into_owned();
        assert!(
            matches!(ignored(&heard), Some(WarmError::Damaged(_))),
            "{shown}"
        );
        assert_eq!(copy.peek("a").expect("a reading").source, Origin::Source);
        drop(copy);
        sleep(S(1)).await;
    }
}

/// REP-3: the file of another source is not used.
#[tokio::test(start_paused = true)]
async fn a_foreign_file_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    let (world, heard) = (World::new(), Heard::default());
    left(&world, &path).await;
    let other = Copy::builder(Named(world.clone(), "other")).clock(world.clock());
    let built = other.warm(&path).on_event(heard.hear()).build();
    built.expect("options").start().await.expect("a copy");
    let reason = ignored(&heard).expect("it is told").to_string();
    assert_eq!(reason, "it is of the source \"named\", not of \"other\"");
}

/// REP-2: a copy that fails closed serves nothing from a file that is too old, or whose age only a wall clock knows.
#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_closed_believes_no_wall_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    let world = World::new();
    left(&world, &path).await;
    world.way(|way| way.is_stuck = true);
    for (limit, other_boot, is_served) in [
        (S(101), false, true),
        (S(99), false, false),
        (S(101), true, false),
    ] {
        if other_boot {
            rewrite(&path, "\"boot\":\"test\"", "\"boot\":\"before\"");
        }
        let heard = Heard::default();
        let built = builder(&world, &path, &heard)
            .fail_closed(limit)
            .build()
            .expect("options");
        let copy = built.spawn();
        copy.wait_ready(MS(50)).await.map_or_else(
            |error| assert_eq!((error, is_served), (ReadError::NotReady, false)),
            |()| assert!(is_served),
        );
        assert_eq!(
            matches!(ignored(&heard), Some(WarmError::Stale { .. })),
            !is_served
        );
    }
}

/// REP-3: a file from a time to come has no age that could be believed.
#[tokio::test(start_paused = true)]
async fn a_file_from_the_future_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    let (world, heard) = (World::new(), Heard::default());
    left(&world, &path).await;
    rewrite(&path, "\"boot\":\"test\"", "\"boot\":\"before\"");
    rewrite(&path, "\"proven_unix_ms\":1", "\"proven_unix_ms\":9");
    let built = builder(&world, &path, &heard).build().expect("options");
    built.start().await.expect("a copy");
    assert!(matches!(ignored(&heard), Some(WarmError::Ageless)));
}

/// REP-1: the file is written now and then, and nothing is left beside it.
#[tokio::test(start_paused = true)]
async fn the_file_is_written_now_and_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    let (world, heard) = (World::new(), Heard::default());
    world.put("a", Some(1));
    let built = builder(&world, &path, &heard)
        .save_every(S(10))
        .build()
        .expect("options");
    let copy = built.start().await.expect("a copy");
    sleep(S(16)).await;
    let first = fs::read(&path).expect("a file");
    world.put("a", Some(2));
    sleep(S(16)).await;
    assert_ne!(fs::read(&path).expect("a file"), first);
    copy.stop().await;
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);

    let nowhere = folder.path().join("no/folder/copy");
    let built = builder(&world, &nowhere, &heard).build().expect("options");
    built.start().await.expect("a copy").stop().await;
    let is_told = |event: &Event| {
        matches!(
            event,
            Event::WarmNotSaved {
                reason: WarmError::Io(_)
            }
        )
    };
    assert!(heard.all().iter().any(is_told));
}

/// REP-2: a file that was only read is not written anew, or an age by the wall clock would become one by this start of the machine.
#[tokio::test(start_paused = true)]
async fn a_file_that_was_only_read_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    let world = World::new();
    left(&world, &path).await;
    rewrite(&path, "\"boot\":\"test\"", "\"boot\":\"before\"");
    let before = fs::read(&path).expect("a file");
    world.way(|way| way.is_stuck = true);
    let built = builder(&world, &path, &Heard::default()).build();
    let copy = built.expect("options").start().await.expect("a copy");
    assert_eq!(copy.peek("a").expect("a reading").source, Origin::Disk);
    copy.stop().await;
    assert!(before == fs::read(&path).expect("a file"));
}

/// REP-1: the file is for its owner only, and what a process that was killed has left half written is taken away.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    let half = |name: &str, time| {
        let file = fs::File::create(folder.path().join(name)).expect("a file");
        file.set_modified(time).expect("a time");
    };
    let long_ago = std::time::SystemTime::UNIX_EPOCH + S(1_000_000);
    half("copy.0123456789abcdef.tmp", long_ago);
    half("copy.other.tmp", long_ago);
    let now = fs::metadata(folder.path()).expect("a folder").modified();
    half("copy.fedcba9876543210.tmp", now.expect("a time"));
    left(&World::new(), &path).await;
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let there = fs::read_dir(folder.path()).expect("a folder");
    let mut there: Vec<_> = there
        .map(|entry| entry.expect("a file").file_name())
        .collect();
    there.sort();
    assert_eq!(
        there,
        ["copy", "copy.fedcba9876543210.tmp", "copy.other.tmp"]
    );
}

/// REP-3: the file of another store's keys with the same prefix is told apart by the store's name.
#[test]
fn stores_have_names() {
    let store = backstay_store::MemoryStore::new().into_store();
    let source = backstay_replica::StoreSource::<String, u32>::new(store, "k/");
    let name = |source: &dyn backstay_replica::Source<String, u32>| source.name();
    assert_eq!(name(&source), "store:k/");
    assert_eq!(name(&source.named("orders")), "store:orders:k/");
}
