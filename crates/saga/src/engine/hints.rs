//! Who waits for news of an instance, wherever it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::names::Name;

/// Those who wait, by instance. One reader of the store serves them all.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints(Arc<Mutex<HashMap<Name, watch::Sender<()>>>>);

/// News of one instance. It is waited for until this is dropped.
#[derive(Debug)]
pub(super) struct Hint {
    hints: Hints,
    name: Name,
    news: watch::Receiver<()>,
}

impl Hints {
    pub(super) fn of(&self, name: &Name) -> Hint {
        let mut waiting = self.waiting();
        let sender = waiting.entry(name.clone()).or_default();
        Hint {
            news: sender.subscribe(),
            hints: self.clone(),
            name: name.clone(),
        }
    }

    /// Something about it has changed.
    pub(super) fn tell(&self, name: &Name) {
        if let Some(sender) = self.waiting().get(name) {
            sender.send_replace(());
        }
    }

    /// All may have changed.
    pub(super) fn tell_all(&self) {
        for sender in self.waiting().values() {
            sender.send_replace(());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Name, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hint {
    /// What has come up to here is known.
    pub(super) fn seen(&mut self) {
        self.news.mark_unchanged();
    }

    pub(super) async fn next(&mut self) {
        // The sender is there as long as this is.
        let _ = self.news.changed().await;
    }
}

impl Drop for Hint {
    fn drop(&mut self) {
        let mut waiting = self.hints.waiting();
        let is_last = |sender: &watch::Sender<()>| sender.receiver_count() == 1;
        if waiting.get(&self.name).is_some_and(is_last) {
            waiting.remove(&self.name);
        }
    }
}
