//! CALL-1: an attempt ends once, so its place comes back once.

use backstay_call::{Class, Effect, Pipeline};

fn main() {
    let ledger = Pipeline::builder("ledger").build().unwrap();
    let entered = ledger.enter().unwrap();
    entered.finish(Class::Success);
    entered.finish(Class::Transient(Effect::Unknown));
}
