//! A service that does what carries a key once, and nothing that was undone before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// An effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Done,
    Undone,
}

#[derive(Debug, Default)]
struct Books {
    /// In their order: saga, step, what.
    calls: Vec<(String, String, What)>,
    /// Keys and what was answered.
    answers: BTreeMap<String, StatusCode>,
    /// Keys whose call is refused, because it was undone.
    undone: BTreeSet<String>,
}

type Shared = Arc<Mutex<Books>>;

/// The service and its books.
#[derive(Debug)]
pub(super) struct Service {
    address: SocketAddr,
    books: Shared,
    task: JoinHandle<()>,
}

impl Service {
    pub(super) async fn start() -> Self {
        let books = Shared::default();
        let app = Router::new()
            .route("/do/{saga}/{step}", post(done))
            .route("/undo/{saga}/{step}", post(undone))
            .with_state(books.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("it serves");
        });
        Self {
            address,
            books,
            task,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn calls(&self) -> Vec<(String, String, What)> {
        lock(&self.books).calls.clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(books: &Shared) -> MutexGuard<'_, Books> {
    books.lock().expect("nothing in here panics")
}

fn key(headers: &HeaderMap, name: &str) -> String {
    headers[name].to_str().expect("it is text").to_owned()
}

/// On the way there and back.
async fn way() {
    sleep(Duration::from_millis(fastrand::u64(0..4))).await;
}

async fn done(
    State(books): State<Shared>,
    Path((saga, step)): Path<(String, String)>,
    headers: HeaderMap,
) -> StatusCode {
    way().await;
    let answer = {
        let mut books = lock(&books);
        let key = key(&headers, "idempotency-key");
        let is_refused = step == "charge" && saga.parse::<u32>().is_ok_and(|saga| saga % 4 == 0);
        if books.undone.contains(&key) {
            StatusCode::GONE
        } else if let Some(answer) = books.answers.get(&key) {
            *answer
        } else if is_refused {
            StatusCode::CONFLICT
        } else {
            books.answers.insert(key, StatusCode::OK);
            books.calls.push((saga, step, What::Done));
            StatusCode::OK
        }
    };
    way().await;
    answer
}

async fn undone(
    State(books): State<Shared>,
    Path((saga, step)): Path<(String, String)>,
    headers: HeaderMap,
) -> StatusCode {
    way().await;
    {
        let mut books = lock(&books);
        let undoes = key(&headers, "backstay-undoes");
        let was_done = books.answers.contains_key(&undoes);
        if books.undone.insert(undoes) && was_done {
            books.calls.push((saga, step, What::Undone));
        }
    }
    way().await;
    StatusCode::OK
}
