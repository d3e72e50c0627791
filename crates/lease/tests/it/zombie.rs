//! Leaders that were dead for a while, in processes of their own.

use std::path::PathBuf;

use backstay_lease::{BootClock, Clock};
use backstay_store::SqliteStore;
use backstay_store::sqlite::rusqlite::Connection;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::home::{Home, Kind};
use crate::process::{Candidate, Work};

struct Ground {
    folder: TempDir,
    home: Home,
}

impl Ground {
    /// None where the tests were told to do without the home's server.
    fn new(kind: Kind) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::new(kind, folder.path())?;
        Some(Self { folder, home })
    }

    fn resource(&self) -> PathBuf {
        self.folder.path().join("resource.db")
    }

    fn candidate(&self, work: Work) -> Candidate {
        Candidate::start(&self.home, &self.resource(), work)
    }

    /// The token of the last write.
    async fn last(&self) -> String {
        let store = SqliteStore::open(self.resource()).await.expect("a store");
        let entry = store.get("last").await.expect("a read");
        let value = entry.expect("a write").value;
        String::from_utf8_lossy(&value).into_owned()
    }
}

/// A leader is stopped between its look at the lease and its write; another leads and writes; the first one goes on.
/// What became of its write, and whether the other's stands.
async fn zombie(ground: &Ground, work: Work) -> (&'static str, bool) {
    let mut first = ground.candidate(work);
    let token = first.wait_for("stalls")[0];
    first.signal(Signal::STOP);

    let mut second = ground.candidate(Work::Write);
    let next = second.wait_for("wrote")[0];
    assert!(next > token, "{next} after {token}");
    first.go();
    first.signal(Signal::CONT);

    let outcome = if work == Work::Stall {
        "refused"
    } else {
        "wrote"
    };
    assert_eq!(first.wait_for(outcome), [token]);
    let stands = ground.last().await == next.to_string();
    (outcome, stands)
}

async fn a_zombies_write_is_refused(ground: &Ground) {
    assert_eq!(zombie(ground, Work::Stall).await, ("refused", true));
}

async fn without_the_fence_a_zombie_writes(ground: &Ground) {
    let unfenced = zombie(ground, Work::StallUnfenced).await;
    assert_eq!(unfenced, ("wrote", false));
}

fn a_zombie_does_nothing_when_it_wakes(ground: &Ground) {
    let mut first = ground.candidate(Work::Act);
    let token = first.wait_for("acts")[0];
    first.signal(Signal::STOP);
    let mut second = ground.candidate(Work::Act);
    let led = second.wait_for("leads");
    assert!(led[0] > token, "{led:?} after {token}");
    let woken = BootClock.now().as_nanos();
    first.signal(Signal::CONT);
    assert_eq!(first.wait_for("down"), [token]);
    let acts = first.hear_out("acts");
    let late = acts.iter().filter(|act| act[0] == token && act[1] >= woken);
    // It may have been stopped between the look at its lease and what that allowed.
    assert!(late.count() <= 1, "{acts:?} after {woken}");
}

fn the_dead_are_replaced(ground: &Ground) {
    let mut first = ground.candidate(Work::Act);
    let mut token = first.wait_for("leads")[0];
    for turn in 0..4 {
        let mut next = ground.candidate(Work::Act);
        if turn % 2 == 0 {
            first.signal(Signal::KILL);
            assert_eq!(first.ended_by(), Some(Signal::KILL.as_raw()));
        } else {
            first.hear_out("acts");
        }
        let led = next.wait_for("leads")[0];
        assert!(led > token, "{led} after {token}");
        (first, token) = (next, led);
    }
}

/// Each of the tests, on a home of this kind.
macro_rules! at {
    ($kind:expr) => {
        use super::{Ground, Kind};

        /// LEA-8: a leader that was stopped past its lease can't write any more.
        #[tokio::test]
        async fn a_zombies_write_is_refused() {
            if let Some(ground) = Ground::new($kind) {
                super::a_zombies_write_is_refused(&ground).await;
            }
        }

        /// LEA-8: without the fence it can, and the next leader's write is lost: nothing else would have stopped it.
        #[tokio::test]
        async fn without_the_fence_a_zombie_writes() {
            if let Some(ground) = Ground::new($kind) {
                super::without_the_fence_a_zombie_writes(&ground).await;
            }
        }

        /// LEA-4: a leader that was stopped past its lease does nothing more when it goes on.
        #[test]
        fn a_zombie_does_nothing_when_it_wakes() {
            if let Some(ground) = Ground::new($kind) {
                super::a_zombie_does_nothing_when_it_wakes(&ground);
            }
        }

        /// LEA-3, LEA-6: a leader that is killed is replaced, and one that ends gives the lease back.
        #[test]
        fn the_dead_are_replaced() {
            if let Some(ground) = Ground::new($kind) {
                super::the_dead_are_replaced(&ground);
            }
        }
    };
}

mod sqlite {
    at!(Kind::Sqlite);
}

mod postgres {
    at!(Kind::Postgres);
}

mod etcd {
    at!(Kind::Etcd);
}

mod nats {
    at!(Kind::Nats);
}

/// LEA-3: a process whose work blocks past the end of its lease is aborted, where that was asked for.
#[test]
fn a_stuck_process_is_aborted() {
    let ground = Ground::new(Kind::Sqlite).expect("it needs no server");
    let mut stuck = ground.candidate(Work::Block);
    stuck.wait_for("stalls");
    // Its home is held by somebody else, so no renewal gets through.
    let lock = Connection::open(ground.folder.path().join("home.db")).expect("a file");
    lock.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    assert_eq!(stuck.ended_by(), Some(Signal::ABORT.as_raw()));
}

/// LEA-3: that counts the time in which the machine was suspended.
#[test]
fn a_process_stuck_after_a_suspend_is_aborted() {
    let ground = Ground::new(Kind::Sqlite).expect("it needs no server");
    let mut stuck = ground.candidate(Work::BlockAfterSuspend);
    stuck.wait_for("stalls");
    assert_eq!(stuck.ended_by(), Some(Signal::ABORT.as_raw()));
}
