//! What a server of a store's keys does for those who copy them.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use backstay_replica::{Feed, HttpSource, Replica};
use backstay_store::{Batch, Between, MemoryStore, Pending, Put, Store, TestClock, Timestamp};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower_service::Service;

use super::world::{Heard, MS, S};

const EPOCH: &str = "backstay/replica/epoch";

/// A store that can go back, takes its time, and counts what it is asked.
#[derive(Clone, Debug)]
struct Asked(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: MemoryStore,
    backup: MemoryStore,
    has_gone_back: AtomicBool,
    asked: AtomicUsize,
}

impl Asked {
    fn new() -> Self {
        Self(Arc::new(Shared {
            store: MemoryStore::new(),
            backup: MemoryStore::new(),
            has_gone_back: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        }))
    }

    fn count(&self) -> usize {
        self.0.asked.load(SeqCst)
    }
}

impl Between for Asked {
    type Below = MemoryStore;

    fn below(&self) -> &MemoryStore {
        if self.0.has_gone_back.load(SeqCst) {
            &self.0.backup
        } else {
            &self.0.store
        }
    }

    fn ask<'s, T, E>(&'s self, asked: Pending<'s, T, E>) -> Pending<'s, T, E>
    where
        T: Send + 's,
        E: From<backstay_store::Unavailable> + Send + 's,
    {
        self.0.asked.fetch_add(1, SeqCst);
        async move {
            sleep(MS(1)).await;
            asked.await
        }
        .boxed()
    }
}

async fn put(store: &Store, key: &str, value: impl Into<Put>) -> u64 {
    let batch = Batch::new().put(key, value);
    store.commit(batch).await.expect("a commit").position.get()
}

struct Answer {
    status: u16,
    tag: String,
    body: serde_json::Value,
}

/// Asks what has changed since a version.
async fn ask(feed: &mut Feed, held: &str, wait: &str) -> Answer {
    let request = http::Request::get("/")
        .header("if-none-match", format!("\"{held}\""))
        .header("prefer", wait);
    let request = request.body(()).expect("a request");
    let answer = feed.call(request).await.expect("it can't fail");
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let tag = parts.headers.get("etag").map(|tag| tag.to_str());
    Answer {
        status: parts.status.as_u16(),
        tag: tag.map_or("", |tag| tag.expect("text")).replace('"', ""),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

/// REP-3: a store that goes back under a server that lives on is copied anew, and is not asked without end afterwards.
#[tokio::test]
async fn a_store_that_goes_back_is_left_in_peace() {
    let asked = Asked::new();
    let store = Store::new(asked.clone());
    put(&store, EPOCH, "1000").await;
    for number in 0..9 {
        put(&store, "k/a", number.to_string()).await;
    }
    let mut feed = Feed::new(store.clone(), "k/");
    let waits = tokio::spawn({
        let mut feed = feed.clone();
        async move { ask(&mut feed, "1000.10", "wait=30").await.tag }
    });
    sleep(MS(100)).await;
    put(&store, "k/a", "9").await;
    assert_eq!(waits.await.expect("no panic"), "1000.11");

    asked.0.has_gone_back.store(true, SeqCst);
    put(&store, EPOCH, "1000").await;
    put(&store, "k/a", "1").await;
    let page = ask(&mut feed, "1000.11", "wait=1").await;
    assert_eq!(page.body["page"][0]["value"], "MQ==");
    let before = asked.count();
    let nothing = ask(&mut feed, &page.tag, "wait=1").await;
    assert_eq!((nothing.status, nothing.tag), (304, page.tag));
    let questions = asked.count() - before;
    assert!(questions < 50, "{questions}");
}

/// REP-3: a store that went back begins another epoch also where this server's clock is far behind the one that began the last.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_behind_hides_no_restore() {
    let store = MemoryStore::new().into_store();
    put(&store, EPOCH, "9999999999999").await;
    put(&store, "k/a", "1").await;
    let mut feed = Feed::new(store, "k/");
    let answer = ask(&mut feed, "9999999999999.9", "wait=0").await;
    assert_eq!((answer.status, &answer.tag[..]), (200, "10000000000000.3"));
    assert_eq!(answer.body["page"][0]["key"], "a");
}

/// REP-3: changes that are large come in several answers, each of which brings the copy on.
#[tokio::test(start_paused = true)]
async fn large_changes_come_in_parts() {
    let store = MemoryStore::new().into_store();
    put(&store, EPOCH, "1000").await;
    for key in ["k/a", "k/b", "k/c", "k/d", "k/e"] {
        put(&store, key, vec![b'x'; 500_000]).await;
    }
    let mut feed = Feed::new(store, "k/");
    let mut held = "1000.1".to_owned();
    let mut parts = Vec::new();
    loop {
        let answer = ask(&mut feed, &held, "wait=0").await;
        held = answer.tag;
        let changes = answer.body["changes"].as_array().expect("changes");
        parts.push(changes.len());
        if answer.body["all"] == true {
            break;
        }
    }
    assert_eq!((&parts[..], &held[..]), (&[3, 2][..], "1000.6"));
}

/// REP-5: however many wait, a change costs the store a look or two.
#[tokio::test(start_paused = true)]
async fn who_waits_shares_a_look() {
    let asked = Asked::new();
    let store = Store::new(asked.clone());
    put(&store, EPOCH, "1000").await;
    put(&store, "k/a", "1").await;
    let feed = Feed::new(store.clone(), "k/");
    let mut waits = JoinSet::new();
    for _ in 0..100 {
        let mut feed = feed.clone();
        waits.spawn(async move { ask(&mut feed, "1000.2", "wait=60").await.body });
    }
    sleep(S(1)).await;
    assert!(asked.count() < 40, "{asked:?}");
    sleep(S(1)).await;
    let before = asked.count();
    put(&store, "k/a", "2").await;
    while let Some(body) = waits.join_next().await {
        let body = body.expect("no panic");
        assert_eq!((&body["upto"], &body["all"]), (&3.into(), &true.into()));
        assert_eq!(body["changes"][0]["value"], "Mg==");
    }
    let questions = asked.count() - before;
    assert!(questions < 40, "{questions}");
}

/// REP-1: what has expired is told as gone before anything is proved.
#[tokio::test(start_paused = true)]
async fn what_has_expired_is_told() {
    let clock = TestClock::going_from(Timestamp::from_millis(1_000));
    let store = MemoryStore::with_clock(clock).into_store();
    put(&store, EPOCH, "1000").await;
    put(&store, "k/a", Put::new("1").expires_after(S(10))).await;
    let mut feed = Feed::new(store, "k/");
    assert_eq!(ask(&mut feed, "1000.2", "wait=0").await.status, 304);
    sleep(S(10)).await;
    let answer = ask(&mut feed, "1000.2", "wait=0").await;
    assert_eq!(answer.tag, "1000.3");
    assert_eq!(
        answer.body["changes"],
        serde_json::json!([{"key": "a", "number": 3}])
    );
}

/// REP-1: an answer to another question than the one that was asked proves nothing.
#[tokio::test]
async fn an_answer_to_another_question_proves_nothing() {
    const PAGE: &str = r#"{"epoch":1,"began":1,"page":[]}"#;
    const LATE: &str = r#"{"epoch":1,"after":0,"upto":1,"all":true,"changes":[]}"#;
    for (status, tag, body) in [(304, "\"1.0\"", ""), (304, "", ""), (200, "\"1.1\"", LATE)] {
        let count = Arc::new(AtomicUsize::new(0));
        let app = axum::Router::new().fallback(move || {
            let (status, tag, body) = match count.fetch_add(1, SeqCst) {
                0 => (200, "\"1.1\"", PAGE),
                1 => (304, "W/\"1.1\"", ""),
                _ => (status, tag, body),
            };
            let answer = http::Response::builder().status(status).header("etag", tag);
            let answer = answer
                .body(axum::body::Body::from(body))
                .expect("an answer");
            async move { answer }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let heard = Heard::default();
        let source = HttpSource::<String, u32>::new(&url).expect("a URL");
        let built = Replica::builder(source)
            .heartbeat(MS(200))
            .on_event(heard.hear())
            .build();
        let copy = built.expect("options").start().await.expect("a copy");
        let ended = async {
            while heard.ends().is_empty() {
                sleep(MS(5)).await;
            }
        };
        tokio::time::timeout(S(30), ended).await.expect("it ends");
        let said = heard.ends()[0].to_string();
        assert_eq!(said, "an answer to another question", "{status} {tag}");
        drop(copy);
        server.abort();
    }
}
