//! Messages by way of a real NATS server.

mod options;
mod order;
mod poison;
mod torn;

use std::path::PathBuf;
use std::time::Duration;

use backstay_cqrs::nats::{
    NatsStream,
    async_nats::{Client, ConnectOptions},
};
use backstay_cqrs::{Inbox, InboxError, Message, Relay, Relaying, Taken, Transport};
use backstay_store::sqlite::rusqlite::{Connection, Error};
use backstay_store::{SqliteStore, Store};
use tempfile::TempDir;
use test_servers::OwnServer;

use crate::world::file;

const STREAM: &str = "accounts";
const LONG: Duration = Duration::from_secs(60);

/// One of the test's own, whose disk is kept when it is killed.
async fn server() -> Option<OwnServer> {
    Some(OwnServer::nats()?.start().await)
}

async fn client(server: &OwnServer) -> Client {
    let options = ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(&server.url).await.unwrap();
    // It connects in the background.
    client.flush().await.unwrap();
    client
}

fn stream() -> NatsStream {
    NatsStream::new(STREAM).partitions(4)
}

fn relay(log: &Store, transport: impl Transport) -> Relaying {
    let relay = Relay::new(log.clone(), "to-nats", "account", "/accounts");
    let ttl = Duration::from_millis(600);
    relay.ttl(ttl).start(transport).unwrap()
}

async fn transport(client: Client) -> backstay_cqrs::nats::NatsTransport {
    let connected = backstay_cqrs::nats::NatsTransport::connect(client, stream());
    connected.await.unwrap()
}

/// What the other service has taken, in a table of its own.
#[derive(Clone)]
struct Theirs {
    inbox: Inbox<SqliteStore>,
    path: PathBuf,
}

impl Theirs {
    async fn new() -> (TempDir, Self) {
        let (folder, store) = file().await;
        let path = store.path().to_owned();
        let sql = "CREATE TABLE taken (number INTEGER PRIMARY KEY, key TEXT, id TEXT, data TEXT)";
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let inbox = Inbox::new(&store, "theirs").unwrap();
        (folder, Self { inbox, path })
    }

    /// Takes a message, but not one that has this in its data.
    async fn take(&self, message: &Message, bad: &str) -> Result<Taken<()>, InboxError<Error>> {
        self.inbox.take(message, work(message, bad)).await
    }

    /// The ids of a key in the order in which they were taken.
    fn taken(&self, key: &str) -> Vec<String> {
        let rows = Connection::open(&self.path).unwrap();
        let sql = "SELECT id FROM taken WHERE key = ?1 ORDER BY number";
        let mut rows = rows.prepare(sql).unwrap();
        let rows = rows.query_map([key], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

type Rows<'t> = <SqliteStore as backstay_store::Transactional>::Rows<'t>;

fn work(
    message: &Message,
    bad: &str,
) -> impl for<'t> Fn(&'t Rows<'t>) -> Result<(), Error> + Send + Sync + 'static {
    let (id, key) = (message.id.clone(), message.key.clone());
    let (data, bad) = (message.data.get().to_owned(), bad.to_owned());
    move |rows| {
        if data.contains(&bad) {
            return Err(Error::InvalidColumnName(bad.clone()));
        }
        let sql = "INSERT INTO taken (key, id, data) VALUES (?1, ?2, ?3)";
        rows.execute(sql, (&key, &id, &data)).map(drop)
    }
}

/// The ids of the first events of an account.
fn ids(key: &str, events: usize) -> Vec<String> {
    (1..=events).map(|event| format!("{key}/{event}")).collect()
}
