//! A copy over HTTP.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use backstay_replica::{Ended, Event, Feed, HttpSource, MaxAge, ReadError, Replica, Version};
use backstay_store::{Batch, Expected, MemoryStore, Store};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_service::Service;

use super::world::{Heard, MS, S};

/// A server of a store that can be made another's, or stuck.
#[derive(Clone)]
pub(crate) struct Server {
    store: Arc<Mutex<Store>>,
    feed: Arc<Mutex<Feed>>,
    is_stuck: watch::Sender<bool>,
    asked: Arc<AtomicUsize>,
    /// Each answer is so late, in milliseconds.
    late: Arc<AtomicUsize>,
    address: SocketAddr,
    task: Arc<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn new() -> Self {
        let store = MemoryStore::new().into_store();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Self {
            feed: Arc::new(Mutex::new(Feed::new(store.clone(), "k/"))),
            store: Arc::new(Mutex::new(store)),
            is_stuck: watch::Sender::new(false),
            asked: Arc::default(),
            late: Arc::default(),
            address: listener.local_addr().expect("it is bound"),
            task: Arc::new(tokio::spawn(async {})),
        };
        let app = Router::new().fallback(answer).with_state(server.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("it serves");
        });
        Self {
            task: Arc::new(task),
            ..server
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub(crate) fn store(&self) -> Store {
        self.store.lock().expect("nobody panics").clone()
    }

    async fn put(&self, key: &str, value: u32) -> u64 {
        put(&self.store(), key, value).await
    }

    pub(crate) fn replace(&self, store: Store) {
        *self.feed.lock().expect("nobody panics") = Feed::new(store.clone(), "k/");
        *self.store.lock().expect("nobody panics") = store;
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_stuck.send_replace(is_cut);
    }

    pub(crate) fn late(&self, time: Duration) {
        let late = usize::try_from(time.as_millis()).expect("a time");
        self.late.store(late, SeqCst);
    }

    pub(crate) fn end(&self) {
        self.task.abort();
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    async fn copy(&self, heard: &Heard) -> Replica<String, u32> {
        let source = HttpSource::new(&self.url()).expect("a URL");
        let builder = Replica::builder(source)
            .heartbeat(S(2))
            .on_event(heard.hear());
        builder
            .build()
            .expect("options")
            .start()
            .await
            .expect("a copy")
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    server.asked.fetch_add(1, SeqCst);
    let mut stuck = server.is_stuck.subscribe();
    stuck
        .wait_for(|stuck| !*stuck)
        .await
        .expect("the server goes on");
    let mut feed = server.feed.lock().expect("nobody panics").clone();
    let answer = feed.call(request).await.expect("it can't fail");
    // An answer that is late: it was true when it was given.
    stuck
        .wait_for(|stuck| !*stuck)
        .await
        .expect("the server goes on");
    let late = server.late.load(SeqCst);
    tokio::time::sleep(MS(u64::try_from(late).expect("a time"))).await;
    answer.map(Body::new)
}

async fn put(store: &Store, key: &str, value: u32) -> u64 {
    let batch = Batch::new().put(format!("k/{key}"), value.to_string());
    store.commit(batch).await.expect("a commit").position.get()
}

fn value(copy: &Replica<String, u32>, key: &str) -> Option<u32> {
    copy.peek(key).expect("a reading").value.as_deref().copied()
}

async fn at_least(copy: &Replica<String, u32>, number: u64, key: &str) -> Option<u32> {
    let version = copy.version().expect("a copy").at(number);
    let max_age = MaxAge::ANY.wait(S(20));
    let reading = copy.at_least(version, key, max_age).await;
    reading.expect("it is followed").value.as_deref().copied()
}

/// REP-3: keys come page after page, then their changes as they are made, deletes too.
#[tokio::test]
async fn keys_are_copied_and_followed() {
    let server = Server::new().await;
    for number in 0..1_050 {
        server.put(&format!("{number:04} ä&/"), number).await;
    }
    let heard = Heard::default();
    let copy = server.copy(&heard).await;
    assert_eq!(copy.len(), 1_050);
    assert_eq!(value(&copy, "0007 ä&/"), Some(7));

    let number = server.put("new", 1).await;
    assert_eq!(at_least(&copy, number, "new").await, Some(1));
    let gone = Batch::new().delete("k/new", Expected::Any);
    let number = server
        .store()
        .commit(gone)
        .await
        .expect("a commit")
        .position
        .get();
    assert_eq!(at_least(&copy, number, "new").await, None);
    assert_eq!(heard.synced().len(), 1);
    copy.stop().await;
    server.task.abort();
}

/// REP-1: the age counts from before the question, however late the answer is.
#[tokio::test]
async fn the_age_counts_from_before_the_question() {
    let server = Server::new().await;
    server.put("a", 1).await;
    server.late.store(300, SeqCst);
    let copy = server.copy(&Heard::default()).await;
    for _ in 0..20 {
        let age = copy.peek("a").expect("a reading").age;
        assert!(age >= MS(300), "{age:?}");
        tokio::time::sleep(MS(100)).await;
    }
    // Also that of a question of one's own.
    let young = copy.get("a", MaxAge::millis(250)).await;
    assert!(matches!(young, Err(ReadError::Stale { .. })), "{young:?}");
}

/// REP-1, REP-2: who asks for a younger copy than the long poll gives gets it, by a question of its own, and the age counts from
/// before that.
#[tokio::test]
async fn a_younger_copy_is_asked_for() {
    let server = Server::new().await;
    server.put("a", 1).await;
    let copy = server.copy(&Heard::default()).await;
    let asked = server.asked();
    for _ in 0..5 {
        let reading = copy
            .get("a", MaxAge::millis(100).wait(S(20)))
            .await
            .expect("a reading");
        assert!(reading.age <= MS(100));
        assert_eq!(reading.value.as_deref(), Some(&1));
        tokio::time::sleep(MS(150)).await;
    }
    assert!(server.asked() >= asked + 5);
}

/// REP-4: with nothing to tell the server waits, and its answers keep the copy young; a server that says nothing is given
/// up, its late answer is not taken, and the copy gets older meanwhile.
#[tokio::test]
async fn a_stuck_server_is_given_up() {
    let server = Server::new().await;
    server.put("a", 1).await;
    let heard = Heard::default();
    let copy = server.copy(&heard).await;
    let asked = server.asked();
    tokio::time::sleep(S(3)).await;
    assert!(server.asked() - asked <= 5, "{}", server.asked() - asked);
    assert!(heard.ends().is_empty(), "{:?}", heard.ends());
    assert!(copy.age().expect("a copy") <= S(4));

    server.is_stuck.send_replace(true);
    let is_silent = || {
        heard
            .ends()
            .iter()
            .any(|end| matches!(end, Ended::Silent { .. }))
    };
    timeout(S(60), until(is_silent))
        .await
        .expect("it is given up");
    assert!(copy.age().expect("a copy") >= S(5));
    let stale = copy.get("a", MaxAge::secs(1)).await;
    assert!(stale.is_err(), "{stale:?}");
    let number = server.put("a", 2).await;
    server.is_stuck.send_replace(false);
    assert_eq!(at_least(&copy, number, "a").await, Some(2));
}

/// REP-3: a store that was restored from a backup begins another epoch, which the copy follows, though its numbers are lower.
#[tokio::test]
async fn a_restored_server_is_followed() {
    let server = Server::new().await;
    server.put("a", 1).await;
    server.put("a", 2).await;
    server.put("b", 3).await;
    let heard = Heard::default();
    let copy = server.copy(&heard).await;
    let before = copy.version().expect("a copy");

    // Of the time before the second write, with the same epoch.
    let backup = MemoryStore::new().into_store();
    let epoch = Batch::new().put("backstay/replica/epoch", before.epoch.to_string());
    backup.commit(epoch).await.expect("a commit");
    put(&backup, "a", 1).await;
    server.replace(backup);

    let is_changed = || {
        let all = heard.all();
        all.iter()
            .any(|event| matches!(event, Event::EpochChanged { .. }))
    };
    timeout(S(60), until(is_changed))
        .await
        .expect("another epoch");
    let version = copy.version().expect("a copy");
    assert!(
        version > before && version.epoch > before.epoch,
        "{before} {version}"
    );
    assert_eq!((value(&copy, "a"), value(&copy, "b")), (Some(1), None));
}

/// REP-3: whoever claims to hold what nobody can hold does not bring the server to its last epoch.
#[tokio::test]
async fn a_wild_claim_changes_nothing() {
    let store = MemoryStore::new().into_store();
    put(&store, "a", 1).await;
    let mut feed = Feed::new(store, "k/");
    let first = tag(&mut feed, "").await;
    for wild in [
        format!("\"{}.1\"", u64::MAX),
        "\"x\"".to_owned(),
        "*".to_owned(),
    ] {
        assert_eq!(tag(&mut feed, &wild).await, first);
    }
}

async fn tag(feed: &mut Feed, claim: &str) -> String {
    let request = http::Request::get("/")
        .header("if-none-match", claim)
        .body(())
        .expect("a request");
    let answer = feed.call(request).await.expect("it can't fail");
    answer.headers()["etag"].to_str().expect("text").to_owned()
}

/// docs/formats.md: what a server answers.
#[tokio::test]
async fn answers_read_as_documented() {
    let store = MemoryStore::new().into_store();
    let epoch = Batch::new().put("backstay/replica/epoch", "1700000000000");
    store.commit(epoch).await.expect("a commit");
    put(&store, "a", 7).await;
    let mut feed = Feed::new(store.clone(), "k/");
    let ask = async |feed: &mut Feed, claim: Option<&str>, method: &str| {
        let mut request = http::Request::builder().method(method).uri("/keys");
        if let Some(claim) = claim {
            request = request.header("if-none-match", claim);
        }
        let answer = feed
            .call(request.body(()).expect("a request"))
            .await
            .expect("it can't fail");
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        assert_eq!(parts.headers["cache-control"], "no-store");
        (
            parts.status.as_u16(),
            String::from_utf8(body.to_vec()).expect("text"),
        )
    };
    let page =
        r#"{"epoch":1700000000000,"began":2,"page":[{"key":"a","number":2,"value":"Nw=="}]}"#;
    assert_eq!(ask(&mut feed, None, "GET").await, (200, page.to_owned()));
    let held = "\"1700000000000.2\"";
    assert_eq!(
        ask(&mut feed, Some(held), "GET").await,
        (304, String::new())
    );
    let gone = Batch::new().delete("k/a", Expected::Any);
    store.commit(gone).await.expect("a commit");
    let changes = r#"{"epoch":1700000000000,"after":2,"upto":3,"all":true,"changes":[{"key":"a","number":3}]}"#;
    assert_eq!(
        ask(&mut feed, Some(held), "GET").await,
        (200, changes.to_owned())
    );
    assert_eq!(ask(&mut feed, None, "POST").await.0, 405);
    assert_eq!(Version::new(1, 2).to_string(), "1.2");
}

/// REP-3: what is no answer ends the session, and what is no URL is refused.
#[tokio::test]
async fn what_is_no_answer_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    let app = Router::new().fallback(|| async { "hello" });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let heard = Heard::default();
    let source = HttpSource::<String, u32>::new(&url).expect("a URL");
    let builder = Replica::builder(source).on_event(heard.hear());
    let copy = builder.build().expect("options").spawn();
    let has_ended = || !heard.ends().is_empty();
    timeout(S(20), until(has_ended))
        .await
        .expect("it has ended");
    assert_eq!(copy.version(), None);
    let refused = |url: &str| {
        HttpSource::<String, u32>::new(url)
            .expect_err("no URL")
            .to_string()
    };
    assert_eq!(
        refused("https://a/"),
        "url = https://a/: must begin with http://; `with_client` takes a client that speaks TLS"
    );
    assert!(refused("/keys").starts_with("url = /keys: must be a URL"));
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
