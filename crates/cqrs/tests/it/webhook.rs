//! Messages by HTTP, to a real server.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use backstay_call::Pipeline;
use backstay_cqrs::webhook::{Verifier, VerifyError, Webhook};
use backstay_cqrs::{Inbox, Message, Operator, Relay, Relaying, SendError, Taken, Transport};
use backstay_store::sqlite::rusqlite::Connection;
use backstay_store::{Position, SqliteStore, Store, Timestamp};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{Layer, Service};

use crate::world::{Command, commands, file, memory};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const LONG: Duration = Duration::from_secs(60);

/// The other service.
struct Theirs {
    verifier: Verifier,
    inbox: Inbox<SqliteStore>,
    requests: AtomicUsize,
    /// As many requests are not served at the beginning.
    away: usize,
    /// Has this in its data: it is never taken.
    bad: &'static str,
    keys: Mutex<HashSet<String>>,
}

async fn receive(
    State(theirs): State<Arc<Theirs>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), StatusCode> {
    if theirs.requests.fetch_add(1, Ordering::Relaxed) < theirs.away {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let verified = theirs.verifier.verify(&headers, &body);
    let message = verified.map_err(|_| StatusCode::UNAUTHORIZED)?;
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    assert_eq!(key, format!("\"{}\"", message.id));
    theirs.keys.lock().unwrap().insert(key);
    if message.data.get().contains(theirs.bad) {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let (id, key) = (message.id.clone(), message.key.clone());
    let taken = theirs.inbox.take(&message, move |rows| {
        let sql = "INSERT INTO taken (key, id) VALUES (?1, ?2)";
        rows.execute(sql, (&key, &id)).map(drop)
    });
    taken.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(())
}

type Sent = Request<Full<Bytes>>;

/// A client that loses the answer to every third request.
fn lossy()
-> impl Service<Sent, Response = Response<hyper::body::Incoming>, Error = io::Error, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let sent = Arc::new(AtomicUsize::new(0));
    tower::service_fn(move |request: Sent| {
        let (client, number) = (client.clone(), sent.fetch_add(1, Ordering::Relaxed));
        async move {
            let answer = client.request(request).await.map_err(io::Error::other)?;
            if number % 3 == 1 {
                return Err(io::Error::other("the answer is lost"));
            }
            Ok(answer)
        }
    })
}

struct World {
    _folder: tempfile::TempDir,
    theirs: Arc<Theirs>,
    path: std::path::PathBuf,
    url: String,
}

async fn world(away: usize, bad: &'static str) -> World {
    let (folder, store) = file().await;
    let path = store.path().to_owned();
    let sql = "CREATE TABLE taken (number INTEGER PRIMARY KEY, key TEXT, id TEXT)";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let theirs = Arc::new(Theirs {
        verifier: Verifier::new([SECRET]).unwrap(),
        inbox: Inbox::new(&store, "theirs").unwrap(),
        requests: AtomicUsize::new(0),
        away,
        bad,
        keys: Mutex::default(),
    });
    let app: Router = Router::new()
        .route("/messages", post(receive))
        .with_state(theirs.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/messages", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    World {
        _folder: folder,
        theirs,
        path,
        url,
    }
}

impl World {
    fn relay(&self, log: &Store) -> Relaying {
        let pipeline = Pipeline::builder("theirs").build().unwrap();
        let client = pipeline.http().layer(lossy());
        let webhook = Webhook::new(client, &self.url, SECRET).unwrap();
        let relay = Relay::new(log.clone(), "to-them", "account", "/accounts");
        relay.attempts(2).start(webhook).unwrap()
    }

    fn taken(&self, key: &str) -> Vec<String> {
        let rows = Connection::open(&self.path).unwrap();
        let sql = "SELECT id FROM taken WHERE key = ?1 ORDER BY number";
        let mut rows = rows.prepare(sql).unwrap();
        let rows = rows.query_map([key], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

fn ids(key: &str, events: std::ops::RangeInclusive<usize>) -> Vec<String> {
    events.map(|event| format!("{key}/{event}")).collect()
}

/// CQ-5: all arrive once and in order though answers are lost and the other side is away for a while; the key is the same each time.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_http() {
    let world = world(12, "nothing").await;
    let log = memory();
    let accounts = commands(&log);
    let mut last = Position::START;
    for _ in 0..8 {
        for id in ["1", "2", "3"] {
            let done = accounts.execute(id, &Command::Deposit(1)).await.unwrap();
            last = done.position;
        }
    }
    let relaying = world.relay(&log);
    relaying.at_least(last, LONG).await.unwrap();
    for id in ["1", "2", "3"] {
        let key = format!("account/{id}");
        assert_eq!(world.taken(&key), ids(&key, 1..=8));
    }
    let requests = world.theirs.requests.load(Ordering::Relaxed);
    assert!(requests > 24 + 12, "{requests}");
    assert_eq!(world.theirs.keys.lock().unwrap().len(), 24);
}

/// CQ-5: a message that the other side refuses is set aside with what is behind it, and other keys flow.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_side_refuses_is_set_aside() {
    let world = world(0, "666").await;
    let log = memory();
    let accounts = commands(&log);
    let mut last = Position::START;
    for cents in [1, 666, 3] {
        for id in ["1", "2"] {
            let cents = if id == "2" { 1 } else { cents };
            let done = accounts.execute(id, &Command::Deposit(cents)).await;
            last = done.unwrap().position;
        }
    }
    let relaying = world.relay(&log);
    relaying.at_least(last, LONG).await.unwrap();
    assert_eq!(world.taken("account/1"), ids("account/1", 1..=1));
    assert_eq!(world.taken("account/2"), ids("account/2", 1..=3));
    let dead = Operator::new(log).dead("relay:to-them").await.unwrap();
    let dead: Vec<_> = dead
        .iter()
        .map(|dead| (dead.version.get(), dead.error.as_deref()))
        .collect();
    let error = "it was refused: the answer was 422 Unprocessable Entity";
    assert_eq!(dead, [(2, Some(error)), (3, None)]);
}

type Seen = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A client that sends nothing and says that all is well.
fn seen() -> (
    Seen,
    impl Service<Request<Bytes>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static,
) {
    let seen = Seen::default();
    let log = seen.clone();
    let client = tower::service_fn(move |request: Request<Bytes>| {
        log.lock().unwrap().push(request);
        std::future::ready(Ok(Response::new(Body::empty())))
    });
    (seen, client)
}

fn message() -> Message {
    let text = r#"{"specversion":"1.0","id":"a.b/1","source":"/accounts","type":"deposited","subject":"a.b",
        "time":"2026-11-28T10:00:00Z","datacontenttype":"application/json","partitionkey":"a.b",
        "sequence":"1","data":{"cents":1}}"#;
    Message::from_json(text.as_bytes()).unwrap()
}

/// When a request was signed.
fn signed_at(headers: &HeaderMap) -> u64 {
    headers["webhook-timestamp"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// CQ-5: only what is signed with a known secret, as it came and not long ago, is a message.
#[tokio::test]
async fn only_what_is_signed_is_taken() {
    let (seen, client) = seen();
    let webhook = Webhook::new(client, "http://a.test/", SECRET).unwrap();
    webhook.send(&message()).await.unwrap();
    webhook
        .also(NEXT_SECRET)
        .unwrap()
        .send(&message())
        .await
        .unwrap();
    let requests: Vec<_> = std::mem::take(&mut *seen.lock().unwrap());
    let (headers, body) = (requests[0].headers(), requests[0].body());
    assert_eq!(headers["content-type"], "application/cloudevents+json");
    assert_eq!(
        (
            headers["webhook-id"].to_str().unwrap(),
            headers["idempotency-key"].to_str().unwrap()
        ),
        ("a=2Eb/1", "\"a=2Eb/1\"")
    );

    let (old, next) = (
        Verifier::new([SECRET]).unwrap(),
        Verifier::new([NEXT_SECRET]).unwrap(),
    );
    let read = old.verify(headers, body).unwrap();
    assert_eq!((&*read.id, read.data.get()), ("a.b/1", r#"{"cents":1}"#));
    let refused = next.verify(headers, body);
    assert!(
        matches!(refused, Err(VerifyError::Signature)),
        "{refused:?}"
    );
    // While the secret is changed both know what is sent.
    for verifier in [&old, &next, &Verifier::new([SECRET, NEXT_SECRET]).unwrap()] {
        verifier
            .verify(requests[1].headers(), requests[1].body())
            .unwrap();
    }

    let mut changed = body.to_vec();
    *changed.last_mut().unwrap() = b' ';
    let refused = old.verify(headers, &changed);
    assert!(
        matches!(refused, Err(VerifyError::Signature)),
        "{refused:?}"
    );
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut other = headers.clone();
        other.insert(name, "1".parse().unwrap());
        let refused = old.verify(&other, body);
        assert!(
            matches!(refused, Err(VerifyError::Signature)),
            "{name}: {refused:?}"
        );
        other.append(name, headers[name].clone());
        let refused = old.verify(&other, body);
        assert!(
            matches!(refused, Err(VerifyError::Header(_))),
            "{name}: {refused:?}"
        );
        other.remove(name);
        let refused = old.verify(&other, body);
        assert!(
            matches!(refused, Err(VerifyError::Header(_))),
            "{name}: {refused:?}"
        );
    }

    let signed = signed_at(headers);
    for (now, is_taken) in [
        (signed - 301, false),
        (signed - 300, true),
        (signed + 300, true),
        (signed + 301, false),
    ] {
        let now = Timestamp::from_millis(now * 1_000);
        let verified = old.verify_at(headers, body, now);
        assert_eq!(verified.is_ok(), is_taken, "{verified:?}");
        let is_late = matches!(verified, Err(VerifyError::Time { .. }));
        assert_eq!(is_late, !is_taken, "{verified:?}");
    }
}

/// CQ-5: somebody who sends again what he has seen does nothing by it.
#[tokio::test]
async fn a_replayed_request_is_taken_once() {
    let (seen, client) = seen();
    let webhook = Webhook::new(client, "http://a.test/", SECRET).unwrap();
    webhook.send(&message()).await.unwrap();
    let request = seen.lock().unwrap().pop().unwrap();
    let (_folder, store) = file().await;
    let inbox = Inbox::new(&store, "theirs").unwrap();
    let verifier = Verifier::new([SECRET]).unwrap();
    for expected in [Taken::Now(1), Taken::Before] {
        let message = verifier.verify(request.headers(), request.body()).unwrap();
        let taken = inbox.take(&message, |_| Ok::<_, io::Error>(1)).await;
        assert_eq!(taken.unwrap(), expected);
    }
}

/// CQ-5: a client that never answers is not waited for without an end.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_lost() {
    let client = tower::service_fn(|_: Request<Bytes>| {
        std::future::pending::<Result<Response<Body>, Infallible>>()
    });
    let webhook = Webhook::new(client, "http://a.test/", SECRET).unwrap();
    let webhook = webhook.within(Duration::from_secs(7)).unwrap();
    let began = tokio::time::Instant::now();
    let sent = webhook.send(&message()).await;
    assert!(matches!(sent, Err(SendError::Unavailable(_))), "{sent:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(7));
}

/// What can't be a webhook is refused with the reason.
#[test]
fn bad_options_are_refused() {
    let (_, client) = seen();
    for (url, secret) in [
        ("", SECRET),
        ("/messages", SECRET),
        ("http://a.test/", "secret"),
        ("http://a.test/", "whsec_c2hvcnQ="),
    ] {
        assert!(
            Webhook::<_, Bytes>::new(client.clone(), url, secret).is_err(),
            "{url}"
        );
    }
    assert!(Verifier::new(Vec::<String>::new()).is_err());
    let verifier = Verifier::new([SECRET]).unwrap();
    assert!(verifier.tolerance(Duration::ZERO).is_err());
}
