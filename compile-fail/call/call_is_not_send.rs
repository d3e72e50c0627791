//! CALL-1: a call is `Send` only where the operation's future is.

use std::io;
use std::rc::Rc;

use backstay_call::{Attempt, Pipeline};

fn spawn(_call: impl Send) {}

// Not a closure: the compiler names those by the path of this file, which is another on each machine.
async fn count(_: Attempt) -> io::Result<i32> {
    let count = Rc::new(7);
    std::future::ready(()).await;
    Ok(*count)
}

fn main() {
    let stock = Pipeline::builder("stock").build().unwrap();
    spawn(stock.call(count));
}
