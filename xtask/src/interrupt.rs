//! Ctrl-C and its kin: what runs is ended in order instead of being left behind.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::group::Group;

/// How long the running group may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Watches for signals until it is dropped; after that they end the process as ever.
///
/// To be made once in a process.
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

/// While it lives, a signal to us ends that group.
#[must_use]
pub(crate) struct Forward<'i> {
    shared: &'i Shared,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    watched: bool,
    arrived: bool,
    group: Option<Pid>,
}

impl Interrupt {
    pub(crate) fn watch() -> Result<Self> {
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot watch for signals")?;
        let interrupt = Self::default();
        let shared = Arc::clone(&interrupt.shared);
        thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    shared.on_signal(signal);
                }
            })
            .context("cannot start a thread")?;
        Ok(interrupt)
    }

    /// An error once a signal has come.
    pub(crate) fn check(&self) -> Result<()> {
        self.pause(Duration::ZERO)
    }

    /// Waits that long, or until a signal comes, which is an error.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, time, |state| !state.arrived)
            .unwrap_or_else(PoisonError::into_inner);
        if state.arrived {
            bail!("stopped by a signal");
        }
        Ok(())
    }

    /// Waits until a signal comes.
    pub(crate) fn wait(&self) {
        let state = self.shared.lock();
        drop(
            self.shared
                .changed
                .wait_while(state, |state| !state.arrived)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// From now on a signal ends the group. One that came before does not: check after starting a member.
    pub(crate) fn forward_to<'i>(&'i self, group: &'i Group) -> Forward<'i> {
        self.shared.lock().group = Some(group.pid());
        Forward {
            shared: &self.shared,
        }
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        let shared = Arc::new(Shared::default());
        shared.lock().watched = true;
        Self { shared }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.shared.lock().watched = false;
    }
}

impl Drop for Forward<'_> {
    fn drop(&mut self) {
        self.shared.lock().group = None;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_signal(&self, signal: i32) {
        let mut state = self.lock();
        if !state.watched {
            drop(state);
            // It fails only for signals that have no default.
            let _ = emulate_default_handler(signal);
            return;
        }
        state.arrived = true;
        self.changed.notify_all();
        end(state.group, Signal::TERM);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, GRACE, |state| state.group.is_some())
            .unwrap_or_else(PoisonError::into_inner);
        end(state.group, Signal::KILL);
    }
}

/// Called under the lock: a group takes its name off before it gives up its id.
fn end(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It fails when all members are gone.
        let _ = kill_process_group(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A signal wakes who waits, and every later check says so too.
    #[test]
    fn a_signal_is_an_error_from_then_on() {
        let interrupt = Interrupt::default();
        interrupt.check().unwrap();
        interrupt.shared.on_signal(SIGINT);
        interrupt.wait();
        let error = interrupt.pause(Duration::from_secs(600)).unwrap_err();
        assert_eq!(error.to_string(), "stopped by a signal");
        interrupt.check().unwrap_err();
    }

    /// A signal ends the members of the group it is forwarded to.
    #[test]
    fn a_signal_ends_the_group() {
        let interrupt = Interrupt::default();
        let group = Group::new(None).unwrap();
        let mut member = group
            .adopt(Command::new("sleep").arg("600"))
            .spawn()
            .unwrap();
        let forward = interrupt.forward_to(&group);
        thread::scope(|scope| {
            scope.spawn(|| interrupt.shared.on_signal(SIGTERM));
            assert!(!member.wait().unwrap().success());
            drop(forward);
        });
    }
}
