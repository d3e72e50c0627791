//! Leases in NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use backstay_lease::conformance::Subject;
use backstay_lease::nats::{NatsOptions, async_nats};
use backstay_lease::{Acquired, ConnectError, Election, Lease, Leases, NatsLeases, Owner, Wanted};
use backstay_store::Effect;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use test_servers::OwnServer;
use tokio::time::sleep;

use super::servers::Site;

const TTL: Duration = Duration::from_millis(500);

pub(crate) struct Nats {
    url: String,
    bucket: String,
}

impl Nats {
    pub(crate) fn new() -> Option<Self> {
        test_servers::nats().map(Self::on)
    }

    pub(crate) fn on(url: String) -> Self {
        let bucket = test_servers::own_name();
        Self { url, bucket }
    }

    async fn client(&self) -> async_nats::Client {
        async_nats::connect(&self.url).await.expect("a client")
    }

    async fn try_open(&self, ttl: Duration) -> Result<NatsLeases, ConnectError> {
        let options = NatsOptions::new().bucket(&self.bucket);
        options.open(self.client().await, ttl).await
    }

    fn stream(&self) -> String {
        format!("KV_{}-500", self.bucket)
    }
}

impl Subject for Nats {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Leases>> {
        self.open_for(TTL)
    }

    fn open_for(&self, ttl: Duration) -> BoxFuture<'_, Arc<dyn Leases>> {
        async move { Arc::new(self.try_open(ttl).await.expect("leases")) as _ }.boxed()
    }

    fn ttl(&self) -> Duration {
        TTL
    }

    fn late(&self) -> Duration {
        Duration::from_secs(1)
    }
}

impl Site for Nats {
    fn url(&self) -> &str {
        &self.url
    }

    fn open_at(&self, url: String) -> BoxFuture<'_, Result<Arc<dyn Leases>, ConnectError>> {
        async {
            let options = NatsOptions::new().bucket(&self.bucket);
            let client = async_nats::connect(url).await.expect("a client");
            Ok(Arc::new(options.open(client, TTL).await?) as _)
        }
        .boxed()
    }
}

backstay_lease::conformance!(match Nats::new() {
    Some(nats) => nats,
    None => return,
});

async fn granted(leases: &NatsLeases, name: &str) -> Lease {
    let wanted = Wanted {
        name: name.to_owned(),
        owner: Owner::new(),
        about: String::new(),
        ttl: TTL,
    };
    match leases.acquire(wanted).await.expect("an answer") {
        Acquired::Granted(lease) => lease,
        held @ Acquired::Held(_) => panic!("it is not free: {held:?}"),
    }
}

/// LEA-5: an election has the bucket's time to live, and no other.
#[tokio::test]
async fn another_time_to_live_is_refused() {
    let Some(nats) = Nats::new() else { return };
    let leases = nats.try_open(TTL).await.expect("leases");
    let builder = Election::builder(leases.clone(), "job").ttl(2 * TTL);
    let refused = builder.build().expect_err("the bucket has another");
    let limit = format!("must be 500ms, as in the bucket {}-500", nats.bucket);
    assert_eq!(refused.to_string(), format!("ttl = 1s: {limit}"));

    let lease = granted(&leases, "job").await;
    let refused = leases.renew(lease, 2 * TTL).await.expect_err("too long");
    assert_eq!(refused.effect(), Effect::NotExecuted);
}

/// LEA-2, LEA-5: a bucket in which a lease ends sooner, or tokens do not last, is refused.
#[tokio::test]
async fn a_bucket_made_otherwise_is_refused() {
    for (field, change) in [
        (
            "max_age",
            (|config| config.max_age = TTL / 2) as fn(&mut jetstream::stream::Config),
        ),
        ("storage", |config| {
            config.storage = jetstream::stream::StorageType::Memory;
        }),
        ("discard", |config| {
            config.discard = jetstream::stream::DiscardPolicy::Old;
        }),
    ] {
        let Some(nats) = Nats::new() else { return };
        let mut config = jetstream::stream::Config {
            name: nats.stream(),
            subjects: vec![format!("$KV.{}-500.>", nats.bucket)],
            max_age: TTL,
            max_messages_per_subject: 1,
            discard: jetstream::stream::DiscardPolicy::New,
            ..Default::default()
        };
        change(&mut config);
        let context = jetstream::new(nats.client().await);
        context.create_stream(config).await.expect("a bucket");
        let refused = nats.try_open(TTL).await.expect_err(field);
        let ConnectError::Invalid(refused) = refused else {
            panic!("{refused:?}")
        };
        let bucket = format!("{field} of the bucket {}-500", nats.bucket);
        assert_eq!(refused.field, bucket);
    }
}

/// LEA-2: tokens rise also when the bucket was deleted and is made again, under a handle that lives on.
#[tokio::test]
async fn tokens_rise_over_a_bucket_that_is_made_again() {
    let Some(nats) = Nats::new() else { return };
    let leases = nats.try_open(TTL).await.expect("leases");
    let context = jetstream::new(nats.client().await);
    let mut highest = 0;
    for round in 0..3 {
        for name in ["one", "other"] {
            let lease = granted(&leases, name).await;
            assert!(lease.token > highest, "{lease:?} after {highest}");
            // As many digits as a header carries.
            assert!(lease.token < 1_000_000_000_000_000, "{lease:?}");
            highest = lease.token;
            assert_eq!(leases.renew(lease, TTL).await, Ok(true));
        }
        context.delete_stream(nats.stream()).await.expect("deleted");
        assert_eq!(leases.holder("one".to_owned()).await, Ok(None), "{round}");
    }
}

/// LEA-2: tokens rise also when the server is killed with nothing left in the bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_rise_over_a_server_that_has_forgotten_all_leases() {
    let Some(mut server) = OwnServer::nats() else {
        return;
    };
    let mut highest = 0;
    for is_over_before in [true, false, true] {
        server = server.start().await;
        let nats = Nats {
            bucket: "own".to_owned(),
            url: server.url.clone(),
        };
        let leases = nats.try_open(TTL).await.expect("leases");
        for name in ["one", "other"] {
            let lease = granted(&leases, name).await;
            assert!(lease.token > highest, "{lease:?} after {highest}");
            highest = lease.token;
            assert_eq!(leases.renew(lease, TTL).await, Ok(true));
        }
        let over = sleep(TTL + nats.late());
        if is_over_before {
            over.await;
            server.kill();
        } else {
            server.kill();
            over.await;
        }
    }
}

/// What is out of its range is refused with the reason.
#[tokio::test]
async fn bad_options_are_refused() {
    let Some(nats) = Nats::new() else { return };
    let client = nats.client().await;
    let micro = Duration::from_micros(1);
    for (options, ttl) in [
        (NatsOptions::new().bucket(""), TTL),
        (NatsOptions::new().bucket("a.b"), TTL),
        (NatsOptions::new().replicas(0), TTL),
        (NatsOptions::new().replicas(6), TTL),
        (NatsOptions::new(), TTL + micro),
        (NatsOptions::new(), Duration::from_millis(99)),
        (NatsOptions::new(), Duration::from_secs(86_401)),
    ] {
        let shown = format!("{options:?}, {ttl:?}");
        let refused = options.open(client.clone(), ttl).await.expect_err(&shown);
        assert!(matches!(refused, ConnectError::Invalid(_)), "{refused:?}");
    }
}
