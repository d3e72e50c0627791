//! The operation alone: what the loop costs, and what the machine can scale.

use std::hint::black_box;

use super::{Group, Run, operation};

pub(crate) fn runs() -> Vec<Run> {
    vec![Run::shared(
        "bare",
        Group::BareCall,
        async || (),
        async |(): &mut ()| black_box(operation().await).is_ok(),
    )]
}
