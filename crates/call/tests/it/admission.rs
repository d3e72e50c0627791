//! A server's admission as its user sees it.

mod kit;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use backstay_call::event::{HandlerEnd, Shed};
use backstay_call::{Admission, AdmissionService, Bulkhead, EventKind, Policy, deadline};
use futures_util::FutureExt;
use http::StatusCode;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt};

use kit::{
    Handlers, Heard, MS, Picky, admitted, body, handled, header, request, send, settle, shed,
    summary,
};

/// CALL-18: so many in their handlers, so many waiting; who comes then is refused at once.
#[tokio::test(start_paused = true)]
async fn limit_queue_and_refusal() {
    let admission = Admission::builder().limit(1).queue(1).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let first = send(&app, &[]).await;
    let second = send(&app, &[]).await;
    let state = admission.state();
    assert_eq!((state.in_use, state.waiting, handlers.begun()), (1, 1, 1));

    let third = app.clone().oneshot(request(&[])).await.unwrap();
    assert_eq!(summary(&third), (503, Some("not-executed")));
    assert_eq!(header(&third, "retry-after"), Some("1"));
    assert_eq!(header(&third, "grpc-retry-pushback-ms"), None);

    handlers.go.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap().status(), StatusCode::OK);
    let state = admission.state();
    assert_eq!((state.in_use, state.waiting, handlers.begun()), (0, 0, 2));
}

/// CALL-22: the handler ends at the shorter of the header and the server's own limit, with the effect stated.
#[tokio::test(start_paused = true)]
async fn the_shorter_deadline_wins() {
    let admission = Admission::builder().deadline(MS(500)).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let cases: &[(&[(&str, &str)], u64)] = &[
        (&[], 500),
        (&[("grpc-timeout", "200m")], 200),
        (&[("x-envoy-expected-rq-timeout-ms", "300")], 300),
        (
            &[
                ("x-envoy-expected-rq-timeout-ms", "300"),
                ("grpc-timeout", "200m"),
            ],
            200,
        ),
        (
            &[
                ("x-envoy-expected-rq-timeout-ms", "100"),
                ("grpc-timeout", "200m"),
            ],
            100,
        ),
        (&[("grpc-timeout", "2S")], 500),
        (&[("grpc-timeout", "99999999H")], 500),
        (
            &[("x-envoy-expected-rq-timeout-ms", "99999999999999999999999")],
            500,
        ),
        (&[("grpc-timeout", "-1S")], 500),
        (
            &[
                ("grpc-timeout", "soon"),
                ("x-envoy-expected-rq-timeout-ms", "400"),
            ],
            400,
        ),
        (&[("x-envoy-expected-rq-timeout-ms", "-1")], 500),
    ];
    for (headers, millis) in cases {
        let start = Instant::now();
        let answer = app.clone().oneshot(request(headers)).await.unwrap();
        assert_eq!(summary(&answer), (504, Some("unknown")), "{headers:?}");
        assert_eq!(start.elapsed(), MS(*millis), "{headers:?}");
        assert_eq!(admission.state().in_use, 0);
    }
    assert_eq!(handlers.begun(), cases.len());
}

/// CALL-22: work whose time is up is refused before the handler, even where a permit is free.
#[tokio::test(start_paused = true)]
async fn expired_work_never_begins() {
    let heard = Heard::default();
    let admission = heard.on(Admission::builder()).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let answer = app
        .oneshot(request(&[("grpc-timeout", "0n")]))
        .await
        .unwrap();
    assert_eq!(summary(&answer), (504, Some("not-executed")));
    assert_eq!(handlers.begun(), 0);
    assert_eq!(heard.take(), [shed(Shed::Expired)]);
}

/// CALL-18, CALL-22: the wait counts against the deadline, and ends with it.
#[tokio::test(start_paused = true)]
async fn the_wait_is_charged_to_the_deadline() {
    let heard = Heard::default();
    let admission = heard
        .on(Admission::builder().limit(1).queue(2))
        .build()
        .unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let first = send(&app, &[]).await;
    let start = Instant::now();
    let second = send(&app, &[("grpc-timeout", "300m")]).await;
    let third = send(&app, &[("grpc-timeout", "400m")]).await;
    let second = second.await.unwrap().unwrap();
    assert_eq!(summary(&second), (503, Some("not-executed")));
    assert_eq!(start.elapsed(), MS(300));
    handlers.go.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    let third = third.await.unwrap().unwrap();
    assert_eq!(summary(&third), (504, Some("unknown")));
    assert_eq!(start.elapsed(), MS(400));
    let (answered, timed_out) = (HandlerEnd::Answered, HandlerEnd::TimedOut);
    assert_eq!(
        heard.take(),
        [
            admitted(0),
            shed(Shed::TooLate),
            handled(answered, 300),
            admitted(300),
            handled(timed_out, 100),
        ]
    );
}

/// CALL-18: a full gate says when to come back, in whole seconds rounded up.
#[tokio::test(start_paused = true)]
async fn retry_after_is_the_expected_wait() {
    let admission = Admission::builder().limit(1).queue(1).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    // One handler of 1.6 s teaches the gate how long a permit is held: it had refused somebody meanwhile.
    let first = send(&app, &[]).await;
    let second = send(&app, &[("grpc-timeout", "1S")]).await;
    let refused = app.clone().oneshot(request(&[])).await.unwrap();
    assert_eq!(header(&refused, "retry-after"), Some("1"));
    assert_eq!(second.await.unwrap().unwrap().status(), 503);
    sleep(MS(600)).await;
    handlers.go.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);

    let _first = send(&app, &[]).await;
    let _second = send(&app, &[]).await;
    // Two go before a newcomer, 1.6 s each.
    let refused = app.clone().oneshot(request(&[])).await.unwrap();
    assert_eq!(header(&refused, "retry-after"), Some("4"));
    // And who hasn't that much time is not queued at all.
    let refused = app
        .oneshot(request(&[("grpc-timeout", "1S")]))
        .await
        .unwrap();
    assert_eq!(summary(&refused), (503, Some("not-executed")));
}

/// CALL-18: a request dropped in the queue frees its place, also when its turn had just come.
#[tokio::test(start_paused = true)]
async fn a_request_dropped_in_the_queue_passes_its_turn_on() {
    let heard = Heard::default();
    let admission = heard
        .on(Admission::builder().limit(1).queue(2))
        .build()
        .unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let first = send(&app, &[]).await;
    let mut second = Box::pin(app.clone().oneshot(request(&[])));
    assert!((&mut second).now_or_never().is_none());
    let third = send(&app, &[]).await;
    assert_eq!(admission.state().waiting, 2);

    // The permit comes back and is granted to the second, which isn't polled any more.
    first.abort();
    settle().await;
    assert_eq!(admission.state().waiting, 1);
    assert_eq!(handlers.begun(), 1);
    drop(second);
    settle().await;
    assert_eq!((admission.state().waiting, handlers.begun()), (0, 2));
    handlers.go.add_permits(1);
    assert_eq!(third.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(
        heard.take(),
        [
            admitted(0),
            handled(HandlerEnd::CallerGone, 0),
            shed(Shed::CallerGone),
            admitted(0),
            handled(HandlerEnd::Answered, 0),
        ]
    );

    // One that waits and is dropped makes room.
    let _first = send(&app, &[]).await;
    let second = send(&app, &[]).await;
    let _third = send(&app, &[]).await;
    second.abort();
    settle().await;
    assert_eq!(admission.state().waiting, 1);
    let _fourth = send(&app, &[]).await;
    assert_eq!(admission.state().waiting, 2);
}

/// CALL-22: a turn that is noticed after the deadline does not reach the handler.
#[tokio::test(start_paused = true)]
async fn a_late_turn_is_refused() {
    let heard = Heard::default();
    let admission = heard.on(Admission::builder().limit(1)).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let first = send(&app, &[]).await;
    let mut second = Box::pin(app.oneshot(request(&[("grpc-timeout", "100m")])));
    assert!((&mut second).now_or_never().is_none());
    advance(MS(99)).await;
    first.abort();
    settle().await;
    assert_eq!(
        (admission.state().in_use, admission.state().waiting),
        (1, 0)
    );
    advance(MS(1)).await;
    assert_eq!(summary(&second.await.unwrap()), (503, Some("not-executed")));
    assert_eq!((handlers.begun(), admission.state().in_use), (1, 0));
    let gone = handled(HandlerEnd::CallerGone, 99);
    assert_eq!(heard.take(), [admitted(0), gone, shed(Shed::TooLate)]);
}

/// CALL-18: a request dropped in its handler gives its permit back.
#[tokio::test(start_paused = true)]
async fn a_request_dropped_in_its_handler_frees_the_permit() {
    let heard = Heard::default();
    let admission = heard
        .on(Admission::builder().limit(1).queue(0))
        .build()
        .unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let first = send(&app, &[]).await;
    sleep(MS(70)).await;
    first.abort();
    settle().await;
    assert_eq!(admission.state().in_use, 0);
    assert_eq!(
        heard.take(),
        [admitted(0), handled(HandlerEnd::CallerGone, 70)]
    );
    let _second = send(&app, &[]).await;
    assert_eq!(handlers.begun(), 2);
}

/// CALL-18: a handler that panics gives its permit back.
#[tokio::test(start_paused = true)]
async fn a_panic_frees_the_permit() {
    let heard = Heard::default();
    let builder = heard.on(Admission::builder().limit(1).queue(0));
    let admission = builder.build().unwrap();
    let app: Router = Router::new()
        .route("/", get(async || -> &'static str { panic!("a bug") }))
        .layer(admission.layer());
    for _ in 0..2 {
        let end = send(&app, &[]).await.await;
        assert!(end.unwrap_err().is_panic());
        assert_eq!(admission.state().in_use, 0);
        let events = [admitted(0), handled(HandlerEnd::Panicked, 0)];
        assert_eq!(heard.take(), events);
    }
}

/// CALL-23: when most arrivals are retries, a refusal says not to retry; both spellings count.
#[tokio::test(start_paused = true)]
async fn a_storm_of_retries_is_told_to_stop() {
    for retry in [
        ("grpc-previous-rpc-attempts", "1"),
        ("x-envoy-attempt-count", "2"),
    ] {
        let admission = Admission::builder().limit(1).queue(0).build().unwrap();
        let handlers = Handlers::new();
        let app = handlers.router(&admission);
        let _first = send(&app, &[]).await;
        let refused = |headers: &[(&str, &str)]| {
            let answer = app.clone().oneshot(request(headers));
            async { answer.await.unwrap() }
        };
        // First attempts, and what can't be read, are no retries: twelve with the one in the handler.
        for first in [
            ("grpc-previous-rpc-attempts", "0"),
            ("x-envoy-attempt-count", "1"),
            ("grpc-previous-rpc-attempts", "-7"),
            ("x-envoy-attempt-count", "many"),
        ] {
            refused(&[first]).await;
        }
        for _ in 0..7 {
            refused(&[]).await;
        }
        for _ in 0..11 {
            let answer = refused(&[retry]).await;
            assert_eq!(header(&answer, "grpc-retry-pushback-ms"), None);
        }
        let answer = refused(&[retry]).await;
        assert_eq!(header(&answer, "grpc-retry-pushback-ms"), Some("-1"));
        assert_eq!(header(&answer, "retry-after"), Some("1"));
        // Two seconds later it is forgotten.
        sleep(Duration::from_secs(3)).await;
        assert_eq!(
            header(&refused(&[retry]).await, "grpc-retry-pushback-ms"),
            None
        );
    }
}

/// CALL-18: exempt requests pass when all is full, and whatever their headers say.
#[tokio::test(start_paused = true)]
async fn exempt_requests_pass() {
    let heard = Heard::default();
    let builder = Admission::builder().limit(1).queue(0);
    let builder = builder.exempt(|_method, uri| uri.path() == "/health");
    let admission = heard.on(builder).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let _first = send(&app, &[]).await;
    assert_eq!(
        app.clone().oneshot(request(&[])).await.unwrap().status(),
        503
    );
    heard.take();
    let mut health = request(&[("grpc-timeout", "0S")]);
    *health.uri_mut() = "/health".parse().unwrap();
    assert_eq!(app.oneshot(health).await.unwrap().status(), StatusCode::OK);
    assert_eq!(heard.take(), []);
}

/// CALL-22: what the handler calls sees the time that is left, after the wait.
#[tokio::test(start_paused = true)]
async fn the_handler_sees_its_deadline() {
    let admission = Admission::builder().limit(1).build().unwrap();
    let handler = async || {
        let before = deadline::remaining();
        sleep(MS(30)).await;
        format!("{before:?} {:?}", deadline::remaining())
    };
    let app = Router::new()
        .route("/", get(handler))
        .layer(admission.layer());
    let first = send(&app, &[]).await;
    let second = send(&app, &[("grpc-timeout", "200m")]).await;
    assert_eq!(body(first.await.unwrap()).await, "Some(10s) Some(9.97s)");
    assert_eq!(body(second.await.unwrap()).await, "Some(170ms) Some(140ms)");
    assert_eq!(deadline::remaining(), None);
}

/// CALL-18, CALL-22: an admission that observes refuses nothing, ends nothing and hands no deadline down.
#[tokio::test(start_paused = true)]
async fn observe_only_changes_nothing() {
    let heard = Heard::default();
    let builder = Admission::builder().limit(1).queue(1).deadline(MS(100));
    let admission = heard.on(builder.observe_only()).build().unwrap();
    let handler = async || {
        let left = deadline::remaining();
        sleep(MS(150)).await;
        sleep(MS(150)).await;
        format!("{left:?}")
    };
    let app = Router::new()
        .route("/", get(handler))
        .layer(admission.layer());
    let first = send(&app, &[]).await;
    let second = send(&app, &[]).await;
    assert_eq!(admission.state().waiting, 0);
    let third = send(&app, &[("grpc-timeout", "0S")]).await;
    for task in [first, second, third] {
        assert_eq!(body(task.await.unwrap()).await, "None");
    }
    let observed = |policy| EventKind::Observed { policy };
    let events = heard.take();
    assert_eq!(
        events[..5],
        [
            admitted(0),
            observed(Policy::Bulkhead),
            admitted(0),
            observed(Policy::Deadline),
            admitted(0),
        ]
    );
    // The third had been reported when it came.
    let deadlines = events[5..]
        .iter()
        .filter(|event| **event == observed(Policy::Deadline));
    assert_eq!(deadlines.count(), 2);
    let answered = handled(HandlerEnd::Answered, 300);
    assert_eq!(
        events[5..]
            .iter()
            .filter(|event| **event == answered)
            .count(),
        3
    );
    assert_eq!(events.len(), 10);
    assert_eq!(admission.state().in_use, 0);
}

/// CALL-18: more permits reach those who wait; fewer hurt nobody.
#[tokio::test(start_paused = true)]
async fn limits_change_while_requests_run() {
    let admission = Admission::builder().limit(1).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let _first = send(&app, &[]).await;
    let _second = send(&app, &[]).await;
    assert_eq!(handlers.begun(), 1);
    admission.reconfigure(Bulkhead::limit(2).queue(1)).unwrap();
    settle().await;
    assert_eq!(handlers.begun(), 2);
    assert!(admission.reconfigure(Bulkhead::limit(0)).is_err());
    assert_eq!(admission.state().limit, 2);
    admission.reconfigure(Bulkhead::limit(1)).unwrap();
    assert_eq!((admission.state().limit, admission.state().in_use), (1, 2));
}

/// CALL-18: options out of range are refused with their name and value.
#[test]
fn options_are_checked() {
    let builder = Admission::builder;
    for (bad, text) in [
        (
            builder().limit(0),
            "admission.limit = 0: must be in 1..=1000000",
        ),
        (
            builder().queue(1_000_001),
            "admission.queue = 1000001: must be in 0..=1000000",
        ),
        (
            builder().deadline(Duration::ZERO),
            "deadline = 0ns: must be in 1ms..=86400s",
        ),
        (builder().name(""), "name = \"\": must have 1 to 100 bytes"),
    ] {
        assert_eq!(bad.build().unwrap_err().to_string(), text);
    }
    let state = builder().limit(7).build().unwrap().state();
    assert_eq!((state.limit, state.queue), (7, 56));
}

/// CALL-18: the instance that said it is ready handles the request, after the wait, and is asked once for each.
#[tokio::test(start_paused = true)]
async fn the_ready_instance_is_called() {
    let admission = Admission::builder().limit(1).queue(2).build().unwrap();
    let service: AdmissionService<Picky> = admission.layer().layer(Picky { ready: false });
    let tasks: Vec<_> = (0..3)
        .map(|_| tokio::spawn(service.clone().oneshot(request(&[]))))
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    let mut one = service;
    for _ in 0..2 {
        let answer = one.ready().await.unwrap().call(request(&[])).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}
