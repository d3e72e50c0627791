//! Without sockets, on paused time.

use axum::body::Body;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service as _;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn work(fault: std::ops::Range<Duration>) -> Arc<Work> {
    let plan = Plan {
        counted_from: Duration::ZERO,
        fault_from: fault.start,
        fault_until: fault.end,
        end: 10 * SECOND,
    };
    Work::new(
        Service::Seeded(1),
        Instant::now(),
        plan,
        Fault { factor: 0.5 },
    )
}

async fn request(router: &Router, call: u64, left: Option<&str>) -> StatusCode {
    let mut request = Request::get(format!("/calls/{call}/0"));
    if let Some(left) = left {
        request = request.header(TIME_LEFT, left);
    }
    let request = request.body(Body::empty()).unwrap();
    router.clone().call(request).await.unwrap().status()
}

/// Starts requests that take every slot, and many more that wait.
fn flood(router: &Router, requests: u64) -> JoinSet<StatusCode> {
    (0..requests)
        .map(|call| {
            let router = router.clone();
            async move { request(&router, call, None).await }
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn naive_work_goes_on_when_its_caller_has_gone() {
    let work = work(SECOND..SECOND);
    let router = router(&work, Handler::GoesOn);
    assert!(
        timeout(Duration::ZERO, request(&router, 0, None))
            .await
            .is_err()
    );
    sleep(SECOND).await;
    assert_eq!((work.finished(), work.wasted()), (1, 1));
    assert_eq!(request(&router, 1, None).await, StatusCode::OK);
    assert_eq!((work.finished(), work.wasted()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn inline_work_ends_with_its_request() {
    let work = work(SECOND..SECOND);
    let router = router(&work, Handler::Inline);
    let mut waiting = flood(&router, 100);
    tokio::task::yield_now().await;
    waiting.shutdown().await;
    assert_eq!(
        (work.finished(), work.slots.available_permits()),
        (0, SLOTS)
    );
    // Those that had a slot were wasted, those that waited for one cost nothing.
    assert_eq!(work.wasted(), SLOTS as u64);
    assert_eq!(request(&router, 0, None).await, StatusCode::OK);
    assert_eq!((work.finished(), work.wasted()), (1, SLOTS as u64));
}

#[tokio::test(start_paused = true)]
async fn expired_work_is_not_started() {
    let work = work(SECOND..SECOND);
    let router = router(&work, Handler::DropExpired);
    let waiting = flood(&router, 100);
    tokio::task::yield_now().await;
    assert_eq!(
        request(&router, 100, Some("1")).await,
        StatusCode::GATEWAY_TIMEOUT
    );
    assert_eq!(request(&router, 101, Some("60000")).await, StatusCode::OK);
    assert!(
        waiting
            .join_all()
            .await
            .iter()
            .all(|status| *status == StatusCode::OK)
    );
    assert_eq!(work.finished(), 101);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_deadline_is_none() {
    let work = work(SECOND..SECOND);
    let router = router(&work, Handler::DropExpired);
    for left in [
        "",
        "soon",
        "-1",
        "99999999999999999999999",
        "18446744073709551615",
    ] {
        assert_eq!(
            request(&router, 0, Some(left)).await,
            StatusCode::OK,
            "`{left}`"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let work = work(SECOND..SECOND);
    let router = router(&work, Handler::bounded_queue(50));
    let answers = flood(&router, 100).join_all().await;
    let refused = answers
        .iter()
        .filter(|status| **status == StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.count(), 100 - 50 - SLOTS);
    assert_eq!(request(&router, 0, None).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_fault_slows_what_begins_in_it_and_is_witnessed() {
    let work = work(SECOND..2 * SECOND);
    let router = router(&work, Handler::GoesOn);
    let mut times = Vec::new();
    for begin in [0, 1, 2] {
        tokio::time::sleep_until(work.start + begin * SECOND).await;
        let from = Instant::now();
        request(&router, 7, None).await;
        times.push(from.elapsed().as_millis());
    }
    assert_eq!(work.slowed(), 1);
    assert_eq!(times[0], times[2]);
    // Timers are rounded up to a millisecond.
    assert!(times[1].abs_diff(2 * times[0]) <= 1, "{times:?}");
}
