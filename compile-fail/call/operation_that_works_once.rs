//! CALL-15: an operation that uses up what it sends can't be repeated.

use std::io;

use backstay_call::Pipeline;

async fn send(_order: String) -> Result<u32, io::Error> {
    Ok(7)
}

fn main() {
    let payments = Pipeline::builder("payments").build().unwrap();
    let order = String::from("tea");
    drop(payments.call_idempotent(move |_| send(order)));
}
