//! A server under a copy is killed, stopped, and restored from a backup.

use std::time::Duration;

use backstay_replica::conformance::{Copy, Subject, in_time};
use backstay_replica::{Event, MaxAge, ReadError};
use test_servers::OwnServer;
use tokio::time::sleep;

use super::etcd::Etcd;
use super::nats::Nats;
use super::postgres::stored_at;
use super::stores::Of;

/// By default NATS writes what it has acknowledged a moment later.
const WRITTEN: Duration = Duration::from_millis(300);

/// A server is killed and started again: the copy says so by its age, then it is what the server is, and nothing is lost.
async fn killed(subject: &dyn Subject, mut server: OwnServer) {
    for key in ["a", "b", "c"] {
        subject.put(key, Some(1)).await;
    }
    let copy = Copy::of(subject).await;
    subject.put("b", None).await;
    let number = subject.put("c", Some(2)).await;
    copy.holds(number).await;
    sleep(WRITTEN).await;
    server.kill();
    copy.is_cut().await;
    assert_eq!((copy.value("a"), copy.value("b")), (Some(1), None));
    let old = MaxAge::millis(1).or_fail();
    let refused = copy
        .replica
        .get("a", old)
        .await
        .expect_err("nobody proves it");
    assert!(matches!(refused, ReadError::Stale { .. }), "{refused}");

    let server = server.start().await;
    subject.put("a", None).await;
    let number = subject.put("d", Some(3)).await;
    copy.holds(number).await;
    let fresh = Copy::of(subject).await;
    for (key, value) in [("a", None), ("b", None), ("c", Some(2)), ("d", Some(3))] {
        assert_eq!((copy.value(key), fresh.value(key)), (value, value), "{key}");
    }
    copy.has_gone_on();
    drop(server);
}

/// A server's process is stopped and goes on: meanwhile nothing is proved, and then it is as it was.
async fn stopped(subject: &dyn Subject, server: OwnServer) {
    subject.put("a", Some(1)).await;
    let copy = Copy::of(subject).await;
    server.pause();
    copy.is_cut().await;
    copy.is_cut().await;
    let age = copy.replica.age().expect("a copy");
    // Two sessions have waited for an answer.
    assert!(age > Duration::from_secs(1), "{age:?}");
    server.go_on();
    let number = subject.put("a", Some(2)).await;
    copy.holds(number).await;
    let young = MaxAge::millis(300).wait(Duration::from_secs(60));
    let reading = copy.replica.get("a", young).await.expect("a proof");
    assert_eq!(reading.value.as_deref(), Some(&2));
    copy.has_gone_on();
}

/// A server is restored from a backup: the copy begins another epoch, and is what the server is.
async fn restored(subject: &dyn Subject, mut server: OwnServer) {
    for key in ["a", "b"] {
        subject.put(key, Some(1)).await;
    }
    sleep(WRITTEN).await;
    server.kill();
    server.back_up();
    let mut server = server.start().await;
    for value in 2..20 {
        subject.put("a", Some(value)).await;
    }
    subject.put("b", None).await;
    let number = subject.put("c", Some(1)).await;
    let copy = Copy::of(subject).await;
    copy.holds(number).await;
    let before = copy.version();
    server.kill();
    server.restore();
    let server = server.start().await;
    copy.until(|| copy.version().epoch > before.epoch).await;
    let values = ["a", "b", "c"].map(|key| copy.value(key));
    assert_eq!(values, [Some(1), Some(1), None]);
    let changed = |event: &Event| matches!(event, Event::EpochChanged { .. });
    assert_eq!(copy.count(changed), 1);
    let number = subject.put("a", Some(100)).await;
    copy.holds(number).await;
    assert_eq!(copy.value("a"), Some(100));
    drop(server);
}

async fn etcd() -> Option<(Etcd, OwnServer)> {
    let server = OwnServer::etcd()?.start().await;
    Some((Etcd::at(&server.url, None).await, server))
}

async fn nats() -> Option<(Nats, OwnServer)> {
    let server = OwnServer::nats()?.start().await;
    let nats = Nats::at(&server.url).await;
    nats.make(&|_| {}).await;
    Some((nats, server))
}

/// REP-1, REP-3: etcd under a copy is killed and starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_killed() {
    let Some((etcd, server)) = etcd().await else {
        return;
    };
    in_time(killed(&etcd, server)).await;
}

/// REP-1, REP-4: etcd under a copy is stopped for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_stopped() {
    let Some((etcd, server)) = etcd().await else {
        return;
    };
    in_time(stopped(&etcd, server)).await;
}

/// REP-3: etcd under a copy is restored from a backup, with the same cluster's id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_restored() {
    let Some((etcd, server)) = etcd().await else {
        return;
    };
    in_time(restored(&etcd, server)).await;
}

/// REP-1, REP-3: NATS under a copy is killed and starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_killed() {
    let Some((nats, server)) = nats().await else {
        return;
    };
    in_time(killed(&nats, server)).await;
}

/// REP-1, REP-4: NATS under a copy is stopped for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_stopped() {
    let Some((nats, server)) = nats().await else {
        return;
    };
    in_time(stopped(&nats, server)).await;
}

/// REP-3: NATS under a copy is restored from a backup, with the same time at which the bucket was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_restored() {
    let Some((nats, server)) = nats().await else {
        return;
    };
    in_time(restored(&nats, server)).await;
}

/// REP-1, REP-3: Postgres under a copy of a store's keys, or of its events, is killed and starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed() {
    for of in [Of::Keys, Of::Log] {
        let Some(server) = OwnServer::postgres() else {
            return;
        };
        let server = server.start().await;
        let stored = stored_at(&server.url, of).await;
        in_time(killed(&stored, server)).await;
    }
}
