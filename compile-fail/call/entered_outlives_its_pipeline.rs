//! CALL-1: a place in the bulkhead can't be kept longer than the pipeline it belongs to.

use backstay_call::{Entered, Pipeline, Rejected};

fn enter<'a>() -> Result<Entered<'a>, Rejected> {
    let ledger = Pipeline::builder("ledger").build().unwrap();
    ledger.enter()
}

fn main() {
    drop(enter());
}
