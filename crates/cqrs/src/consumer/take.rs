//! Gives items to the sink, and sets those aside that it refuses.

use std::sync::Arc;
use std::time::Duration;

use backstay_store::Position;
use tokio::time::sleep;

use super::dead::{self, Dead, Letter};
use super::options::Options;
use super::progress::Happened;
use super::run::{Feed, Fenced};
use super::sink::{Sink, SinkError};
use super::{Consumer, Item};

/// Between two looks when all is halted.
const HALTED: Duration = Duration::from_secs(1);

impl<T: Clone + Send + Sync + 'static, S: Sink<T>> Feed<'_, T, S> {
    /// Takes all items, but those that can't be.
    pub(super) async fn take(&mut self, items: Vec<Item<T>>, to: Position) -> Result<(), Fenced> {
        // Each with where the sink is then.
        let mut parts = vec![(items, to)];
        while let Some((items, to)) = parts.pop() {
            let (items, letters) = self.without_dead(items);
            self.set_aside(letters).await?;
            let Err(error) = self.take_part(&items, to).await? else {
                continue;
            };
            let middle = items.len() / 2;
            if middle > 0 {
                // One of them is the bad one.
                let mut first = items;
                let second = first.split_off(middle);
                let until = first[middle - 1].place.position;
                parts.push((second, to));
                parts.push((first, until));
                continue;
            }
            if let Some(item) = items.first() {
                let (key, position) = (item.place.stream.clone(), item.place.position);
                self.tell_aside(&key, position, &error);
                let letter = Letter::new(&key, &item.place, Some(error));
                self.set_aside(vec![letter]).await?;
                parts.push((Vec::new(), to));
            }
        }
        Ok(())
    }

    fn without_dead(&self, items: Vec<Item<T>>) -> (Vec<Item<T>>, Vec<Letter>) {
        let is_behind =
            |item: &Item<T>| self.dead.is_behind(&item.place.stream, item.place.position);
        let (behind, alive): (Vec<_>, Vec<_>) = items.into_iter().partition(is_behind);
        let letter = |item: &Item<T>| Letter::new(&item.place.stream, &item.place, None);
        (alive, behind.iter().map(letter).collect())
    }

    /// Takes these, or says why they can't be. Waits as long as the sink can't be asked.
    async fn take_part(
        &mut self,
        items: &[Item<T>],
        to: Position,
    ) -> Result<Result<(), String>, Fenced> {
        let shared: Arc<[Item<T>]> = items.into();
        let (mut refused, mut stalled) = (0, 0);
        loop {
            let refusal = match self.sink.take(shared.clone(), to, self.fence).await {
                Ok(()) => {
                    self.is_at(to);
                    return Ok(Ok(()));
                }
                Err(SinkError::Fenced) => return Err(Fenced),
                Err(SinkError::Refused(error)) => Some(error),
                Err(SinkError::Unavailable(error)) => {
                    stalled += 1;
                    self.consumer.gauge.tell(&Happened::Stalled { error });
                    sleep(Options::rest(stalled)).await;
                    None
                }
            };
            // It may have taken them, and refuse them for that; and one that can't be written to refuses everything.
            if self.where_it_is().await? >= to {
                self.is_at(to);
                return Ok(Ok(()));
            }
            if let Some(error) = refusal {
                refused += 1;
                // Of many, only the bad one is worth waiting for.
                if items.len() > 1 || refused >= self.consumer.options.attempts {
                    return Ok(Err(error));
                }
                sleep(Options::rest(refused)).await;
            }
        }
    }

    /// Asks the sink, which has to write for that, until it answers.
    pub(super) async fn where_it_is(&mut self) -> Result<Position, Fenced> {
        let mut stalled = 0;
        loop {
            match self.sink.open(self.fence).await {
                Ok(at) => return Ok(at),
                Err(SinkError::Fenced) => return Err(Fenced),
                Err(SinkError::Refused(error) | SinkError::Unavailable(error)) => {
                    stalled += 1;
                    self.consumer.gauge.tell(&Happened::Stalled { error });
                    sleep(Options::rest(stalled)).await;
                }
            }
        }
    }

    /// Puts letters into the log's store, which is where people see them.
    pub(super) async fn set_aside(&mut self, letters: Vec<Letter>) -> Result<(), Fenced> {
        // Those that the store has: only of them a person can make room.
        let mut stored = self.dead.count();
        self.know(&letters);
        if letters.is_empty() {
            return Ok(());
        }
        let Consumer {
            log,
            name,
            options,
            gauge,
            ..
        } = self.consumer;
        if options.is_own {
            // Nobody can make room.
            while self.dead.count() > options.dead_limit {
                let dead = self.dead.count();
                gauge.tell(&Happened::Halted { dead });
                sleep(HALTED).await;
            }
            return Ok(());
        }
        let mut attempt = 0;
        loop {
            if stored > options.dead_limit {
                gauge.tell(&Happened::Halted { dead: stored });
                sleep(HALTED).await;
                if let Ok(dead) = Dead::load(log, name).await {
                    self.dead = dead;
                }
                // Orders are what makes room.
                if self.read_orders().await.is_ok() {
                    Box::pin(self.slice()).await?;
                }
                stored = self.dead.count();
                self.know(&letters);
                continue;
            }
            match dead::put(log, name, Some(self.fence), &letters).await {
                Ok(true) => break,
                Ok(false) => return Err(Fenced),
                Err(error) => {
                    attempt += 1;
                    let error = error.to_string();
                    gauge.tell(&Happened::Stalled { error });
                    sleep(Options::rest(attempt)).await;
                }
            }
        }
        Ok(())
    }

    fn know(&mut self, letters: &[Letter]) {
        for letter in letters {
            self.dead.add(&letter.key, Position::new(letter.position));
        }
    }

    pub(super) fn tell_aside(&self, key: &str, position: Position, error: &str) {
        self.consumer.gauge.tell(&Happened::SetAside {
            key: key.to_owned(),
            position,
            error: error.to_owned(),
        });
    }
}
