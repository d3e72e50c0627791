//! Copies of keys in etcd.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use backstay_etcd::{Client, Failure, codes};
use backstay_replica::conformance::{Subject, Way};
use backstay_replica::etcd::BoxError;
use backstay_replica::{Codec, EtcdSource, Replica, Source};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use test_servers::{OwnServer, Proxy, own_name};
use tokio::sync::Mutex;
use tokio::time::sleep;
use tower_service::Service;

use super::{address, set, through};

/// A cluster of one member, and a way to it.
pub(super) struct Etcd {
    direct: Client,
    by_way: String,
    proxy: Proxy,
    prefix: String,
    own: Mutex<Option<OwnServer>>,
}

impl Etcd {
    async fn new() -> Option<Self> {
        Some(Self::at(&test_servers::etcd()?, None).await)
    }

    async fn own() -> Option<Self> {
        let own = OwnServer::etcd()?.start().await;
        Some(Self::at(&own.url.clone(), Some(own)).await)
    }

    pub(super) async fn at(url: &str, own: Option<OwnServer>) -> Self {
        let proxy = Proxy::to(address(url)).await;
        Self {
            direct: Client::plain(vec![url.to_owned()]).expect("an address"),
            by_way: through(&proxy, url),
            proxy,
            prefix: own_name(),
            own: Mutex::new(own),
        }
    }

    async fn ask(&self, path: &str, question: Value) -> u64 {
        // Again and again, while the member is away.
        let answer = loop {
            match self.direct.ask::<Value>(path, &question, 64 * 1024).await {
                Ok(answer) => break answer,
                Err(Failure::Refused { code, message }) if code != codes::UNAVAILABLE => {
                    panic!("{message}")
                }
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        let revision = answer["header"]["revision"].as_str().expect("a revision");
        revision.parse().expect("a number")
    }

    fn key(&self, key: &str) -> String {
        STANDARD.encode(format!("{}/{key}", self.prefix))
    }

    async fn write(&self, key: &str, value: &str) -> u64 {
        let question = json!({"key": self.key(key), "value": STANDARD.encode(value)});
        self.ask("kv/put", question).await
    }
}

impl Subject for Etcd {
    fn source(&self) -> Arc<dyn Source<String, u32>> {
        let prefix = format!("{}/k/", self.prefix);
        Arc::new(EtcdSource::new([&self.by_way], prefix).expect("an address"))
    }

    fn put<'s>(&'s self, key: &'s str, value: Option<u32>) -> BoxFuture<'s, u64> {
        async move {
            let key = format!("k/{key}");
            if let Some(value) = value {
                return self.write(&key, &value.to_string()).await;
            }
            let question = json!({"key": self.key(&key)});
            self.ask("kv/deleterange", question).await
        }
        .boxed()
    }

    fn spoil<'s>(&'s self, key: &'s str) -> BoxFuture<'s, ()> {
        async move {
            self.write(&format!("k/{key}"), "no number").await;
        }
        .boxed()
    }

    fn put_aside(&self) -> BoxFuture<'_, u64> {
        self.write("other", "1").boxed()
    }

    fn way(&self, way: Way) {
        set(&self.proxy, way);
    }

    /// Compacts, so that no watch can begin before.
    fn forget(&self) -> BoxFuture<'_, ()> {
        async {
            let now = self.put_aside().await;
            let question = json!({"revision": now.to_string(), "physical": true});
            self.ask("kv/compaction", question).await;
        }
        .boxed()
    }

    /// The same members, and so the same cluster by its id, with nothing in it.
    fn begin_anew(&self) -> BoxFuture<'_, ()> {
        async {
            let mut own = self.own.lock().await;
            let mut server = own.take().expect("a server of its own");
            server.kill();
            server.forget();
            *own = Some(server.start().await);
        }
        .boxed()
    }
}

backstay_replica::conformance!(
    match Etcd::new().await {
        Some(etcd) => etcd,
        None => return,
    };
    a_snapshot_is_whole,
    changes_are_followed,
    what_is_left_out_moves_the_version,
    nothing_new_is_proved,
    an_age_counts_from_before_the_question,
    a_session_goes_on_after_a_cut,
    much_changes_during_a_cut,
    what_is_forgotten_is_gone,
    what_can_not_be_read_ends_the_session,
    every_age_is_true,
);

/// An etcd whose watch never begins, or that does not tell of each second change.
struct Watched {
    etcd: Etcd,
    is_lossy: bool,
}

impl Watched {
    async fn new(is_lossy: bool) -> Option<Self> {
        let etcd = Etcd::new().await?;
        Some(Self { etcd, is_lossy })
    }

    /// Nobody else writes there, so that no later revision makes good what was lost.
    async fn own(is_lossy: bool) -> Option<Self> {
        let etcd = Etcd::own().await?;
        Some(Self { etcd, is_lossy })
    }
}

impl Subject for Watched {
    fn source(&self) -> Arc<dyn Source<String, u32>> {
        let client = legacy::Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let badly = Badly {
            client,
            is_lossy: self.is_lossy,
        };
        let prefix = format!("{}/k/", self.etcd.prefix);
        let source = EtcdSource::with_client(badly, [&self.etcd.by_way], prefix);
        Arc::new(source.expect("an address"))
    }

    fn put<'s>(&'s self, key: &'s str, value: Option<u32>) -> BoxFuture<'s, u64> {
        self.etcd.put(key, value)
    }

    fn spoil<'s>(&'s self, key: &'s str) -> BoxFuture<'s, ()> {
        self.etcd.spoil(key)
    }

    fn put_aside(&self) -> BoxFuture<'_, u64> {
        self.etcd.put_aside()
    }

    fn way(&self, way: Way) {
        self.etcd.way(way);
    }

    fn forget(&self) -> BoxFuture<'_, ()> {
        self.etcd.forget()
    }

    fn begin_anew(&self) -> BoxFuture<'_, ()> {
        self.etcd.begin_anew()
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Carries all but watches as they are.
#[derive(Clone)]
struct Badly {
    client: legacy::Client<HttpConnector, Full<Bytes>>,
    is_lossy: bool,
}

impl Service<Request<Full<Bytes>>> for Badly {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let is_watch = request.uri().path().ends_with("/watch");
        if is_watch && !self.is_lossy {
            return async { Err("no watches here".into()) }.boxed();
        }
        let answer = self.client.request(request);
        async move {
            let (parts, body) = answer.await?.into_parts();
            let mut seen = 0;
            let body = body.map_frame(move |frame| {
                frame.map_data(|data| {
                    if is_watch {
                        without_every_second(&data, &mut seen)
                    } else {
                        data
                    }
                })
            });
            let body = body.map_err(BoxError::from).boxed_unsync();
            Ok(Response::from_parts(parts, body))
        }
        .boxed()
    }
}

/// A message in a frame, with the end of its line or without; what is none is let through.
fn without_every_second(data: &Bytes, seen: &mut usize) -> Bytes {
    let Ok(mut message) = serde_json::from_slice::<Value>(data) else {
        return data.clone();
    };
    let events = message.pointer_mut("/result/events");
    if let Some(events) = events.and_then(Value::as_array_mut) {
        events.retain(|_| {
            *seen += 1;
            seen.is_multiple_of(2)
        });
    }
    let end = if data.ends_with(b"\n") { "\n" } else { "" };
    format!("{message}{end}").into()
}

/// REP-1, REP-3: nothing depends on a watch.
mod without_a_watch {
    backstay_replica::conformance!(
        match super::Watched::new(false).await {
            Some(etcd) => etcd,
            None => return,
        };
        changes_are_followed,
        what_is_left_out_moves_the_version,
        nothing_new_is_proved,
        a_session_goes_on_after_a_cut,
        much_changes_during_a_cut,
        what_is_forgotten_is_gone,
        every_age_is_true,
    );
}

/// REP-1, REP-3: what a watch does not tell is known by the next answer.
mod with_a_lossy_watch {
    use backstay_replica::conformance::{Copy, Subject, in_time};

    backstay_replica::conformance!(
        match super::Watched::new(true).await {
            Some(etcd) => etcd,
            None => return,
        };
        every_age_is_true,
    );

    /// REP-3: a change that the watch lost, under a version that it told, is in the copy by the next proof.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_it_lost_is_found() {
        let Some(etcd) = super::Watched::own(true).await else {
            return;
        };
        in_time(async {
            for key in ["a", "b", "c"] {
                etcd.put(key, Some(0)).await;
            }
            let copy = Copy::of(&etcd).await;
            for value in 1..20 {
                etcd.put("a", (value % 3 > 0).then_some(value)).await;
                etcd.put("b", (value % 2 > 0).then_some(value)).await;
                let number = etcd.put("c", Some(value)).await;
                copy.holds(number).await;
                copy.until(|| copy.value("a") == (value % 3 > 0).then_some(value))
                    .await;
                copy.until(|| copy.value("b") == (value % 2 > 0).then_some(value))
                    .await;
            }
        })
        .await;
    }
}

/// REP-3: values that are too large for one answer come in several.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_come_in_smaller_pages() {
    let Some(etcd) = Etcd::new().await else {
        return;
    };
    let large = "x".repeat(1_000_000);
    join_all((0..14).map(|number| {
        let (etcd, large) = (&etcd, &large);
        async move { etcd.write(&format!("k/{number:02}"), large).await }
    }))
    .await;
    let prefix = format!("{}/k/", etcd.prefix);
    let source = EtcdSource::<String, u32>::new([&etcd.by_way], prefix);
    let source = source.expect("an address").codec(Codec::bytes());
    let builder = Replica::builder(source).heartbeat(Duration::from_secs(30));
    let built = builder.ready_within(Duration::from_secs(100)).build();
    let copy = built.expect("options").start().await.expect("a copy");
    assert_eq!(copy.len(), 14);
    let reading = copy.peek("13").expect("a reading");
    assert_eq!(reading.value.map(|value| value.len()), Some(large.len()));
}

/// What can't be an address is refused with the reason.
#[test]
fn bad_addresses_are_refused() {
    let none: [&str; 0] = [];
    let refused = EtcdSource::<String, u32>::new(none, "k/").expect_err("none");
    assert_eq!(refused.field, "endpoints");
    for bad in [
        "",
        "etcd",
        "http://",
        "http://etcd:2379/v3",
        "https://etcd:2379",
    ] {
        let refused = EtcdSource::<String, u32>::new([bad], "k/").expect_err(bad);
        assert_eq!((&*refused.field, &*refused.value), ("endpoints", bad));
    }
}

backstay_replica::conformance!(
    match Etcd::own().await {
        Some(etcd) => etcd,
        None => return,
    };
    another_history_replaces_this,
);
