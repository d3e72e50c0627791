//! The article's saga, and the same calls without it.

use http::HeaderMap;

use super::order::{Call, Order};
use super::remote::{CallError, Remote};

async fn call(remote: Remote, order: Order, call: Call, of: Option<i64>) -> Result<i64, CallError> {
    // No key: a call that comes twice is two calls.
    remote.call(order, call, of, HeaderMap::new()).await
}

/// `PlaceOrder` as printed: all it knows is in these variables, and is gone with the process.
pub(super) async fn place_order(remote: Remote, order: Order) -> Result<(), CallError> {
    // Any error counts as "it has not happened", also a lost reply. What undoes is called once, and what comes of that
    // is dropped.
    let undo = async |what, of| {
        let _ = call(remote, order, what, Some(of)).await;
    };
    let order_id = call(remote, order, Call::Create, None).await?;

    let reservation_id = match call(remote, order, Call::Reserve, None).await {
        Ok(reservation_id) => reservation_id,
        Err(error) => {
            undo(Call::Delete, order_id).await;
            return Err(error);
        }
    };

    let payment_id = match call(remote, order, Call::Charge, None).await {
        Ok(payment_id) => payment_id,
        Err(error) => {
            undo(Call::Release, reservation_id).await;
            undo(Call::Delete, order_id).await;
            return Err(error);
        }
    };

    if let Err(error) = call(remote, order, Call::Confirm, Some(order_id)).await {
        undo(Call::Refund, payment_id).await;
        undo(Call::Release, reservation_id).await;
        undo(Call::Delete, order_id).await;
        return Err(error);
    }
    Ok(())
}

/// Without compensation.
pub(super) async fn call_in_a_row(remote: Remote, order: Order) -> Result<(), CallError> {
    let order_id = call(remote, order, Call::Create, None).await?;
    call(remote, order, Call::Reserve, None).await?;
    call(remote, order, Call::Charge, None).await?;
    call(remote, order, Call::Confirm, Some(order_id)).await?;
    Ok(())
}
