//! What is left by a server that is killed between two steps.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use backstay_store::sqlite::rusqlite::Transaction;
use backstay_store::{Batch, SqliteStore, TestClock};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::ServiceExt;

use crate::ground::{A_MINUTE, START};
use crate::http::{Got, got};
use crate::process::{Process, app, open};

fn request(to: &str) -> Request<Body> {
    let request = Request::post(to).header("idempotency-key", "\"k\"");
    request.body(Body::from("tea")).unwrap()
}

async fn send(app: &Router, path: &str) -> Got {
    got(app.clone().oneshot(request(path)).await.unwrap()).await
}

async fn effects(store: &SqliteStore) -> i64 {
    let count = |rows: &Transaction<'_>| {
        let sql = "SELECT (SELECT count(*) FROM charges) + (SELECT count(*) FROM elsewhere)";
        rows.query_row(sql, [], |row| row.get(0))
    };
    let counted = store.commit_with(Batch::new(), count).await;
    counted.unwrap().output.unwrap()
}

/// What the first try after the kill gets, before anybody may take over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// Nothing was begun, or nothing of it is left.
    Runs,
    /// Nobody knows yet that the owner is dead.
    Waits,
    Replays,
}

/// IDE-3: a server killed between any two steps, then a retry: the effect is there once, and the answer is that of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_at_any_step_does_it_once() {
    use Then::{Replays, Runs, Waits};
    for (path, step, then) in [
        ("/together", "arrived", Runs),
        ("/together", "claimed", Waits),
        ("/together", "in the transaction", Waits),
        ("/together", "committed", Replays),
        ("/together", "before the reply", Replays),
        ("/elsewhere", "arrived", Runs),
        ("/elsewhere", "claimed", Waits),
        ("/elsewhere", "committed", Waits),
        ("/elsewhere", "before the reply", Replays),
        ("/run", "in the transaction", Runs),
        ("/run", "committed", Replays),
        ("/run", "before the reply", Replays),
    ] {
        let case = format!("{path} {step}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        let mut process = Process::start(&file, step);
        let url = format!("http://127.0.0.1:{}{path}", process.port);
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let asked = tokio::spawn(client.request(request(&url)));
        process.wait_for(&format!("at {step}"));
        process.kill();
        assert!(asked.await.unwrap().is_err(), "{case}: nobody answers");

        let clock = TestClock::at(START);
        let store = open(&file, clock.clone()).await;
        let app = app(store.clone());
        let mut first = send(&app, path).await;
        if then == Waits {
            assert_eq!(first.problem().1, "still-running", "{case}");
            clock.advance(A_MINUTE);
            first = send(&app, path).await;
        }
        assert_eq!(
            (first.status, &first.body[..]),
            (201, &b"charged"[..]),
            "{case}"
        );
        assert_eq!(first.replayed, then == Replays, "{case}");
        let again = send(&app, path).await;
        assert_eq!(
            (again.status, &again.body[..], again.replayed),
            (201, &b"charged"[..], true),
            "{case}"
        );
        assert_eq!(effects(&store).await, 1, "{case}");
    }
}

/// IDE-3: a server that is killed after its reply has kept what it said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_kept() {
    for path in ["/together", "/elsewhere", "/run"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        let process = Process::start(&file, "");
        let url = format!("http://127.0.0.1:{}{path}", process.port);
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let first = client.request(request(&url)).await.unwrap();
        let first = first.into_body().collect().await.unwrap().to_bytes();
        process.kill();
        let store = open(&file, TestClock::at(START)).await;
        let again = send(&app(store.clone()), path).await;
        assert_eq!((&again.body, again.replayed), (&first, true), "{path}");
        assert_eq!(effects(&store).await, 1, "{path}");
    }
}
