//! Look-ups whose answers are kept.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use backstay_call::{Breaker, CallError, Pipeline};
use backstay_replica::{AnswerFrom, Cached, CachedBuilder, Clock, LookupError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep, timeout};

use super::world::{MS, S};

pub(crate) type Cache = Cached<&'static str, usize, io::Error>;

/// What loads see and do. A load's answer is its number.
#[derive(Clone, Default)]
pub(crate) struct Loads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    begun: AtomicUsize,
    ended: AtomicUsize,
    takes_ms: AtomicUsize,
    fails: AtomicUsize,
    is_absent: AtomicUsize,
}

pub(crate) const FOR_EVER: usize = usize::MAX;

impl Loads {
    pub(crate) fn builder(&self) -> CachedBuilder<&'static str, usize, io::Error> {
        let shared = self.0.clone();
        let load = move |_| {
            let shared = shared.clone();
            async move {
                let number = shared.begun.fetch_add(1, SeqCst) + 1;
                match shared.takes_ms.load(SeqCst) {
                    FOR_EVER => std::future::pending::<()>().await,
                    takes => sleep(MS(takes as u64)).await,
                }
                shared.ended.fetch_add(1, SeqCst);
                if shared.fails.load(SeqCst) > 0 {
                    return Err(io::Error::other("away"));
                }
                Ok((shared.is_absent.load(SeqCst) == 0).then_some(number))
            }
        };
        Cached::builder(load).clock(Clock::tokio()).ttl(S(10))
    }

    pub(crate) fn cache(&self) -> Cache {
        self.builder().build().expect("options")
    }

    pub(crate) fn begun(&self) -> usize {
        self.0.begun.load(SeqCst)
    }

    pub(crate) fn take(&self, takes_ms: usize) {
        self.0.takes_ms.store(takes_ms, SeqCst);
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.0.fails.store(fails.into(), SeqCst);
    }
}

pub(crate) async fn value(cache: &Cache) -> Option<usize> {
    cache
        .get(&"a")
        .await
        .expect("an answer")
        .value
        .as_deref()
        .copied()
}

/// REP-5: a thousand who miss at once are one load.
#[tokio::test(start_paused = true)]
async fn a_thousand_misses_are_one_load() {
    let loads = Loads::default();
    loads.take(100);
    let cache = loads.cache();
    let mut gets = JoinSet::new();
    for _ in 0..1_000 {
        let cache = cache.clone();
        gets.spawn(async move { cache.get(&"a").await.expect("an answer") });
    }
    while let Some(answer) = gets.join_next().await {
        let answer = answer.expect("no panic");
        assert_eq!((answer.value.as_deref(), answer.version), (Some(&1), 1));
        // REP-1: counted from before the load's request.
        assert_eq!((answer.age, answer.source), (MS(100), AnswerFrom::Load));
    }
    assert_eq!(loads.begun(), 1);
    advance(S(1)).await;
    let answer = cache.get(&"a").await.expect("an answer");
    assert_eq!((answer.age, answer.source), (MS(1_100), AnswerFrom::Cache));
}

/// REP-5: a caller that leaves does not fail the others, and when all have left the load is cancelled.
#[tokio::test(start_paused = true)]
async fn a_load_outlives_who_asked_first() {
    let loads = Loads::default();
    loads.take(100);
    let cache = loads.cache();
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&"a").await.map(drop) }
    });
    sleep(MS(10)).await;
    let second = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&"a").await }
    });
    sleep(MS(10)).await;
    first.abort();
    let answer = second.await.expect("no panic").expect("an answer");
    assert_eq!((answer.age, loads.begun()), (MS(100), 1));

    loads.take(FOR_EVER);
    cache.invalidate(&"a");
    let gone = timeout(MS(50), cache.get(&"a")).await;
    assert!(gone.is_err());
    loads.take(10);
    sleep(S(60)).await;
    // It did not end, and the next one begins another.
    assert_eq!(value(&cache).await, Some(3));
    assert_eq!(loads.0.ended.load(SeqCst), 2);
}

/// REP-5: an invalidation beats a load that began before it; who waits gets what was loaded after.
#[tokio::test(start_paused = true)]
async fn an_invalidation_beats_an_earlier_load() {
    for all in [false, true] {
        let loads = Loads::default();
        loads.take(100);
        let cache = loads.cache();
        let waits = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get(&"a").await.expect("an answer") }
        });
        sleep(MS(50)).await;
        if all {
            cache.invalidate_all();
        } else {
            cache.invalidate(&"a");
        }
        let answer = waits.await.expect("no panic");
        assert_eq!((answer.value.as_deref(), answer.age), (Some(&2), MS(100)));
        // Nothing of the first is kept.
        assert_eq!(value(&cache).await, Some(2));
        sleep(S(1)).await;
        assert_eq!(value(&cache).await, Some(2));
    }
}

/// REP-5: what was invalidated is loaded anew, whatever it was.
#[tokio::test(start_paused = true)]
async fn what_was_invalidated_is_loaded_anew() {
    let loads = Loads::default();
    let cache = loads.cache();
    assert_eq!(value(&cache).await, Some(1));
    cache.invalidate(&"a");
    assert_eq!(value(&cache).await, Some(2));
    cache.invalidate_all();
    assert_eq!(value(&cache).await, Some(3));
    cache.invalidate(&"b");
    assert_eq!(value(&cache).await, Some(3));
}

/// REP-5: once its time is over an answer is served while it is loaded anew, once, and not beyond the cap.
#[tokio::test(start_paused = true)]
async fn stale_while_revalidate_has_a_cap() {
    let loads = Loads::default();
    let cache = loads
        .builder()
        .stale_while_revalidate(S(5))
        .build()
        .expect("options");
    assert_eq!(value(&cache).await, Some(1));
    advance(S(12)).await;
    loads.take(1_000);
    let answer = cache.get(&"a").await.expect("an answer");
    assert_eq!(
        (answer.value.as_deref(), answer.source),
        (Some(&1), AnswerFrom::Stale)
    );
    assert_eq!(answer.age, S(12));
    for _ in 0..10 {
        assert_eq!(value(&cache).await, Some(1));
    }
    sleep(MS(1_100)).await;
    let answer = cache.get(&"a").await.expect("an answer");
    assert_eq!(
        (answer.value.as_deref(), answer.source),
        (Some(&2), AnswerFrom::Cache)
    );
    assert_eq!((answer.age, loads.begun()), (MS(1_100), 2));

    // Past the cap who asks waits.
    advance(S(30)).await;
    let answer = cache.get(&"a").await.expect("an answer");
    assert_eq!((answer.value.as_deref(), answer.age), (Some(&3), S(1)));
}

/// REP-5: a source that fails is covered for up to the cap, asked less and less, and the age goes on.
#[tokio::test(start_paused = true)]
async fn stale_if_error_has_a_cap_and_backs_off() {
    let loads = Loads::default();
    let builder = loads
        .builder()
        .stale_while_revalidate(S(2))
        .stale_if_error(S(120));
    let cache = builder.build().expect("options");
    assert_eq!(value(&cache).await, Some(1));
    loads.fail(true);
    advance(S(11)).await;
    let mut last = Duration::ZERO;
    for _ in 0..1_000 {
        sleep(MS(100)).await;
        let answer = cache.get(&"a").await.expect("an answer");
        assert_eq!(answer.value.as_deref(), Some(&1));
        assert!(answer.age > last);
        last = answer.age;
    }
    assert!(last > S(110), "{last:?}");
    // A thousand reads in 100 s, and few loads.
    assert!((3..60).contains(&loads.begun()), "{}", loads.begun());
    advance(S(22)).await;
    let failed = cache.get(&"a").await.expect_err("the cap");
    assert!(matches!(failed, LookupError::Load(_)), "{failed}");
    loads.fail(false);
    let answer = cache.get(&"a").await.expect("it is back");
    assert_eq!(
        (answer.age, answer.source),
        (Duration::ZERO, AnswerFrom::Load)
    );
}

#[derive(Debug, thiserror::Error)]
#[error("forbidden")]
struct Forbidden;

impl backstay_replica::LoadError for Forbidden {
    fn is_unavailable(&self) -> bool {
        false
    }
}

/// REP-5: an answer of the source that is an error is told, each time, and nothing kept is served after it, in no window.
#[tokio::test(start_paused = true)]
async fn an_answer_is_not_covered() {
    for while_revalidate in [S(0), S(60)] {
        let count = Arc::new(AtomicUsize::new(0));
        let load = move |(): ()| {
            let is_first = count.fetch_add(1, SeqCst) == 0;
            async move {
                if is_first {
                    Ok(Some(1))
                } else {
                    Err(Forbidden)
                }
            }
        };
        let builder = Cached::builder(load).clock(Clock::tokio()).ttl(S(10));
        let cache = builder
            .stale_while_revalidate(while_revalidate)
            .build()
            .expect("options");
        cache.get(&()).await.expect("an answer");
        advance(S(20)).await;
        if !while_revalidate.is_zero() {
            // The source has not been asked again yet.
            cache.get(&()).await.expect("a stale answer");
            sleep(MS(1)).await;
        }
        for _ in 0..3 {
            let failed = cache.get(&()).await.expect_err("forbidden");
            assert_eq!(
                std::error::Error::source(&failed).map(ToString::to_string),
                Some("forbidden".to_owned())
            );
        }
    }
}

/// REP-5: while the breaker of the loads' pipeline is open, what is kept is served, up to the cap.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_covered() {
    let breaker = Breaker::default()
        .open_for(S(3_600))
        .open_for_at_most(S(3_600));
    let pipeline = Pipeline::empty("users")
        .breaker(breaker)
        .build()
        .expect("options");
    let fails = Arc::new(AtomicUsize::new(0));
    let asked = Arc::new(AtomicUsize::new(0));
    let load = {
        let (pipeline, fails, asked) = (pipeline.clone(), fails.clone(), asked.clone());
        move |(): ()| {
            let (pipeline, fails, asked) = (pipeline.clone(), fails.clone(), asked.clone());
            async move {
                let answer: Result<_, CallError<io::Error>> = pipeline
                    .call(|_| {
                        asked.fetch_add(1, SeqCst);
                        let fails = fails.load(SeqCst) > 0;
                        async move {
                            if fails {
                                Err(io::Error::other("away"))
                            } else {
                                Ok(7)
                            }
                        }
                    })
                    .await;
                answer.map(Some)
            }
        }
    };
    let builder = Cached::builder(load).clock(Clock::tokio()).ttl(S(10));
    let builder = builder.stale_while_revalidate(S(0)).stale_if_error(S(600));
    let cache = builder.build().expect("options");
    cache.get(&()).await.expect("an answer");
    fails.store(1, SeqCst);
    advance(S(20)).await;
    for _ in 0..400 {
        let answer = cache.get(&()).await.expect("it is covered");
        assert_eq!(
            (answer.value.as_deref(), answer.source),
            (Some(&7), AnswerFrom::Stale)
        );
        advance(S(1)).await;
    }
    assert_eq!(pipeline.breaker().state().phase, backstay_call::Phase::Open);
    let before = asked.load(SeqCst);
    advance(S(300)).await;
    let failed = cache.get(&()).await.expect_err("the cap");
    assert!(
        matches!(&failed, LookupError::Load(error) if error.rejected().is_some()),
        "{failed}"
    );
    assert_eq!(asked.load(SeqCst), before);
}

/// REP-5: that a key is not there has a time of its own, and room of its own.
#[tokio::test(start_paused = true)]
async fn absent_keys_have_their_own_time_and_room() {
    let loads = Loads::default();
    let load = {
        let loads = loads.clone();
        move |key: u32| {
            loads.0.begun.fetch_add(1, SeqCst);
            async move { Ok::<_, Infallible>((key == 0).then_some("there")) }
        }
    };
    let builder = Cached::builder(load).clock(Clock::tokio()).ttl(S(60));
    let cache = builder
        .negative_ttl(S(2))
        .max_weight(10)
        .max_absent(100)
        .build()
        .expect("options");
    assert_eq!(cache.get(&1).await.expect("an answer").value, None);
    assert_eq!(
        cache.get(&1).await.expect("an answer").source,
        AnswerFrom::Cache
    );
    advance(S(3)).await;
    assert_eq!(
        cache.get(&1).await.expect("an answer").source,
        AnswerFrom::Load
    );
    cache.invalidate(&1);
    assert_eq!(
        cache.get(&1).await.expect("an answer").source,
        AnswerFrom::Load
    );

    cache.get(&0).await.expect("an answer");
    for key in 1..10_000 {
        cache.get(&key).await.expect("an answer");
    }
    assert!(cache.len() <= 110, "{}", cache.len());
    assert_eq!(
        cache.get(&0).await.expect("an answer").source,
        AnswerFrom::Cache
    );
}

/// REP-5: what is kept is bounded by weight.
#[tokio::test(start_paused = true)]
async fn values_are_bounded_by_weight() {
    let load = |key: u32| async move { Ok::<_, Infallible>(Some(vec![0u8; key as usize])) };
    let builder = Cached::builder(load)
        .clock(Clock::tokio())
        .max_weight(1_000);
    let cache = builder
        .weigher(|_, value| u32::try_from(value.len()).expect("small"))
        .build()
        .expect("options");
    for _ in 0..5 {
        for key in 90..110 {
            cache.get(&key).await.expect("an answer");
        }
    }
    assert!((1..=11).contains(&cache.len()), "{}", cache.len());
    // More than all may weigh: served, and not kept.
    assert_eq!(
        cache.get(&2_000).await.expect("an answer").source,
        AnswerFrom::Load
    );
    cache.len();
    assert_eq!(
        cache.get(&2_000).await.expect("an answer").source,
        AnswerFrom::Load
    );
}

/// REP-5: loads are bounded; who comes when there are too many is told at once.
#[tokio::test(start_paused = true)]
async fn loads_are_bounded() {
    let release = Arc::new(Notify::new());
    let waits = release.clone();
    let load = move |_: u32| {
        let waits = waits.clone();
        async move {
            waits.notified().await;
            Ok::<_, Infallible>(Some(1))
        }
    };
    let cache = Cached::builder(load)
        .clock(Clock::tokio())
        .max_loads(2)
        .build()
        .expect("options");
    let mut gets = JoinSet::new();
    for key in [1, 2, 2] {
        let cache = cache.clone();
        gets.spawn(async move { cache.get(&key).await.map(drop) });
    }
    sleep(MS(1)).await;
    let refused = cache.get(&3).await.expect_err("too many");
    assert_eq!(refused.to_string(), "2 loads are under way");
    release.notify_waiters();
    while let Some(got) = gets.join_next().await {
        got.expect("no panic").expect("an answer");
    }
    let more = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&3).await.map(drop) }
    });
    sleep(MS(1)).await;
    release.notify_waiters();
    more.await.expect("no panic").expect("an answer");
}

/// REP-2: a cache that fails closed serves nothing older than its bound: no stale answer, and none that took too long.
#[tokio::test(start_paused = true)]
async fn a_cache_that_fails_closed_refuses() {
    let loads = Loads::default();
    let builder = loads
        .builder()
        .stale_while_revalidate(S(3_600))
        .stale_if_error(S(3_600));
    let cache = builder.fail_closed(S(12)).build().expect("options");
    assert_eq!(value(&cache).await, Some(1));
    loads.fail(true);
    advance(S(12)).await;
    assert_eq!(cache.get(&"a").await.expect("at the bound").age, S(12));
    advance(MS(1)).await;
    assert!(matches!(cache.get(&"a").await, Err(LookupError::Load(_))));
    loads.fail(false);
    loads.take(13_000);
    let late = cache.get(&"a").await.expect_err("it took too long");
    assert_eq!(
        late.to_string(),
        "the answer is 13s old, and at most 12s are allowed"
    );

    let refused = loads
        .builder()
        .fail_closed(S(10))
        .build()
        .map(drop)
        .expect_err("a relation");
    assert_eq!(
        refused.to_string(),
        "fail_closed = 10s: must be at least the time to live and a tenth, 11s"
    );
}

/// REP-2: a look-up may ask for less than what is kept.
#[tokio::test(start_paused = true)]
async fn a_younger_answer_can_be_asked_for() {
    let loads = Loads::default();
    let cache = loads.cache();
    assert_eq!(value(&cache).await, Some(1));
    advance(S(2)).await;
    let answer = cache.get_within(&"a", S(1)).await.expect("an answer");
    assert_eq!((answer.value.as_deref(), answer.age), (Some(&2), S(0)));
}

/// REP-5: what was loaded together does not end together.
#[tokio::test(start_paused = true)]
async fn times_to_live_are_spread() {
    let load = |key: u32| async move { Ok::<_, Infallible>(Some(key)) };
    let builder = Cached::builder(load).clock(Clock::tokio()).ttl(S(100));
    let cache = builder
        .stale_while_revalidate(S(0))
        .build()
        .expect("options");
    for key in 0..200 {
        cache.get(&key).await.expect("an answer");
    }
    advance(S(100)).await;
    let mut over = 0;
    for key in 0..200 {
        let answer = cache.get(&key).await.expect("an answer");
        over += usize::from(answer.source == AnswerFrom::Load);
    }
    assert!((50..150).contains(&over), "{over}");
}
