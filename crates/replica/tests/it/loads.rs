//! How loads end, and which one a look-up waits for.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use backstay_replica::{AnswerFrom, Cached, Clock, LookupError};
use futures_util::FutureExt;
use tokio::time::{advance, sleep, timeout};

use super::cached::{FOR_EVER, Loads, value};
use super::world::{MS, S};

/// REP-5: a load that panics is told to who waits, and does not stand in the way of the next.
#[tokio::test(start_paused = true)]
async fn a_load_that_panics_is_told() {
    let count = Arc::new(AtomicUsize::new(0));
    let load = move |(): ()| {
        let number = count.fetch_add(1, SeqCst);
        async move {
            assert!(number > 0, "on purpose");
            Ok::<_, Infallible>(Some(number))
        }
    };
    let cache = Cached::builder(load)
        .clock(Clock::tokio())
        .build()
        .expect("options");
    assert!(matches!(cache.get(&()).await, Err(LookupError::Lost)));
    assert_eq!(
        cache.get(&()).await.expect("an answer").value.as_deref(),
        Some(&1)
    );
}

/// REP-5: a load that hangs after its answer's time holds its key only for as long as somebody waits.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_is_given_up() {
    let loads = Loads::default();
    let builder = loads.builder().stale_while_revalidate(S(5));
    let cache = builder.build().expect("options");
    assert_eq!(value(&cache).await, Some(1));
    loads.take(FOR_EVER);
    advance(S(12)).await;
    let answer = cache.get(&"a").await.expect("an answer");
    assert_eq!(answer.source, AnswerFrom::Stale);
    advance(S(30)).await;
    assert!(timeout(S(1), cache.get(&"a")).await.is_err());
    loads.take(10);
    let answer = timeout(S(1), value(&cache)).await;
    assert_eq!(answer.expect("another load"), Some(3));
}

/// REP-2: a load that began before a look-up, and is too old for it, is followed by one of its own.
#[tokio::test(start_paused = true)]
async fn an_earlier_load_that_is_too_old_is_not_the_last() {
    let loads = Loads::default();
    loads.take(100);
    let cache = loads.cache();
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&"a").await.map(drop) }
    });
    sleep(MS(60)).await;
    loads.take(10);
    let answer = cache.get_within(&"a", MS(80)).await.expect("an answer");
    assert_eq!((answer.value.as_deref(), answer.age), (Some(&2), MS(10)));
    first.await.expect("no panic").expect("an answer");
}

/// REP-5: a runtime that has ended takes no load; who asks is told, and nothing hangs.
#[test]
fn a_runtime_that_has_ended_is_told() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let handle = runtime.handle().clone();
    drop(runtime);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _inside = handle.enter();
        let cache = Cached::builder(|(): ()| async { Ok::<_, Infallible>(Some(1)) })
            .build()
            .expect("options");
        let lost = cache.get(&()).now_or_never();
        let _ = tell.send(matches!(lost, Some(Err(LookupError::Lost))));
    });
    assert_eq!(told.recv_timeout(S(30)), Ok(true));
}

/// REP-5: what weighs nothing weighs 1, or there would be no bound.
#[tokio::test(start_paused = true)]
async fn what_weighs_nothing_is_bounded_too() {
    let load = |key: u32| async move { Ok::<_, Infallible>(Some(key)) };
    let builder = Cached::builder(load).clock(Clock::tokio()).max_weight(10);
    let cache = builder.weigher(|_, _| 0).build().expect("options");
    for key in 0..1_000 {
        cache.get(&key).await.expect("an answer");
    }
    assert!((1..=10).contains(&cache.len()), "{}", cache.len());
}
