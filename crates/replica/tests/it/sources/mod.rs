//! REP-1 to REP-4: every source does what each has to do, on the real server where it has one.

mod etcd;
mod faults;
mod feed;
mod nats;
mod postgres;
mod slow_commits;
mod stores;

use std::net::SocketAddr;

use backstay_replica::conformance::Way;
use test_servers::{self as servers, Proxy, Ways};

/// Requests come to the server at once; its answers do not come back so.
fn set(proxy: &Proxy, way: Way) {
    let to_client = match way {
        Way::Free => servers::Way::default(),
        Way::Slow(delay) => servers::Way {
            delay,
            ..servers::Way::default()
        },
        Way::Cut => servers::Way::HELD,
    };
    proxy.set(Ways {
        to_client,
        ..Ways::default()
    });
}

/// Of a URL that names a host and a port.
fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("a URL");
    let rest = rest.split('/').next().expect("a host");
    let host = rest.rsplit('@').next().expect("a host");
    host.parse().expect("an address")
}

/// The URL of the way to a server.
fn through(proxy: &Proxy, url: &str) -> String {
    url.replace(&address(url).to_string(), &proxy.address.to_string())
}
