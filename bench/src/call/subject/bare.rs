//! The operation alone: what the measured loop costs.

use std::hint::black_box;

use super::{Group, Run, operation};

pub(crate) fn runs() -> Vec<Run> {
    vec![Run::alone(
        "bare",
        Group::BareCall,
        async || (),
        async |(): &mut ()| black_box(operation().await).is_ok(),
    )]
}
