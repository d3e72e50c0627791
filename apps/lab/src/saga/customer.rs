//! Who wants an order, and asks until there is an answer.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::time::sleep;

use super::gate::Addresses;
use super::http::post;
use super::order::Order;

/// What a customer knows in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Placed,
    NotPlaced,
    /// Something else.
    Trouble,
}

const AGAIN: Duration = Duration::from_millis(100);

/// Places this order; a customer who is cut off sends the same again.
pub(crate) async fn place(order: Order, addresses: watch::Receiver<Addresses>) -> Told {
    loop {
        let address = addresses.borrow().orchestrator;
        if let Some(address) = address
            && let Ok(answer) = post(address, "orders", HeaderMap::new(), &order).await
        {
            return match answer.status() {
                StatusCode::CREATED => Told::Placed,
                StatusCode::CONFLICT => Told::NotPlaced,
                _ => Told::Trouble,
            };
        }
        sleep(AGAIN).await;
    }
}
