//! recloser: a breaker over a ring of the last 100 calls, its default.

use std::hint::black_box;

use recloser::{AsyncRecloser, Error, Recloser};

use super::{Group, Run, failing_operation, operation};

const NAME: &str = "recloser";

/// Its default ring must be full before it opens.
const FAILURES: usize = 200;

pub(crate) fn runs() -> Vec<Run> {
    vec![
        Run::shared(NAME, Group::BreakerClosed, async || breaker(), passes),
        Run::alone(
            NAME,
            Group::BreakerOpen,
            async || {
                let breaker = breaker();
                for _ in 0..FAILURES {
                    let _ = breaker.call(failing_operation()).await;
                }
                breaker
            },
            refuses,
        ),
    ]
}

fn breaker() -> AsyncRecloser {
    AsyncRecloser::from(Recloser::default())
}

async fn passes(breaker: &mut AsyncRecloser) -> bool {
    black_box(breaker.call(operation()).await).is_ok()
}

async fn refuses(breaker: &mut AsyncRecloser) -> bool {
    let answer = black_box(breaker.call(operation()).await);
    matches!(answer, Err(Error::Rejected))
}
