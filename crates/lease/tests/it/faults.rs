//! Elections whose home is reached by a bad network, or dies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use backstay_lease::conformance::in_time;
use backstay_lease::{BootClock, Clock, Election, Event, Leases, Moment, StepDown};
use futures_util::future::{join_all, pending};
use test_servers::{OwnServer, Proxy, Way, Ways};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::etcd::Etcd;
use super::nats::Nats;
use super::postgres::Postgres;
use super::servers::Site;

fn address(site: &dyn Site) -> SocketAddr {
    let (_, rest) = site.url().split_once("://").expect("a URL");
    let rest = rest.split('/').next().expect("a host");
    let host = rest.rsplit('@').next().expect("a host");
    host.parse().expect("an address")
}

/// Through a proxy, instead of directly.
async fn open_through(site: &dyn Site, proxy: &Proxy) -> Arc<dyn Leases> {
    let (direct, through) = (address(site).to_string(), proxy.address.to_string());
    let opened = site.open_at(site.url().replace(&direct, &through));
    opened.await.expect("leases")
}

fn candidate(site: &dyn Site, leases: Arc<dyn Leases>) -> Election {
    let builder = Election::builder(leases, "job").ttl(site.ttl());
    builder.build().expect("good times")
}

/// The leader hears nothing any more, or is not heard; what it has sent arrives when another leads.
async fn silence(site: &dyn Site) {
    let held = [
        Ways {
            to_client: Way::HELD,
            ..Ways::default()
        },
        Ways {
            to_server: Way::HELD,
            ..Ways::default()
        },
    ];
    for held in held {
        let proxy = Proxy::to(address(site)).await;
        let ttl = site.ttl();
        let builder = Election::builder(open_through(site, &proxy).await, "job").ttl(ttl);
        // As near to the end as it may go.
        let times = builder.margin(Duration::from_millis(2)).drift(0.0);
        let times = times.drain(Duration::from_millis(1));
        let first = times.request_timeout(ttl.mul_f64(0.35)).build();
        let first = first.expect("good times");
        let second = candidate(site, site.open().await);
        let leads = first.campaign().await.expect("it has not resigned");
        // A renewal takes more than one answer, each of which is late: it counts from before the first request.
        proxy.set(Ways {
            to_client: Way {
                delay: ttl / 16,
                is_held: false,
            },
            ..Ways::default()
        });
        leads.run(sleep(ttl)).await.expect("it is renewed");
        proxy.set(held);
        let stopped = async {
            let lost = leads.run(pending::<()>()).await.expect_err("it is pending");
            (BootClock.now(), lost.reason)
        };
        let elected = async {
            let next = second.campaign().await.expect("it has not resigned");
            (BootClock.now(), next)
        };
        let ((stopped, reason), (elected, next)) = tokio::join!(stopped, elected);
        assert!(
            stopped < elected,
            "stopped at {stopped:?}, next at {elected:?}"
        );
        assert_eq!(reason, StepDown::TimeUp);
        assert!(next.token() > leads.token());
        proxy.set(Ways::default());
        next.run(sleep(site.ttl())).await.expect("it still leads");
        assert!(leads.run(async {}).await.is_err());
        next.release().await;
    }
}

/// From when to when somebody has worked under a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reign {
    token: u64,
    pub(crate) from: Moment,
    to: Moment,
}

/// Leads again and again, and tells of each reign at its end.
pub(crate) async fn reign(election: Election, ttl: Duration, tell: UnboundedSender<Reign>) {
    loop {
        let leads = election.campaign().await.expect("it has not resigned");
        let from = BootClock.now();
        let some_work = sleep(ttl.mul_f64(2.0 * fastrand::f64()));
        let _ = leads.run(some_work).await;
        let (token, to) = (leads.token(), BootClock.now());
        let _ = tell.send(Reign { token, from, to });
    }
}

pub(crate) fn assert_one_at_a_time(mut reigns: Vec<Reign>) {
    reigns.sort_by_key(|reign| reign.from);
    for two in reigns.windows(2) {
        let [one, next] = two else { continue };
        assert!(
            one.to <= next.from && one.token < next.token,
            "{one:?} and {next:?}"
        );
    }
}

pub(crate) fn all(mut reigns: UnboundedReceiver<Reign>) -> Vec<Reign> {
    std::iter::from_fn(|| reigns.try_recv().ok()).collect()
}

/// Answers and requests take longer than they may, for a while, now here and now there.
async fn delays(site: &dyn Site) {
    let ttl = site.ttl();
    let failed = Arc::new(AtomicU64::new(0));
    let (tell, reigns) = unbounded_channel();
    let mut candidates = JoinSet::new();
    let mut proxies = Vec::new();
    for _ in 0..3 {
        let proxy = Proxy::to(address(site)).await;
        let leases = open_through(site, &proxy).await;
        let failed = failed.clone();
        let builder = Election::builder(leases, "job")
            .ttl(ttl)
            .on_event(move |event| {
                if matches!(
                    event,
                    Event::RenewalFailed { .. } | Event::CampaignFailed { .. }
                ) {
                    failed.fetch_add(1, Relaxed);
                }
            });
        let election = builder.build().expect("good times");
        candidates.spawn(reign(election, ttl, tell.clone()));
        proxies.push(proxy);
    }
    let weather = proxies.iter().map(|proxy| async {
        loop {
            let slow = || Way {
                delay: ttl.mul_f64(fastrand::f64()),
                is_held: false,
            };
            let mut ways = Ways::default();
            match fastrand::u8(..4) {
                0 => ways.to_client = slow(),
                1 => ways.to_server = slow(),
                2 => (ways.to_client, ways.to_server) = (slow(), slow()),
                _ => ways.is_closed = true,
            }
            proxy.set(ways);
            sleep(ttl.mul_f64(fastrand::f64())).await;
            proxy.set(Ways::default());
            sleep(ttl.mul_f64(2.0 * fastrand::f64())).await;
        }
    });
    let _ = timeout(ttl * 12, join_all(weather)).await;
    candidates.shutdown().await;
    let reigns = all(reigns);
    assert!(reigns.len() >= 2, "too few to show anything: {reigns:?}");
    assert!(failed.load(Relaxed) > 0, "nothing was late");
    assert_one_at_a_time(reigns);
}

/// The server is killed and started again, at once and after all leases are over.
async fn deaths(site: &dyn Site, mut server: OwnServer) {
    let ttl = site.ttl();
    let (tell, mut reigns) = unbounded_channel();
    let mut candidates = JoinSet::new();
    for _ in 0..3 {
        let election = candidate(site, site.open().await);
        candidates.spawn(reign(election, ttl, tell.clone()));
    }
    let mut told = vec![reigns.recv().await.expect("a reign")];
    for away in [Duration::ZERO, ttl / 2, ttl * 3] {
        server.kill();
        sleep(away).await;
        server = server.start().await;
        let since = BootClock.now();
        while told.last().is_none_or(|reign| reign.from < since) {
            told.push(reigns.recv().await.expect("a reign"));
        }
    }
    candidates.shutdown().await;
    told.extend(all(reigns));
    assert_one_at_a_time(told);
}

macro_rules! on_every_home {
    ($($home:ident: $site:ident),*) => {$(
        mod $home {
            use super::*;

            /// LEA-1, LEA-3, LEA-4: a leader whose requests or answers stay away has stopped its work before another
            /// leads, and what arrives of it later takes nothing from that one.
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_leader_in_silence_stops_before_the_next() {
                let Some(site) = $site::new() else { return };
                in_time(silence(&site)).await;
            }

            /// LEA-1, LEA-2, LEA-3: however late requests and answers are, nobody works while another does, and tokens
            /// rise.
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn late_answers_never_make_two_leaders() {
                let Some(site) = $site::new() else { return };
                in_time(delays(&site)).await;
            }

            /// LEA-2: when the home is killed and comes again, elections go on, tokens rise, and nobody works while
            /// another does.
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_killed_home_goes_on() {
                let Some(server) = OwnServer::$home() else { return };
                let server = server.start().await;
                let site = $site::on(server.url.clone());
                in_time(deaths(&site, server)).await;
            }
        }
    )*};
}

on_every_home!(etcd: Etcd, nats: Nats, postgres: Postgres);
