//! The server of the tests.

use std::future::{pending, poll_fn};
use std::pin::pin;

use backstay_store::PostgresStore;
use backstay_store::postgres::PostgresOptions;
use backstay_store::postgres::tokio_postgres::{
    AsyncMessage, Client, Error, NoTls, Transaction, connect,
};
use futures_util::future::{BoxFuture, select};
use test_servers::OwnServer;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A schema of its own, empty at first.
pub(super) struct Schema {
    pub(super) url: String,
    pub(super) name: String,
}

/// The store on a server of the test's own.
pub(super) async fn open(server: &OwnServer) -> PostgresStore {
    PostgresStore::connect(&server.url).await.expect("a store")
}

/// Work that runs statements.
pub(super) fn runs(
    sql: &str,
) -> impl for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<(), Error>> + Send + Sync {
    let sql = sql.to_owned();
    move |rows| {
        let sql = sql.clone();
        Box::pin(async move { rows.batch_execute(&sql).await })
    }
}

impl Schema {
    pub(super) fn new() -> Option<Self> {
        let url = test_servers::postgres()?;
        let name = test_servers::own_name();
        Some(Self { url, name })
    }

    pub(super) async fn open(&self) -> PostgresStore {
        self.open_with(PostgresOptions::new().pool(4)).await
    }

    pub(super) async fn open_with(&self, options: PostgresOptions) -> PostgresStore {
        let connected = options.schema(&self.name).connect(&self.url).await;
        connected.expect("a store")
    }

    /// A connection of somebody else.
    pub(super) async fn stranger(&self) -> Client {
        let (client, connection) = connect(&self.url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }

    /// Has the server run statements, in which `S` stands for the schema.
    pub(super) async fn run(&self, sql: &str) {
        let sql = self.named(sql);
        self.stranger().await.batch_execute(&sql).await.expect(&sql);
    }

    pub(super) fn named(&self, sql: &str) -> String {
        sql.replace("S.", &format!("{}.", self.name))
    }

    /// How many rows of the user's own there are.
    pub(super) async fn rows(&self) -> i64 {
        let sql = self.named("SELECT count(*) FROM S.rows");
        let row = self.stranger().await.query_one(&sql, &[]).await;
        row.expect("a count").get(0)
    }
}

impl Schema {
    /// Listens as another process does; the task ends with the first notice.
    pub(super) async fn stranger_who_hears(&self) -> JoinHandle<()> {
        let (client, mut connection) = connect(&self.url, NoTls).await.expect("a connection");
        let (listens, listening) = oneshot::channel();
        let listen = format!("LISTEN \"backstay:{}\"", self.name);
        let hears = tokio::spawn(async move {
            let asking = async {
                client.batch_execute(&listen).await.expect("to listen");
                listens.send(()).expect("somebody waits for it");
                pending::<()>().await;
            };
            let hearing = async {
                while let Some(message) = poll_fn(|context| connection.poll_message(context)).await
                {
                    if let AsyncMessage::Notification(_) = message.expect("a message") {
                        return;
                    }
                }
                panic!("the connection has ended");
            };
            select(pin!(asking), pin!(hearing)).await;
        });
        listening.await.expect("it listens");
        hears
    }
}
