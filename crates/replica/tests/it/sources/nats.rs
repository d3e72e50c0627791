//! Copies of buckets of NATS.

use std::sync::Arc;
use std::time::Duration;

use backstay_replica::conformance::{Copy, Subject, Way, in_time};
use backstay_replica::nats::async_nats::jetstream::stream::{
    Config, DiscardPolicy, Source as Origin,
};
use backstay_replica::nats::async_nats::{self, Client, HeaderMap, jetstream};
use backstay_replica::{MaxAge, NatsSource, Replica, Source};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use test_servers::{Proxy, own_name};
use tokio::select;
use tokio::time::sleep;

use super::{address, set, through};
use crate::world::Heard;

/// A bucket, and a way to its server.
pub(super) struct Nats {
    direct: Client,
    by_way: Client,
    proxy: Proxy,
    bucket: String,
}

impl Nats {
    async fn new() -> Option<Self> {
        let nats = Self::unmade().await?;
        nats.make(&|_| {}).await;
        Some(nats)
    }

    /// Without a bucket.
    async fn unmade() -> Option<Self> {
        Some(Self::at(&test_servers::nats()?).await)
    }

    pub(super) async fn at(url: &str) -> Self {
        let proxy = Proxy::to(address(url)).await;
        let client = async |url: String| async_nats::connect(url).await.expect("a client");
        Self {
            direct: client(url.to_owned()).await,
            by_way: client(through(&proxy, url)).await,
            proxy,
            bucket: own_name(),
        }
    }

    /// As NATS makes its buckets, but for what is changed.
    pub(super) async fn make(&self, change: &(dyn Fn(&mut Config) + Sync)) {
        let mut config = Config {
            name: self.stream(),
            subjects: vec![format!("$KV.{}.>", self.bucket)],
            max_messages_per_subject: 1,
            max_messages: -1,
            max_bytes: -1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            ..Config::default()
        };
        change(&mut config);
        let made = self.context().create_stream(config).await;
        made.expect("a bucket");
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.bucket)
    }

    fn context(&self) -> jetstream::Context {
        jetstream::new(self.direct.clone())
    }

    async fn send(&self, key: &str, headers: HeaderMap, value: String) -> u64 {
        let subject = format!("$KV.{}.{key}", self.bucket);
        let context = self.context();
        let sent = context.publish_with_headers(subject, headers, value.into());
        let written = sent.await.expect("it is sent").await;
        written.expect("it is written").sequence
    }

    async fn purge(&self, filter: &str) {
        let stream = self.context().get_stream(self.stream()).await;
        let filter = format!("$KV.{}.{filter}", self.bucket);
        let purged = stream.expect("a bucket").purge().filter(filter).await;
        purged.expect("it is purged");
    }

    fn from(&self) -> NatsSource<String, u32> {
        let source = NatsSource::new(self.by_way.clone(), &self.bucket);
        source.expect("a name").prefix("k.")
    }
}

impl Subject for Nats {
    fn source(&self) -> Arc<dyn Source<String, u32>> {
        Arc::new(self.from())
    }

    fn put<'s>(&'s self, key: &'s str, value: Option<u32>) -> BoxFuture<'s, u64> {
        async move {
            let mut headers = HeaderMap::new();
            if value.is_none() {
                headers.insert("KV-Operation", "DEL");
            }
            let value = value.map(|value| value.to_string()).unwrap_or_default();
            self.send(&format!("k.{key}"), headers, value).await
        }
        .boxed()
    }

    fn spoil<'s>(&'s self, key: &'s str) -> BoxFuture<'s, ()> {
        async move {
            let (name, value) = (format!("k.{key}"), "no number".to_owned());
            self.send(&name, HeaderMap::new(), value).await;
        }
        .boxed()
    }

    fn put_aside(&self) -> BoxFuture<'_, u64> {
        async {
            let headers = HeaderMap::new();
            self.send("other", headers, "1".to_owned()).await
        }
        .boxed()
    }

    fn way(&self, way: Way) {
        set(&self.proxy, way);
    }

    /// What tidies a bucket up takes away what says that a key was deleted.
    fn forget(&self) -> BoxFuture<'_, ()> {
        async {
            for key in ["k.a", "k.c"] {
                self.purge(key).await;
            }
        }
        .boxed()
    }

    fn begin_anew(&self) -> BoxFuture<'_, ()> {
        async {
            let deleted = self.context().delete_stream(self.stream()).await;
            deleted.expect("it is deleted");
            self.make(&|_| {}).await;
        }
        .boxed()
    }
}

backstay_replica::conformance!(match Nats::new().await {
    Some(nats) => nats,
    None => return,
});

mod with_history {
    use super::Nats;

    async fn bucket() -> Option<Nats> {
        let nats = Nats::unmade().await?;
        nats.make(&|config| config.max_messages_per_subject = 5)
            .await;
        Some(nats)
    }

    backstay_replica::conformance!(
        match bucket().await {
            Some(nats) => nats,
            None => return,
        };
        a_snapshot_is_whole,
        changes_are_followed,
        much_changes_during_a_cut,
        what_is_forgotten_is_gone,
        every_age_is_true,
    );
}

/// REP-3: keys that are purged leave no message, and are gone from the copy all the same; what is there stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_is_gone() {
    let Some(nats) = Nats::new().await else {
        return;
    };
    in_time(async {
        for key in ["a", "b", "c"] {
            nats.put(key, Some(1)).await;
        }
        let copy = Copy::of(&nats).await;
        nats.purge("k.a").await;
        copy.until(|| copy.value("a").is_none()).await;
        assert_eq!((copy.value("b"), copy.value("c")), (Some(1), Some(1)));
        // As many go as come.
        nats.purge("k.b").await;
        nats.put("d", Some(2)).await;
        copy.until(|| copy.value("b").is_none()).await;
        assert_eq!((copy.value("c"), copy.value("d")), (Some(1), Some(2)));
        // All, and what was written last.
        nats.purge(">").await;
        copy.until(|| copy.replica.is_empty()).await;
        let young = MaxAge::millis(300).wait(Duration::from_secs(60));
        copy.replica.get("a", young).await.expect("it is proved");
        let number = nats.put("a", Some(3)).await;
        copy.holds(number).await;
        assert_eq!(copy.value("a"), Some(3));
        let fresh = Copy::of(&nats).await;
        assert_eq!((fresh.value("a"), fresh.replica.len()), (Some(3), 1));
    })
    .await;
}

/// REP-3: what goes by the bucket's `max_age` is gone from the copy, and what is written again stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_gone() {
    let Some(nats) = Nats::unmade().await else {
        return;
    };
    nats.make(&|config| config.max_age = Duration::from_secs(2))
        .await;
    in_time(async {
        nats.put("old", Some(1)).await;
        nats.put("kept", Some(1)).await;
        let copy = Copy::of(&nats).await;
        let writing = async {
            for value in 2.. {
                nats.put("kept", Some(value)).await;
                sleep(Duration::from_millis(100)).await;
            }
        };
        let gone = copy.until(|| copy.value("old").is_none());
        select! {
            biased;
            () = gone => {}
            () = writing => unreachable!("it goes on"),
        }
        assert!(copy.value("kept").is_some());
        // In the end there is nothing, and that is proved too.
        copy.until(|| copy.replica.is_empty()).await;
        let young = MaxAge::millis(300).wait(Duration::from_secs(60));
        copy.replica.get("kept", young).await.expect("it is proved");
    })
    .await;
}

/// REP-3: a bucket that is empty, or was, is a copy without keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_bucket_is_an_empty_copy() {
    let Some(nats) = Nats::new().await else {
        return;
    };
    in_time(async {
        assert!(Copy::of(&nats).await.replica.is_empty());
        nats.put("a", Some(1)).await;
        nats.purge(">").await;
        assert!(Copy::of(&nats).await.replica.is_empty());
    })
    .await;
}

/// What can't be followed is refused with its name, what was found, and why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_followed_is_refused() {
    let Some(nats) = Nats::unmade().await else {
        return;
    };
    let refused = async |nats: &Nats| {
        let heard = Heard::default();
        let builder = Replica::builder(nats.from()).on_event(heard.hear());
        let built = builder.ready_within(Duration::ZERO).build();
        let replica = built.expect("options").spawn();
        while heard.ends().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        drop(replica);
        heard.ends()[0].to_string()
    };
    in_time(async {
        let missing = refused(&nats).await;
        assert!(missing.contains("stream not found"), "{missing}");
        nats.make(&|config| config.deny_delete = false).await;
        let deny_delete = refused(&nats).await;
        let field = format!(
            "deny_delete of the bucket {} = false: must be true",
            nats.bucket
        );
        assert!(deny_delete.starts_with(&field), "{deny_delete}");
        let of = Origin {
            name: nats.stream(),
            ..Origin::default()
        };
        let mirror = Nats::unmade().await.expect("there is NATS");
        let make = move |config: &mut Config| {
            config.subjects = Vec::new();
            config.mirror = Some(of.clone());
        };
        mirror.make(&make).await;
        let refused = refused(&mirror).await;
        assert!(refused.starts_with("mirror of the bucket "), "{refused}");
    })
    .await;
    for bad in ["", "a.b", "a b", "*"] {
        let refused = NatsSource::<String, u32>::new(nats.direct.clone(), bad);
        let refused = refused.expect_err(bad);
        assert_eq!(refused.field, "bucket");
    }
}
