//! CALL-1: a call is `Send` only where the operation's future is.

use std::io;
use std::rc::Rc;

use backstay_call::Pipeline;

fn spawn(_call: impl Send) {}

fn main() {
    let stock = Pipeline::builder("stock").build().unwrap();
    spawn(stock.call(async |_| {
        let count = Rc::new(7);
        std::future::ready(()).await;
        Ok::<_, io::Error>(*count)
    }));
}
