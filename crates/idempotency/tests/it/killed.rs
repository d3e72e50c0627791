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

const EFFECTS: &str = "SELECT (SELECT count(*) FROM charges) + (SELECT count(*) FROM elsewhere)";
const KEYS: &str = "SELECT count(DISTINCT key) FROM elsewhere";

async fn count(store: &SqliteStore, sql: &'static str) -> i64 {
    let count = move |rows: &Transaction<'_>| rows.query_row(sql, [], |row| row.get(0));
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

/// IDE-3: a server killed between any two steps, then a retry: the effect is there once, and the answer is that of it. Only an
/// effect elsewhere, with the kill between it and its answer, is there once more for the take-over, under the same key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_at_any_step() {
    use Then::{Replays, Runs, Waits};
    for (path, step, then, effects) in [
        ("/together", "arrived", Runs, 1),
        ("/together", "claimed", Waits, 1),
        ("/together", "in the transaction", Waits, 1),
        ("/together", "committed", Replays, 1),
        ("/together", "before the reply", Replays, 1),
        ("/elsewhere", "arrived", Runs, 1),
        ("/elsewhere", "claimed", Waits, 1),
        ("/elsewhere", "committed", Waits, 2),
        ("/elsewhere", "before the reply", Replays, 1),
        ("/run", "in the transaction", Runs, 1),
        ("/run", "committed", Replays, 1),
        ("/run", "before the reply", Replays, 1),
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
        assert_eq!(count(&store, EFFECTS).await, effects, "{case}");
        let keys = i64::from(path == "/elsewhere");
        assert_eq!(count(&store, KEYS).await, keys, "{case}");
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
        assert_eq!(count(&store, EFFECTS).await, 1, "{path}");
    }
}
