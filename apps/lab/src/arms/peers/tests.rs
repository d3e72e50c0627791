//! That each library is wired to the dependency and told which failures to try again.

use axum::Router;
use http::StatusCode;
use std::time::Duration;
use tokio::time::Instant;

use super::*;
use crate::engine::plan::Plan;
use crate::engine::server::{self, Fault, Service, Work};

/// Makes one call to a server that always gives this answer; counts the attempts it saw.
async fn attempts_until(arm: &Arm, status: StatusCode) -> (u32, bool) {
    let end = Duration::from_secs(1);
    let plan = Plan {
        counted_from: Duration::ZERO,
        fault_from: end,
        fault_until: end,
        end,
    };
    let fault = Fault { factor: 1.0 };
    let work = Work::new(Service::Even, Instant::now(), plan, fault);
    let listener = server::listen().await.unwrap();
    let site = Site {
        arm: "test",
        seed: 1,
        metrics: false,
        dependency: Dependency::new(listener.local_addr().unwrap()),
        work: work.clone(),
    };
    let answers = Router::new().fallback(move || async move { status });
    let _server = server::serve(listener, answers, &work);

    let client = (arm.build)(&site).unwrap().client;
    let call = Call {
        index: 0,
        deadline: Instant::now() + DEADLINE,
    };
    let good = client.call(call).await.is_ok();
    (work.arrived_by_second().iter().sum(), good)
}

#[tokio::test]
async fn an_answer_is_passed_on() {
    for arm in [SEATBELT, TOWER_RESILIENCE] {
        let seen = attempts_until(&arm, StatusCode::OK).await;
        assert_eq!(seen, (1, true), "{}", arm.name);
    }
}

#[tokio::test]
async fn the_callers_mistake_is_not_tried_again() {
    for arm in [SEATBELT, TOWER_RESILIENCE] {
        let seen = attempts_until(&arm, StatusCode::BAD_REQUEST).await;
        assert_eq!(seen, (1, false), "{}", arm.name);
    }
}

#[tokio::test]
async fn a_failing_server_is_tried_again() {
    let seen = attempts_until(&SEATBELT, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert_eq!(seen, (4, false));
    // The whole leaves room for one more attempt, after 100 ms, but not for the one after 200 ms.
    let seen = attempts_until(&TOWER_RESILIENCE, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert!(matches!(seen, (1..=2, false)), "{seen:?}");
}
