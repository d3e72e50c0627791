//! Leases in etcd.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backstay_lease::conformance::{Subject, in_time};
use backstay_lease::etcd::EtcdOptions;
use backstay_lease::{ConnectError, Election, EtcdLeases, Leases};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use test_servers::{Proxy, Way, Ways};
use tokio::time::{sleep, timeout};

use super::servers::Site;

pub(crate) struct Etcd {
    url: String,
    prefix: String,
}

impl Etcd {
    pub(crate) fn new() -> Option<Self> {
        test_servers::etcd().map(Self::on)
    }

    pub(crate) fn on(url: String) -> Self {
        let prefix = format!("{}/", test_servers::own_name());
        Self { url, prefix }
    }

    fn address(&self) -> SocketAddr {
        let address = self.url.strip_prefix("http://").expect("a URL");
        address.parse().expect("an address")
    }

    async fn open(&self) -> EtcdLeases {
        let options = EtcdOptions::new().prefix(&self.prefix);
        options.connect([&self.url]).await.expect("leases")
    }
}

impl Subject for Etcd {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Leases>> {
        async { Arc::new(self.open().await) as _ }.boxed()
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// It looks twice a second for leases that are over.
    fn late(&self) -> Duration {
        Duration::from_secs(2)
    }
}

impl Site for Etcd {
    fn url(&self) -> &str {
        &self.url
    }

    fn open_at(&self, url: String) -> BoxFuture<'_, Result<Arc<dyn Leases>, ConnectError>> {
        async {
            let options = EtcdOptions::new().prefix(&self.prefix);
            Ok(Arc::new(options.connect([url]).await?) as _)
        }
        .boxed()
    }
}

backstay_lease::conformance!(match Etcd::new() {
    Some(etcd) => etcd,
    None => return,
});

/// LEA-5: a lease that the cluster would make longer is refused, and what is longer is taken.
#[tokio::test]
async fn shorter_leases_than_the_clusters_are_refused() {
    let Some(etcd) = Etcd::new() else { return };
    let leases = etcd.open().await;
    let build = |ttl| {
        let builder = Election::builder(leases.clone(), "job");
        builder.ttl(Duration::from_millis(ttl)).build()
    };
    let refused = build(1_999).expect_err("it is too short");
    assert_eq!(
        refused.to_string(),
        "ttl = 1.999s: must be at least 2s, this cluster's shortest lease"
    );
    build(2_000).expect("long enough");
    // It gets three seconds.
    let election = build(2_500).expect("long enough");
    let leads = election.campaign().await.expect("it has not resigned");
    leads.release().await;
}

/// A member that can't be reached is left for the next.
#[tokio::test]
async fn another_member_is_asked_when_one_is_away() {
    let Some(etcd) = Etcd::new() else { return };
    // Nobody listens there.
    let away = "http://127.0.0.1:1";
    let options = EtcdOptions::new().prefix(&etcd.prefix);
    let leases = options.connect([away, &etcd.url]).await.expect("leases");
    assert_eq!(leases.holder("job".to_owned()).await, Ok(None));
}

/// LEA-4: a member that does not answer any more is left for the next in time to go on leading.
#[tokio::test]
async fn a_silent_member_ends_no_term() {
    let Some(etcd) = Etcd::new() else { return };
    let proxy = Proxy::to(etcd.address()).await;
    let silent = format!("http://{}", proxy.address);
    let options = EtcdOptions::new().prefix(&etcd.prefix);
    let leases = options.connect([&silent, &etcd.url]).await.expect("leases");
    let builder = Election::builder(leases, "job").ttl(etcd.ttl());
    let election = builder.build().expect("good times");
    let leads = election.campaign().await.expect("it has not resigned");
    proxy.set(Ways {
        to_client: Way::HELD,
        ..Ways::default()
    });
    let work = leads.run(sleep(etcd.ttl() * 2));
    work.await.expect("it leads on");
    leads.release().await;
}

/// A request that nobody waits for any longer takes its connection with it.
#[tokio::test]
async fn dropped_requests_leave_no_connections_behind() {
    let Some(etcd) = Etcd::new() else { return };
    let mut proxy = Proxy::to(etcd.address()).await;
    let options = EtcdOptions::new().prefix(&etcd.prefix);
    let url = format!("http://{}", proxy.address);
    let leases = options.connect([url]).await.expect("leases");
    proxy.set(Ways {
        to_client: Way::HELD,
        ..Ways::default()
    });
    for _ in 0..20 {
        let asked = leases.holder("job".to_owned());
        let answer = timeout(Duration::from_millis(20), asked).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    let closed = proxy.open.wait_for(|open| *open <= 1);
    in_time(async { drop(closed.await.expect("it counts")) }).await;
    proxy.set(Ways::default());
    assert_eq!(leases.holder("job".to_owned()).await, Ok(None));
}

/// What can't be an address is refused with the reason, and no member at all is told as that.
#[tokio::test]
async fn bad_addresses_are_refused() {
    for bad in [
        "",
        "etcd",
        "http://",
        "http://etcd:2379/v3",
        "https://etcd:2379",
    ] {
        let refused = EtcdLeases::connect([bad]).await.expect_err(bad);
        assert!(matches!(refused, ConnectError::Invalid(_)), "{refused:?}");
    }
    let refused = EtcdLeases::connect([""; 0]).await.expect_err("none");
    assert!(matches!(refused, ConnectError::Invalid(_)), "{refused:?}");
    let refused = EtcdLeases::connect(["http://127.0.0.1:1"]).await;
    let refused = refused.expect_err("nobody is there");
    assert!(
        matches!(refused, ConnectError::Unavailable(_)),
        "{refused:?}"
    );
}
