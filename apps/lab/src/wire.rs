//! The way between two processes, and how it is cut.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::select;
use tokio::sync::watch;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Whole,
    /// Nothing goes through in either direction and no connection is closed; what waits goes on afterwards, as TCP would
    /// send it again.
    Held,
    /// Connections are closed, and new ones refused.
    Refused,
}

/// As many as wait for a server by default.
const BACKLOG: u32 = 1024;

/// Forwards connections while it is there.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    link: watch::Sender<Link>,
    held_back: Arc<AtomicU64>,
    /// Keeps the port while nobody listens.
    _port: TcpSocket,
}

impl Wire {
    pub(crate) fn lay(to: SocketAddr) -> anyhow::Result<Self> {
        let port = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = port.local_addr()?;
        let listener = bound(address)?.listen(BACKLOG)?;
        let link = watch::Sender::new(Link::Whole);
        let held_back = Arc::<AtomicU64>::default();
        let far = Far {
            to,
            link: link.subscribe(),
            held_back: held_back.clone(),
        };
        tokio::spawn(far.serve(listener, address));
        Ok(Self {
            address,
            link,
            held_back,
            _port: port,
        })
    }

    /// When it returns, nothing goes through that is sent from now on, or all does.
    pub(crate) fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Pieces and new connections that waited because it was held: the witness that it was.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back.load(Relaxed)
    }
}

/// So that one that listens can stand beside one that only keeps the port.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[derive(Clone)]
struct Far {
    to: SocketAddr,
    link: watch::Receiver<Link>,
    held_back: Arc<AtomicU64>,
}

impl Far {
    async fn serve(mut self, mut listener: TcpListener, address: SocketAddr) -> io::Result<()> {
        loop {
            let one = self.clone();
            let refused = self.link.wait_for(|link| *link == Link::Refused);
            select! {
                biased;
                refused = refused => if refused.is_err() { return Ok(()) },
                accepted = listener.accept() => {
                    let (near, _) = accepted?;
                    tokio::spawn(one.connect(near));
                    continue;
                }
            }
            drop(listener);
            let again = self.link.wait_for(|link| *link != Link::Refused);
            if again.await.is_err() {
                return Ok(());
            }
            listener = bound(address)?.listen(BACKLOG)?;
        }
    }

    async fn connect(mut self, near: TcpStream) {
        if *self.link.borrow() == Link::Held {
            self.held_back.fetch_add(1, Relaxed);
        }
        // Nor does a connection come about while nothing goes through.
        if self
            .link
            .wait_for(|link| *link != Link::Held)
            .await
            .is_err()
        {
            return;
        }
        let Ok(far) = TcpStream::connect(self.to).await else {
            return;
        };
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        let there = self.clone().forward(near_in, far_out);
        let back = self.clone().forward(far_in, near_out);
        select! {
            biased;
            _ = self.link.wait_for(|link| *link == Link::Refused) => {}
            ((), ()) = async { tokio::join!(there, back) } => {}
        }
    }

    async fn forward(
        mut self,
        mut from: impl AsyncReadExt + Unpin,
        mut to: impl AsyncWriteExt + Unpin,
    ) {
        let mut piece = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            if *self.link.borrow() == Link::Held {
                self.held_back.fetch_add(1, Relaxed);
            }
            let whole = self.link.wait_for(|link| *link != Link::Held).await;
            if !whole.is_ok_and(|link| *link == Link::Whole)
                || to.write_all(&piece[..read]).await.is_err()
            {
                return;
            }
        }
        // One side has said all; the other may have more to say.
        let _ = to.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;
    use crate::leader::rpc;

    async fn laid() -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(rpc::serve(
            listener,
            |question: u32| async move { question + 1 },
        ));
        Wire::lay(server).unwrap()
    }

    #[tokio::test]
    async fn a_cut_wire_holds_back_and_loses_nothing() {
        let wire = laid().await;
        assert_eq!(rpc::ask::<_, u32>(wire.address, &1).await.unwrap(), 2);
        assert_eq!(wire.held_back(), 0);
        wire.set(Link::Held);
        let mut asked = Box::pin(rpc::ask::<_, u32>(wire.address, &2));
        let waiting = timeout(Duration::from_millis(200), &mut asked).await;
        assert!(waiting.is_err(), "{waiting:?}");
        assert_eq!(wire.held_back(), 1);
        wire.set(Link::Whole);
        assert_eq!(asked.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_wire_that_refuses_closes_what_is_open_and_comes_back() {
        let wire = laid().await;
        let mut open = TcpStream::connect(wire.address).await.unwrap();
        assert_eq!(rpc::ask::<_, u32>(wire.address, &1).await.unwrap(), 2);
        wire.set(Link::Refused);
        // Its end, or an error that says the same.
        assert!(!matches!(open.read(&mut [0]).await, Ok(1..)));
        let refused = async {
            while TcpStream::connect(wire.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let cap = Duration::from_secs(20);
        timeout(cap, refused).await.expect("nobody listens");
        wire.set(Link::Whole);
        let back = async {
            while rpc::ask::<_, u32>(wire.address, &2).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(cap, back).await.expect("it listens again");
    }
}
