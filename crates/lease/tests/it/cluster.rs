//! Elections on an etcd cluster that loses members.

use std::time::Duration;

use backstay_lease::conformance::in_time;
use backstay_lease::etcd::EtcdOptions;
use backstay_lease::{BootClock, Clock, Election};
use futures_util::future::join_all;
use test_servers::OwnServer;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::faults::{Reign, all, assert_one_at_a_time, reign};

const TTL: Duration = Duration::from_secs(2);

/// Kills the members from one on, so many, and starts them again after a while.
async fn lose(members: &mut Vec<OwnServer>, first: usize, count: usize, away: Duration) {
    members.rotate_left(first);
    let mut lost: Vec<_> = members.drain(..count).collect();
    lost.iter_mut().for_each(OwnServer::kill);
    sleep(away).await;
    members.extend(join_all(lost.into_iter().map(OwnServer::start)).await);
}

async fn since(reigns: &mut UnboundedReceiver<Reign>, told: &mut Vec<Reign>) {
    let since = BootClock.now();
    while told.last().is_none_or(|reign| reign.from < since) {
        told.push(reigns.recv().await.expect("a reign"));
    }
}

/// LEA-1, LEA-2, LEA-3: while members die, the cluster's leader and its quorum among them, nobody works while another
/// does, tokens rise, and elections go on when there is a quorum again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_may_die() {
    let Some(members) = OwnServer::etcd_cluster(3) else {
        return;
    };
    let mut members = join_all(members.into_iter().map(OwnServer::start)).await;
    let urls: Vec<_> = members.iter().map(|member| member.url.clone()).collect();
    let (tell, mut reigns) = unbounded_channel();
    let mut candidates = JoinSet::new();
    for candidate in 0..3 {
        let mut urls = urls.clone();
        urls.rotate_left(candidate);
        let leases = EtcdOptions::new().connect(urls).await.expect("leases");
        let election = Election::builder(leases, "job").ttl(TTL).build();
        let election = election.expect("good times");
        candidates.spawn(reign(election, TTL, tell.clone()));
    }
    in_time(async {
        let mut told = Vec::new();
        since(&mut reigns, &mut told).await;
        // One of these leads the cluster.
        for _ in 0..3 {
            lose(&mut members, 1, 1, TTL / 2).await;
            since(&mut reigns, &mut told).await;
        }
        lose(&mut members, 0, 2, TTL * 2).await;
        since(&mut reigns, &mut told).await;
        candidates.shutdown().await;
        told.extend(all(reigns));
        assert_one_at_a_time(told);
    })
    .await;
}
