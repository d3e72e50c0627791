//! The same rows through tokio-postgres, as an application would write them that needs nothing else.
//!
//! One prepared statement writes all rows of some commits in one round trip, and is a transaction by itself. As in the
//! store, positions come from one row, whose lock each transaction holds until it is on disk.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::postgres::{Tables, connect};
use super::{DATA, KIND, runtime, streams};
use crate::store::Ground;
use crate::store::load::{self, Sample, Window};

/// As many as the store's pool has by default. More would only wait for the lock of the one row.
const CONNECTIONS: usize = 16;

/// As many commits share a transaction at most, as in the store.
const BATCH: usize = 512;

/// A stream comes once in a batch.
const WRITE: &str = "\
    WITH placed AS (\
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[]) \
        WITH ORDINALITY AS placed (batch, stream, kind, data, metadata, number)), \
    state AS (\
        UPDATE SCHEMA.state SET head = head + $6::int8, \
            clock = greatest(clock, (extract(epoch FROM clock_timestamp()) * 1000)::int8) \
        WHERE id = 1 RETURNING head - $6::int8 AS head, clock), \
    streams AS (\
        INSERT INTO SCHEMA.streams AS kept (id, name, version) \
        SELECT head + number, stream, 1 FROM state, placed \
        ON CONFLICT (name) DO UPDATE SET version = kept.version + 1 \
        RETURNING kept.id, kept.name, kept.version), \
    events AS (\
        INSERT INTO SCHEMA.events (position, stream, version, kind, data, metadata, at) \
        SELECT head + number, streams.id, streams.version, kind, data, metadata, clock \
        FROM state, placed JOIN streams ON streams.name = placed.stream) \
    INSERT INTO SCHEMA.commits (batch, first, last) \
    SELECT batch, head + number, head + number FROM state, placed";

/// A connection with its statement.
struct Hand {
    client: Client,
    write: Statement,
}

impl Hand {
    async fn new(url: &str, schema: &str) -> Result<Self> {
        let client = connect(url).await?;
        let write = client.prepare(&WRITE.replace("SCHEMA", schema)).await?;
        Ok(Self { client, write })
    }

    /// Writes the rows of some commits in one transaction.
    async fn write(&self, streams: &[String], batches: &[Uuid]) -> Result<()> {
        let count = batches.len();
        let none: &[u8] = &[];
        let (kinds, data, metadata) = (vec![KIND; count], vec![DATA; count], vec![none; count]);
        let number = i64::try_from(count)?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&batches, &streams, &kinds, &data, &metadata, &number];
        self.client.execute(&self.write, &params).await?;
        Ok(())
    }
}

/// Tasks that share some connections, each commit a transaction.
pub(super) fn visit_alone(ground: &Ground, committers: usize, window: Window) -> Result<Sample> {
    runtime()?.block_on(async {
        let tables = Tables::new(&ground.postgres).await?;
        let mut hands = Vec::new();
        for _ in 0..committers.min(CONNECTIONS) {
            hands.push(Hand::new(&ground.postgres, &tables.schema).await?);
        }
        let (hands, streams) = (Arc::new(hands), streams(committers));
        let commit = move |number: usize| {
            let (hands, streams) = (hands.clone(), streams.clone());
            async move {
                let hand = &hands[number % hands.len()];
                hand.write(&streams[number..=number], &[Uuid::now_v7()])
                    .await
            }
        };
        let sample = load::tasks(committers, window, commit).await;
        tables.remove().await?;
        sample
    })
}

/// Tasks that ask one task, which writes for all who wait.
pub(super) fn visit_batched(ground: &Ground, committers: usize, window: Window) -> Result<Sample> {
    runtime()?.block_on(async {
        let tables = Tables::new(&ground.postgres).await?;
        let hand = Hand::new(&ground.postgres, &tables.schema).await?;
        let (jobs, waiting) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write_all(hand, waiting));
        let streams = streams(committers);
        let commit = move |number: usize| {
            let (reply, answer) = oneshot::channel();
            let asked = jobs.send((streams[number].clone(), Uuid::now_v7(), reply));
            async move {
                asked.map_err(|_| anyhow!("the writer has ended"))?;
                Ok(answer.await?)
            }
        };
        let sample = load::tasks(committers, window, commit).await;
        writer.await??;
        tables.remove().await?;
        sample
    })
}

type Job = (String, Uuid, oneshot::Sender<()>);

async fn write_all(hand: Hand, mut waiting: mpsc::UnboundedReceiver<Job>) -> Result<()> {
    let mut jobs = Vec::new();
    while waiting.recv_many(&mut jobs, BATCH).await > 0 {
        let (mut streams, mut batches, mut replies) = (Vec::new(), Vec::new(), Vec::new());
        for (stream, batch, reply) in jobs.drain(..) {
            streams.push(stream);
            batches.push(batch);
            replies.push(reply);
        }
        hand.write(&streams, &batches).await?;
        for reply in replies {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use backstay::store::{BatchId, Position, Version};

    use super::*;

    /// What is written by hand is what the store would have written: it reads it.
    #[test]
    fn the_store_reads_what_is_written_by_hand() {
        let Some(url) = test_servers::postgres() else {
            return;
        };
        runtime().unwrap().block_on(async {
            let tables = Tables::new(&url).await.unwrap();
            let hand = Hand::new(&url, &tables.schema).await.unwrap();
            let (two, again) = ([Uuid::now_v7(), Uuid::now_v7()], Uuid::now_v7());
            let streams = ["one", "two"].map(str::to_owned);
            hand.write(&streams, &two).await.unwrap();
            hand.write(&streams[..1], &[again]).await.unwrap();
            let store = tables.store.store();
            assert_eq!(store.head().await.unwrap(), Position::new(3));
            let events = store.read("one", Version::START, 10).await.unwrap();
            let positions: Vec<_> = events.iter().map(|event| event.position.get()).collect();
            assert_eq!(positions, [1, 3]);
            let id = BatchId::from_bytes(again.into_bytes());
            let commit = store.find(id).await.unwrap().unwrap();
            assert_eq!(commit.version("one"), Some(Version::new(2)));
            tables.remove().await.unwrap();
        });
    }
}
