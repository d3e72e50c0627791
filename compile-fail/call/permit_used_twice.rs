//! CALL-14: the right to make one extra attempt is not the right to make two.

use backstay_call::{Budget, BudgetOptions};

fn main() {
    let budget = Budget::new(BudgetOptions::default()).unwrap();
    let permit = budget.try_retry().unwrap();
    let one_more = permit.clone();
    drop((permit, one_more));
}
