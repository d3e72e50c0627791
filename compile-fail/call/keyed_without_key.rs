//! CALL-15: a keyed call needs its key.

use std::io;

use backstay_call::{Attempt, Pipeline};

// Not a closure: the compiler names those by the path of this file, which is another on each machine.
async fn pay(_: Attempt) -> io::Result<u64> {
    Ok(7)
}

fn main() {
    let payments = Pipeline::builder("payments").build().unwrap();
    drop(payments.call_keyed(pay));
}
