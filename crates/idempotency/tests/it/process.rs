//! A server in a process of its own: this test binary again, told what to do by its environment.

use std::env;
use std::future::pending;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use backstay_idempotency::{Fingerprint, Idempotency, IdempotencyGuard, IdempotencyLayer};
use backstay_store::sqlite::{SqliteOptions, rusqlite};
use backstay_store::{Batch, SqliteStore, TestClock};
use tokio::net::TcpListener;

use crate::ground::START;

const FILE: &str = "BACKSTAY_IDEMPOTENCY_FILE";
const STEP: &str = "BACKSTAY_IDEMPOTENCY_STEP";
/// No process lives for longer, whatever becomes of the test that started it.
const LONGEST: Duration = Duration::from_secs(60);

/// A server that stops at a step and waits there to be killed.
pub(crate) struct Process {
    child: Child,
    lines: io::Lines<BufReader<std::process::ChildStdout>>,
    pub(crate) port: u16,
}

impl Process {
    pub(crate) fn start(file: &Path, step: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "process::process",
                "--nocapture",
                "--test-threads",
                "1",
            ])
            .env(FILE, file)
            .env(STEP, step)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let lines = BufReader::new(out).lines();
        let mut process = Self {
            child,
            lines,
            port: 0,
        };
        process.port = process.wait_for("port ").parse().unwrap();
        process
    }

    /// Waits for a line that begins so, and gives the rest of it.
    pub(crate) fn wait_for(&mut self, begin: &str) -> String {
        for line in self.lines.by_ref() {
            if let Some(rest) = line.unwrap().strip_prefix(begin) {
                return rest.to_owned();
            }
        }
        panic!("the process ended and did not say {begin:?}");
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does. In the tests' own process it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process() {
    let Ok(file) = env::var(FILE) else {
        return;
    };
    let serving = async {
        let store = open(Path::new(&file), TestClock::at(START)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // The harness has begun a line.
        say(&format!("\nport {port}"));
        axum::serve(listener, app(store)).await.unwrap();
    };
    tokio::time::timeout(LONGEST, serving).await.unwrap();
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
}

pub(crate) async fn open(file: &Path, clock: TestClock) -> SqliteStore {
    let store = SqliteOptions::new().clock(clock).open(file).await.unwrap();
    let tables = "CREATE TABLE IF NOT EXISTS charges (id INTEGER PRIMARY KEY);
        CREATE TABLE IF NOT EXISTS elsewhere (key TEXT)";
    let made = store
        .commit_with(Batch::new(), move |rows| rows.execute_batch(tables))
        .await;
    made.unwrap();
    store
}

fn stops_at(step: &str) -> bool {
    env::var(STEP).is_ok_and(|wanted| wanted == step)
}

async fn at(step: &str) {
    if stops_at(step) {
        say(&format!("at {step}"));
        pending::<()>().await;
    }
}

/// The same where nothing can be awaited.
fn at_blocking(step: &str) {
    if stops_at(step) {
        say(&format!("at {step}"));
        loop {
            std::thread::park();
        }
    }
}

/// Three ways to do it once, with a place to stop between every two steps.
pub(crate) fn app(store: SqliteStore) -> Router {
    let layer = IdempotencyLayer::builder(store.clone()).principal(|_| {
        at_blocking("arrived");
        "alice".to_owned()
    });
    Router::new()
        .route("/together", post(together))
        .route("/elsewhere", post(elsewhere))
        .layer(layer.build().unwrap())
        .route("/run", post(run))
        .layer(map_response(async |response: Response| {
            at("before the reply").await;
            response
        }))
        .with_state(store)
}

const INSERT: &str = "INSERT INTO charges DEFAULT VALUES";

/// The handler's rows and its answer are one commit.
async fn together(
    State(store): State<SqliteStore>,
    Extension(guard): Extension<IdempotencyGuard>,
) -> Response {
    at("claimed").await;
    let answer = http::Response::builder()
        .status(201)
        .body("charged")
        .unwrap();
    let batch = guard.answer_in(Batch::new(), &answer).unwrap();
    let done = store
        .commit_with(batch, |rows| {
            rows.execute(INSERT, [])?;
            at_blocking("in the transaction");
            Ok::<_, rusqlite::Error>(())
        })
        .await;
    at("committed").await;
    match done {
        Ok(_) => answer.map(Body::from),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The effect is elsewhere, each time that it is asked for, with the key that it could be told apart by.
async fn elsewhere(
    State(store): State<SqliteStore>,
    Extension(guard): Extension<IdempotencyGuard>,
) -> Response {
    at("claimed").await;
    let key = guard.key().to_owned();
    let insert = "INSERT INTO elsewhere VALUES (?1)";
    let done = store
        .commit_with(Batch::new(), move |rows| rows.execute(insert, [&key]))
        .await;
    at("committed").await;
    done.unwrap();
    (StatusCode::CREATED, "charged").into_response()
}

/// Without a layer.
async fn run(State(store): State<SqliteStore>) -> Response {
    let once = Idempotency::new(store).unwrap();
    let asked = Fingerprint::of_bytes("tea");
    let done = once.run("k", &asked, |rows| {
        rows.execute(INSERT, [])?;
        at_blocking("in the transaction");
        Ok::<_, rusqlite::Error>("charged".to_owned())
    });
    let done = done.await.unwrap();
    at("committed").await;
    let replayed = [("idempotency-replayed", done.replayed.to_string())];
    (StatusCode::CREATED, replayed, done.answer).into_response()
}
