//! Where writes land.

mod http;
mod postgres;
mod sql;
mod sqlite;

use backstay_lease::Fence;

fn fence(token: u64) -> Fence {
    Fence::new("sweeper", token)
}

/// Who makes the next step, in every order of three steps of an old and three of a new leader.
fn orders() -> Vec<[bool; 6]> {
    let all = (0_u32..64).filter(|bits| bits.count_ones() == 3);
    let order = |bits: u32| std::array::from_fn(|step| bits >> step & 1 == 1);
    all.map(order).collect()
}

/// LEA-8: there are twenty orders, and all are tried.
#[test]
fn every_order_is_tried() {
    assert_eq!(orders().len(), 20);
    assert!(orders().contains(&[false, true, false, true, true, false]));
}
