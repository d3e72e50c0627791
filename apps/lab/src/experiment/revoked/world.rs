//! A door, its way to the authority, and who shows keys at it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay::lease::{BootClock, Clock, Moment};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::plan::{Fault, Key, Plan};
use crate::child::Child;
use crate::keys::Arm;
use crate::keys::authority::Authority;
use crate::keys::door::{Answer, Said, close, show};
use crate::wire::{Link, Wire};

/// The article's first look is after a second.
const READY_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
/// Whoever shows a key waits no longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The authority is asked so long by way of a link that should be cut.
const PROBE: Duration = Duration::from_millis(200);

/// What a world is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) arm: Arm,
    pub(super) fault: Fault,
}

pub(super) struct World {
    setting: Setting,
    folder: PathBuf,
    authority: Authority,
    wire: Wire,
    door: Child,
    address: watch::Sender<SocketAddr>,
    shown: Arc<Mutex<Vec<Shown>>>,
    known: Known,
}

/// A key that was shown, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) key: Key,
    pub(super) sent: Moment,
    pub(super) heard: Moment,
    /// None if there was none in time.
    pub(super) answer: Option<Answer>,
}

/// When a key was revoked: between the question and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revoked {
    pub(super) asked: Moment,
    pub(super) told: Moment,
}

/// What the lab has done to a world.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) early: Option<Revoked>,
    pub(super) late: Option<Revoked>,
    /// From when on nothing came through.
    pub(super) cut: Option<Moment>,
    pub(super) healed: Option<Moment>,
    /// Nothing came through when it was tried.
    pub(super) is_cut: bool,
    pub(super) is_restarted: bool,
}

/// What there is to know of a world in the end.
pub(super) struct Ended {
    pub(super) setting: Setting,
    pub(super) shown: Vec<Shown>,
    pub(super) known: Known,
}

impl World {
    pub(super) async fn start(
        setting: Setting,
        authority: Authority,
        folder: PathBuf,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir(&folder)?;
        let wire = Wire::lay(authority.0)?;
        let (door, address) = Child::service(&words(setting, &folder, &wire)).await?;
        Ok(Self {
            setting,
            folder,
            authority,
            wire,
            door,
            address: watch::Sender::new(address),
            shown: Arc::default(),
            known: Known::default(),
        })
    }

    fn name(&self, key: Key) -> String {
        let Setting { arm, fault } = self.setting;
        format!("{}-{}-{}", arm.name, fault.name(), key.name())
    }

    pub(super) fn keys(&self) -> [String; 3] {
        Key::ALL.map(|key| self.name(key))
    }

    /// Waits until the door knows its keys. One that never does is seen in what it answers.
    pub(super) async fn ready(&self) {
        let (door, key) = (*self.address.borrow(), self.name(Key::Good));
        let lets_in = async || {
            let answer = show(door, &key).await;
            answer.is_ok_and(|answer| answer.said == Said::LetIn)
        };
        let ready = async {
            while !lets_in().await {
                sleep(LOOK).await;
            }
        };
        let _ = timeout(READY_WITHIN, ready).await;
    }

    /// Has keys shown all the time, and revoked; cuts the door off and heals that.
    pub(super) async fn play(&mut self, plan: Plan, start: Instant) -> anyhow::Result<()> {
        let mut load = JoinSet::new();
        load.spawn(self.load(plan, start));
        sleep_until(start + plan.early).await;
        self.known.early = Some(self.revoke(Key::Early).await?);

        sleep_until(start + plan.cut).await;
        self.wire.set(plan.link(self.setting.fault));
        self.known.cut = Some(BootClock.now());
        sleep_until(start + plan.late).await;
        self.known.late = Some(self.revoke(Key::Late).await?);
        let key = self.name(Key::Late);
        let through = Authority(self.wire.address);
        let came_through = timeout(PROBE, through.one(&key)).await;
        self.known.is_cut = !came_through.is_ok_and(|answer| answer.is_ok());
        if self.setting.fault == Fault::Restarted {
            self.restart().await?;
        }

        sleep_until(start + plan.heal).await;
        // Before it is: what comes through from now on may be right again.
        self.known.healed = Some(BootClock.now());
        self.wire.set(Link::Whole);
        while let Some(ended) = load.join_next().await {
            ended?;
        }
        Ok(())
    }

    async fn revoke(&self, key: Key) -> anyhow::Result<Revoked> {
        let asked = BootClock.now();
        self.authority.revoke(&self.name(key)).await?;
        let told = BootClock.now();
        Ok(Revoked { asked, told })
    }

    /// As a deployment does it: told to stop, killed, and started again on its folder.
    async fn restart(&mut self) -> anyhow::Result<()> {
        let door = *self.address.borrow();
        close(door).await?;
        self.door.signal(Signal::KILL)?;
        let was_killed = self.door.was_killed().await?;
        let words = words(self.setting, &self.folder, &self.wire);
        let (door, address) = Child::service(&words).await?;
        self.door = door;
        self.address.send_replace(address);
        self.known.is_restarted = was_killed;
        Ok(())
    }

    /// Shows each key when it is due, whether or not earlier ones have been answered.
    fn load(&self, plan: Plan, start: Instant) -> impl Future<Output = ()> + Send + use<> {
        let due: Vec<_> = plan.shown(self.setting.fault);
        let due: Vec<_> = due
            .into_iter()
            .map(|(at, key)| (at, key, self.name(key)))
            .collect();
        let (door, all) = (self.address.subscribe(), self.shown.clone());
        async move {
            let mut under_way = JoinSet::new();
            for (at, key, name) in due {
                sleep_until(start + at).await;
                let (door, all) = (*door.borrow(), all.clone());
                under_way.spawn(async move {
                    let sent = BootClock.now();
                    let answer = timeout(PATIENCE, show(door, &name)).await;
                    let shown = Shown {
                        key,
                        sent,
                        heard: BootClock.now(),
                        answer: answer.ok().and_then(Result::ok),
                    };
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(shown);
                });
            }
            while under_way.join_next().await.is_some() {}
        }
    }

    /// Ends the door, and says what was seen of it.
    pub(super) async fn end(mut self) -> anyhow::Result<Ended> {
        // Where the run was interrupted it may have ended already.
        let _ = self.door.signal(Signal::KILL);
        self.door.was_killed().await?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Ended {
            setting: self.setting,
            shown: std::mem::take(&mut *shown),
            known: self.known,
        })
    }
}

fn words(setting: Setting, folder: &std::path::Path, wire: &Wire) -> [String; 5] {
    let (folder, authority) = (folder.display().to_string(), wire.address.to_string());
    ["part", "door", setting.arm.name, &folder, &authority].map(str::to_owned)
}
