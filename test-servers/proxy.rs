//! A way to a server that can be made bad: what is on it is late, or stays where it is.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How the way is in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// What is on it stays there until it is free again, as TCP would send it again.
    pub is_held: bool,
    /// What is on it takes so long.
    pub delay: Duration,
}

impl Way {
    /// Nothing comes through.
    pub const HELD: Self = Self {
        is_held: true,
        delay: Duration::ZERO,
    };
}

/// How the way is, there and back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ways {
    /// Of requests.
    pub to_server: Way,
    /// Of answers.
    pub to_client: Way,
    /// Connections are closed, and those that are made too.
    pub is_closed: bool,
}

/// A way to a server. It listens on a port of its own, and ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it is reached.
    pub address: SocketAddr,
    ways: watch::Sender<Ways>,
    /// How many connections there are.
    pub open: watch::Receiver<usize>,
    _accepts: JoinSet<()>,
}

impl Proxy {
    /// A free way to this server.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (ways, seen) = watch::channel(Ways::default());
        let (count, open) = watch::channel(0);
        let mut accepts = JoinSet::new();
        accepts.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                select! {
                    biased;
                    Some(_) = connections.join_next() => {}
                    accepted = listener.accept() => {
                        let (client, _) = accepted.expect("a connection");
                        connections.spawn(forward(client, server, seen.clone()));
                    }
                }
                count.send_replace(connections.len());
            }
        });
        Self {
            address,
            ways,
            open,
            _accepts: accepts,
        }
    }

    /// From now on it is like this.
    pub fn set(&self, ways: Ways) {
        self.ways.send_replace(ways);
    }
}

async fn forward(client: TcpStream, server: SocketAddr, mut ways: watch::Receiver<Ways>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (ways.clone(), ways.clone());
    select! {
        biased;
        _ = ways.wait_for(|ways| ways.is_closed) => {}
        () = copy(from_client, to_server, there, |ways| ways.to_server) => {}
        () = copy(from_server, to_client, back, |ways| ways.to_client) => {}
    }
}

/// Until either side ends.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut ways: watch::Receiver<Ways>,
    way: fn(&Ways) -> Way,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let delay = way(&ways.borrow()).delay;
        sleep(delay).await;
        let is_free = ways.wait_for(|ways| !way(ways).is_held).await.is_ok();
        if !is_free || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
