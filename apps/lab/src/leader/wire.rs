//! The way between a candidate and the service that lends leases, and how it is cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections. While it is cut nothing goes through in either direction and no connection is closed; what waits
/// goes on afterwards, as TCP would send it again.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    cut: watch::Sender<bool>,
    held_back: Arc<AtomicU64>,
}

impl Wire {
    pub(crate) async fn lay(to: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let cut = watch::Sender::new(false);
        let held_back = Arc::<AtomicU64>::default();
        let (watch, counted) = (cut.subscribe(), held_back.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, to, watch.clone(), counted.clone()));
            }
        });
        Ok(Self {
            address,
            cut,
            held_back,
        })
    }

    pub(crate) fn set_cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    /// Pieces that waited because it was cut: the witness that it was.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back.load(Relaxed)
    }
}

async fn connect(
    near: TcpStream,
    to: SocketAddr,
    cut: watch::Receiver<bool>,
    counted: Arc<AtomicU64>,
) {
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(
        forward(near_in, far_out, cut.clone(), &counted),
        forward(far_in, near_out, cut, &counted)
    );
}

async fn forward(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut cut: watch::Receiver<bool>,
    counted: &AtomicU64,
) {
    let mut piece = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if *cut.borrow() {
            counted.fetch_add(1, Relaxed);
        }
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
    // One side has said all; the other may have more to say.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;
    use crate::leader::rpc;

    #[tokio::test]
    async fn a_cut_wire_holds_back_and_loses_nothing() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(rpc::serve(
            listener,
            |question: u32| async move { question + 1 },
        ));
        let wire = Wire::lay(server).await.unwrap();
        assert_eq!(rpc::ask::<_, u32>(wire.address, &1).await.unwrap(), 2);
        assert_eq!(wire.held_back(), 0);
        wire.set_cut(true);
        let mut asked = Box::pin(rpc::ask::<_, u32>(wire.address, &2));
        let waiting = timeout(Duration::from_millis(200), &mut asked).await;
        assert!(waiting.is_err(), "{waiting:?}");
        assert_eq!(wire.held_back(), 1);
        wire.set_cut(false);
        assert_eq!(asked.await.unwrap(), 3);
    }
}
