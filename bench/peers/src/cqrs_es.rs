//! cqrs-es on Postgres: a command on a thing of its own, which comes to one event.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use postgres_es::{default_postgress_pool, postgres_cqrs};
use serde::{Deserialize, Serialize};

use crate::Visit;
use crate::load::{self, Sample};

#[derive(Default, Serialize, Deserialize)]
struct Account {
    cents: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Deposited { cents: u64 },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        "Deposited".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = u64;
    type Event = Event;
    type Error = Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        cents: u64,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Infallible> {
        sink.write(Event::Deposited { cents }, self).await;
        Ok(())
    }

    fn apply(&mut self, Event::Deposited { cents }: Event) {
        self.cents += cents;
    }
}

/// As its documents say.
const TABLE: &str = "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL,
    sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, event_version text NOT NULL,
    payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))";

pub(crate) async fn visit(visit: Visit) -> Result<Sample> {
    let (url, schema) = (visit.place(0)?, visit.place(1)?);
    let place = format!("{url}?options=-csearch_path%3D{schema}");
    let pool = default_postgress_pool(&place).await;
    sqlx::query(&format!("CREATE SCHEMA {schema}")).execute(&pool).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    let accounts = Arc::new(postgres_cqrs::<Account>(pool, Vec::new(), ()));
    let progress = visit.progress.clone();
    let command = move |number: u64| {
        let (accounts, progress) = (accounts.clone(), progress.clone());
        async move {
            progress.started();
            let executed = accounts.execute(&number.to_string(), 1).await;
            executed.map_err(|error| anyhow!("{error}"))?;
            progress.step();
            Ok(())
        }
    };
    load::sagas(visit.at_once, visit.window, visit.progress.clone(), command).await
}
