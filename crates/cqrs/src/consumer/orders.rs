//! What people want of events that were set aside, done in parts beside what is new.

use std::collections::VecDeque;
use std::sync::Arc;

use backstay_store::{Append, Batch, Event, Expected, Position, Put};
use tokio::time::sleep;

use super::dead::{self, Given, Letter, Order, Skipped};
use super::progress::Happened;
use super::run::{AGAIN, Feed, Fenced};
use super::sink::{Sink, SinkError};
use super::{Consumer, Decoded, Item, Place};

/// As many of a key's events are taken again before others have their turn.
const SLICE: u32 = 100;
const PAGE: u32 = 1_000;

/// Why an order has not led to the end of a key's letters.
enum Obeyed {
    Refused,
    Unavailable(String),
}

impl From<backstay_store::Unavailable> for Obeyed {
    fn from(error: backstay_store::Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl<T: Clone + Send + Sync + 'static, S: Sink<T>> Feed<'_, T, S> {
    /// Reads what orders there are, where some may have been missed. What can't be read now is missed still.
    pub(super) async fn read_orders(&mut self) -> Result<(), String> {
        self.has_missed = true;
        let orders = dead::orders(&self.consumer.name);
        let (mut all, mut after) = (VecDeque::new(), String::new());
        loop {
            let page = self.consumer.log.list(&orders, &after, PAGE).await;
            let page = page.map_err(|error| error.to_string())?;
            let Some(last) = page.last() else {
                break;
            };
            after.clone_from(&last.key);
            all.extend(page.iter().filter_map(Given::there));
        }
        (self.orders, self.has_missed) = (all, false);
        Ok(())
    }

    /// Takes again some of what was set aside of the first key that somebody has said it of.
    pub(super) async fn slice(&mut self) -> Result<(), Fenced> {
        let Some(given) = self.orders.pop_front() else {
            return Ok(());
        };
        let order = &given.order;
        match self.obey(order).await? {
            Ok(true) => self.dead.over(&order.key),
            // There is more of it.
            Ok(false) => {
                self.orders.push_back(given);
                return Ok(());
            }
            Err(Obeyed::Refused) => {}
            Err(Obeyed::Unavailable(error)) => {
                self.consumer.gauge.tell(&Happened::Stalled { error });
                self.orders.push_back(given);
                sleep(AGAIN).await;
                // It may have taken what its answer was lost of.
                return self.where_it_is().await.map(drop);
            }
        }
        // One that was given meanwhile stays.
        let over = dead::order(&self.consumer.name, &order.key);
        let over = Batch::new().delete(over, Expected::Exactly(given.revision));
        self.commit(over).await?;
        self.consumer.gauge.at(self.seen, self.dead.count());
        Ok(())
    }

    /// Whether nothing of the key is set aside any more.
    async fn obey(&mut self, order: &Order) -> Result<Result<bool, Obeyed>, Fenced> {
        let Consumer { log, name, .. } = self.consumer;
        let page = match log
            .list(&dead::letters_of(name, &order.key), "", SLICE)
            .await
        {
            Ok(page) => page,
            Err(error) => return Ok(Err(error.into())),
        };
        let is_all = page.len() < SLICE as usize;
        for entry in page {
            let Ok(letter) = serde_json::from_slice::<Letter>(&entry.value) else {
                continue;
            };
            let position = Position::new(letter.position);
            // It comes again with the log, and would be taken twice.
            if position > self.seen {
                return Ok(Ok(false));
            }
            let gone = Batch::new().delete(&entry.key, Expected::Any);
            if order.skip == Some(letter.position) {
                let skipped = Skipped {
                    letter,
                    who: order.who.clone(),
                    why: order.why.clone(),
                };
                let text = serde_json::to_vec(&skipped).unwrap_or_default();
                let event = Event::new("skipped", text);
                self.commit(gone.append(dead::audit(name), Append::new(event)))
                    .await?;
                self.dead.taken(&order.key, position);
                continue;
            }
            match self.take_again(&letter).await? {
                Ok(()) => {}
                Err(SinkError::Refused(error)) => {
                    let letter = letter.because(error);
                    let bytes = serde_json::to_vec(&letter).unwrap_or_default();
                    self.commit(Batch::new().put(&entry.key, Put::new(bytes)))
                        .await?;
                    return Ok(Err(Obeyed::Refused));
                }
                Err(SinkError::Unavailable(error)) => return Ok(Err(Obeyed::Unavailable(error))),
                Err(SinkError::Fenced) => return Err(Fenced),
            }
            self.commit(gone).await?;
            self.dead.taken(&order.key, position);
        }
        if is_all {
            let key = order.key.clone();
            self.consumer.gauge.tell(&Happened::Recovered { key });
        }
        Ok(Ok(is_all))
    }

    async fn take_again(&mut self, letter: &Letter) -> Result<Result<(), SinkError>, Fenced> {
        let found = dead::event(&self.consumer.log, letter).await;
        let recorded = match found {
            Ok(Some(recorded)) => recorded,
            Ok(None) => {
                let error = "the log does not have the event".to_owned();
                return Ok(Err(SinkError::Refused(error)));
            }
            Err(error) => return Ok(Err(error.into())),
        };
        let place = Arc::new(Place::of(&recorded));
        match self.consumer.decoded(&recorded) {
            Decoded::Item(what) => {
                let item = Item { place, what };
                Ok(self.sink.take_again(item, self.fence).await)
            }
            Decoded::Pass => Ok(Ok(())),
            Decoded::Unreadable(error) => Ok(Err(SinkError::Refused(error))),
        }
    }
}
