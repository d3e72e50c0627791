//! How other processes hear of commits, as a hint beside their polling.
//!
//! `NOTIFY` in the transaction of a write would take a lock that all of the server's databases share. So it is sent
//! afterwards, at most once in a while, in a transaction that waits for no disk.

use std::fmt;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Config, Socket};
use uuid::Uuid;

use super::connect::Tls;
use super::failure::Failure;
use super::server::Server;
use crate::Position;

/// One notice tells of all that was committed since the last one.
const BETWEEN_NOTICES: Duration = Duration::from_millis(20);
/// After a connection was lost. Meanwhile polling finds what is new.
const BETWEEN_CONNECTIONS: Duration = Duration::from_secs(1);

/// Tells of commits: those who wait in this process at once, others soon.
#[derive(Clone, Debug)]
pub(super) struct Hint {
    changed: Arc<watch::Sender<u64>>,
    unsent: Arc<watch::Sender<Position>>,
}

impl Hint {
    pub(super) fn committed(&self, head: Position) {
        stir(&self.changed);
        self.unsent.send_replace(head);
    }
}

/// The tasks that send and receive hints; they end with it.
pub(super) struct Hints {
    changed: watch::Receiver<u64>,
    tasks: [AbortHandle; 2],
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hints").finish_non_exhaustive()
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Hints {
    pub(super) fn start(server: Arc<Server>, config: Config, tls: Tls) -> (Hint, Self) {
        let (changed, unsent) = (watch::Sender::new(0), watch::Sender::new(Position::START));
        let (receiver, sending) = (changed.subscribe(), unsent.subscribe());
        let changed = Arc::new(changed);
        // By this we know our own.
        let us = Uuid::now_v7().to_string();
        let channel = format!("backstay:{}", server.options.schema);
        let listener = Listener {
            config,
            channel: channel.clone(),
            us: us.clone(),
            changed: changed.clone(),
        };
        let listening = match tls {
            Tls::Off => tokio::spawn(listener.work(tokio_postgres::NoTls)),
            Tls::On(tls) => tokio::spawn(listener.work(tls)),
        };
        let notifying = tokio::spawn(notify(server, channel, us, sending));
        let hint = Hint {
            changed,
            unsent: Arc::new(unsent),
        };
        let tasks = [listening.abort_handle(), notifying.abort_handle()];
        let changed = receiver;
        (hint, Self { changed, tasks })
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

fn stir(changed: &watch::Sender<u64>) {
    changed.send_modify(|count| *count = count.wrapping_add(1));
}

async fn notify(
    server: Arc<Server>,
    channel: String,
    us: String,
    mut unsent: watch::Receiver<Position>,
) {
    let notice = format!(
        "BEGIN READ WRITE; SET LOCAL statement_timeout = 1000; \
         SET LOCAL synchronous_commit = off; NOTIFY \"{channel}\", '{us}'; COMMIT"
    );
    while unsent.changed().await.is_ok() {
        let send = async {
            let session = server.lend(&server.pool).await?;
            server
                .within(session.client().batch_execute(&notice))
                .await?;
            session.keep();
            Ok::<_, Failure>(())
        };
        // It is only a hint, and the next commit sends another.
        let _ = send.await;
        sleep(BETWEEN_NOTICES).await;
    }
}

struct Listener {
    config: Config,
    channel: String,
    us: String,
    changed: Arc<watch::Sender<u64>>,
}

impl Listener {
    async fn work<T>(self, tls: T)
    where
        T: MakeTlsConnect<Socket> + Clone + Send,
        T::TlsConnect: Send,
        T::Stream: Send,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        loop {
            // Whatever ends it, the next connection listens again.
            let _ = self.listen(tls.clone()).await;
            sleep(BETWEEN_CONNECTIONS).await;
        }
    }

    async fn listen<T>(&self, tls: T) -> Result<(), tokio_postgres::Error>
    where
        T: MakeTlsConnect<Socket>,
    {
        let (client, mut connection) = self.config.connect(tls).await?;
        let listening = async {
            client
                .batch_execute(&format!("LISTEN \"{}\"", self.channel))
                .await?;
            // What was told before we listened.
            stir(&self.changed);
            pending::<Result<(), tokio_postgres::Error>>().await
        };
        let hearing = async {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notice) = message?
                    && notice.payload() != self.us
                {
                    stir(&self.changed);
                }
            }
            Ok(())
        };
        select(pin!(listening), pin!(hearing))
            .await
            .factor_first()
            .0
    }
}
