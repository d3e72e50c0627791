//! The same orders as commands of ours, and the way from their log to the reader over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay::cqrs::{
    Commands, Decider, Done, Events, ExecuteError, Message, Relay, Relaying, SendError, Transport,
};
use backstay::store::{Position, SqliteStore, Store};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::gate::{Gate, Place};
use super::order::{Asked, Change, Order, Row, Side};
use crate::saga::http::post_bytes;

/// The rules of orders.
struct Rules;

#[derive(Debug, Serialize, Deserialize)]
enum Event {
    Placed(Order),
    Confirmed(Order),
    Cancelled(Order),
}

impl Event {
    fn new(Asked { order, change }: Asked) -> Self {
        match change {
            Change::Place => Self::Placed(order),
            Change::Confirm => Self::Confirmed(order),
            Change::Cancel => Self::Cancelled(order),
        }
    }

    fn asked(&self) -> Asked {
        let (order, change) = match self {
            Self::Placed(order) => (order, Change::Place),
            Self::Confirmed(order) => (order, Change::Confirm),
            Self::Cancelled(order) => (order, Change::Cancel),
        };
        Asked {
            order: *order,
            change,
        }
    }
}

/// What a message tells, if it is one of an order.
pub(super) fn read(message: &Message) -> anyhow::Result<Asked> {
    let change = match message.kind.as_str() {
        "Placed" => Change::Place,
        "Confirmed" => Change::Confirm,
        "Cancelled" => Change::Cancel,
        other => anyhow::bail!("{other:?} is not known"),
    };
    let order = message.read()?;
    Ok(Asked { order, change })
}

#[derive(Debug, thiserror::Error)]
#[error("the order is not at what comes before")]
pub(super) struct OutOfTurn;

impl Decider for Rules {
    type State = Option<Change>;
    type Command = Asked;
    type Event = Event;
    type Error = OutOfTurn;

    fn decide(&self, last: &Option<Change>, command: &Asked) -> Result<Vec<Event>, OutOfTurn> {
        if *last == command.change.before() {
            Ok(vec![Event::new(*command)])
        } else {
            Err(OutOfTurn)
        }
    }

    fn evolve(&self, last: &mut Option<Change>, event: &Event) {
        *last = Some(event.asked().change);
    }
}

/// The write side with its relay, which runs in the same process.
#[derive(Clone)]
pub(super) struct Orders {
    commands: Commands<Rules>,
    relaying: Arc<Relaying>,
    log: Store,
}

const STREAMS: &str = "order";

impl Orders {
    pub(super) fn start(store: &SqliteStore, gate: Gate) -> anyhow::Result<Self> {
        let log = store.store();
        let commands = Commands::builder(log.clone(), STREAMS, Rules, Events::new()?);
        let relay = Relay::new(log.clone(), "to-reader", STREAMS, "/orders");
        Ok(Self {
            commands: commands.build()?,
            relaying: Arc::new(relay.start(ToReader { gate })?),
            log,
        })
    }

    pub(super) async fn change(
        &self,
        key: &str,
        asked: &Asked,
    ) -> Result<Done, ExecuteError<OutOfTurn>> {
        let id = asked.order.number.to_string();
        self.commands.execute_once(&id, key, asked).await
    }

    /// All orders, and whether the relay has noted that all that became of them was taken.
    pub(super) async fn standing(&self) -> anyhow::Result<(Side, bool)> {
        let (side, last) = all(&self.log).await?;
        Ok((side, self.relaying.progress().position >= last))
    }
}

/// All orders of a log, and where the last that became of one is.
pub(super) async fn all(log: &Store) -> anyhow::Result<(Side, Position)> {
    let events = Events::<Event>::new()?;
    let (mut orders, mut last) = (BTreeMap::new(), Position::START);
    let mut after = Position::START;
    loop {
        let page = log.read_all(after, PAGE).await?;
        let Some(end) = page.last() else {
            return Ok((Side::of(orders.into_values()), last));
        };
        after = end.position;
        let ours = page
            .iter()
            .filter(|event| event.stream.starts_with("order/"));
        for recorded in ours {
            if let backstay::cqrs::Read::Known(event) = events.read(recorded)? {
                let Asked { order, change } = event.asked();
                last = recorded.position;
                let row = Row::new(order, change, last.get().cast_signed());
                orders.insert(order.number, row);
            }
        }
    }
}

const PAGE: u32 = 1_000;

/// Brings messages to the reader, one request each.
struct ToReader {
    gate: Gate,
}

impl Transport for ToReader {
    fn send<'t>(&'t self, message: &'t Message) -> BoxFuture<'t, Result<(), SendError>> {
        async move {
            let asked = read(message).map_err(|error| SendError::Refused(error.into()))?;
            self.bring(asked, message)
                .await
                .map_err(|error| SendError::Unavailable(error.into()))
        }
        .boxed()
    }
}

impl ToReader {
    async fn bring(&self, asked: Asked, message: &Message) -> anyhow::Result<()> {
        let addresses = self.gate.pass(asked.at(Place::Written)).await?;
        let reader = addresses
            .reader
            .ok_or_else(|| anyhow::anyhow!("nobody is there"))?;
        let kind = HeaderValue::from_static("application/cloudevents+json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let answer = post_bytes(reader, "told", headers, message.to_json()).await?;
        anyhow::ensure!(
            answer.status().is_success(),
            "it answered {}",
            answer.status()
        );
        self.gate.pass(asked.at(Place::Taken)).await?;
        Ok(())
    }
}
