//! CALL-15: a keyed call needs its key.

use std::io;

use backstay_call::Pipeline;

fn main() {
    let payments = Pipeline::builder("payments").build().unwrap();
    drop(payments.call_keyed(async |_| Ok::<_, io::Error>(7)));
}
