//! Reads of copies and caches under faults, held against what their source was.

use std::sync::{Arc, Mutex};

use backstay_replica::history::{History, Read, Violation};
use backstay_replica::{AnswerFrom, Cached, Clock, MaxAge, Moment, Replica};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::world::{Flaw, MS, S, World};

const KEYS: [&str; 3] = ["a", "b", "c"];
type Checked = History<&'static str, u32>;
type Found = Vec<Violation<&'static str, u32>>;

/// A seeded run: each seed is another order of faults.
struct Random(u64);

impl Random {
    fn key(&mut self) -> &'static str {
        KEYS[usize::try_from(self.below(3)).expect("below three")]
    }

    fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What a run must have seen, or it proves nothing.
#[derive(Default)]
struct Sometimes {
    stuck: usize,
    restored: usize,
    stale: usize,
}

/// Writes, breaks the way, restores backups, and lets three sessions read, for ten minutes of paused time.
async fn copies(flaw: Flaw, seed: u64, sometimes: &mut Sometimes) -> Found {
    let world = World::with(flaw);
    let history = Arc::new(Mutex::new(Checked::new()));
    let mut random = Random(seed);
    let mut value = 0;
    let mut put = |world: &World, key: &'static str, is_gone: bool| {
        value += 1;
        let value = (!is_gone).then_some(value);
        world.put(key, value);
        history
            .lock()
            .expect("nobody panics")
            .is(key, value, world.now());
    };
    for key in KEYS {
        put(&world, key, false);
    }
    let copy = world.copy().await;
    let mut readers = JoinSet::new();
    for session in 0..3 {
        let reader = Reader {
            copy: copy.clone(),
            clock: world.clock(),
            history: history.clone(),
            random: Random(seed + u64::from(session) + 1),
            session,
        };
        readers.spawn(reader.read());
    }
    let mut restore = world.back_up();
    for _ in 0..600 {
        sleep(MS(random.below(2_000))).await;
        sometimes.stale += usize::from(copy.age().expect("a copy") > S(10));
        match random.below(20) {
            0 => {
                // Half open: what was asked is answered when this is over, late.
                world.way(|way| way.is_stuck = true);
                sleep(MS(random.below(30_000))).await;
                world.way(|way| way.is_stuck = false);
                sometimes.stuck += 1;
            }
            1 => world.way(|way| way.takes = MS(random.below(4_000))),
            2 => world.way(|way| way.fails = random.below(3) == 0),
            3 => world.forget(),
            4 => restore = world.back_up(),
            5 => {
                let all = KEYS.map(|key| world.value(key));
                restore(&world);
                let mut history = history.lock().expect("nobody panics");
                for (key, before) in KEYS.into_iter().zip(all) {
                    if world.value(key) != before {
                        history.is(key, world.value(key), world.now());
                    }
                }
                sometimes.restored += 1;
            }
            6 => put(&world, random.key(), true),
            _ => put(&world, random.key(), false),
        }
    }
    readers.abort_all();
    let history = history.lock().expect("nobody panics");
    assert!(history.reads() > 1_000, "{}", history.reads());
    history.check()
}

struct Reader {
    copy: Replica<&'static str, u32>,
    clock: Clock,
    history: Arc<Mutex<Checked>>,
    random: Random,
    session: u32,
}

impl Reader {
    async fn read(mut self) {
        loop {
            sleep(MS(self.random.below(500))).await;
            let key = self.random.key();
            let max_age = match self.random.below(3) {
                0 => MaxAge::ANY,
                1 => MaxAge::secs(6),
                _ => MaxAge::millis(self.random.below(3_000)),
            };
            let Ok(reading) = self.copy.get(&key, max_age).await else {
                continue;
            };
            self.history.lock().expect("nobody panics").read(Read {
                session: self.session,
                key,
                // The age belongs to the moment of the answer, however long that took.
                began: self.clock.now(),
                ended: self.clock.now(),
                value: reading.value.as_deref().copied(),
                version: Some(reading.version),
                age: reading.age,
            });
        }
    }
}

/// REP-1, REP-3: under pauses, half-open ways, late answers and restores every age is true, and no session goes back.
#[tokio::test(start_paused = true)]
async fn every_age_of_a_copy_is_true() {
    let mut sometimes = Sometimes::default();
    for seed in 0..8 {
        let found = copies(Flaw::None, seed * 1_000, &mut sometimes).await;
        assert_eq!(found, [], "seed {seed}");
    }
    assert!(sometimes.stuck > 50 && sometimes.restored > 50 && sometimes.stale > 0);
}

/// REP-1: a copy whose age counts from the answer is found out.
#[tokio::test(start_paused = true)]
async fn an_age_that_counts_from_the_answer_is_found() {
    let found = copies(Flaw::CountsFromAnswer, 7, &mut Sometimes::default()).await;
    let is_age = |one: &Violation<_, _>| matches!(one, Violation::Age(_));
    assert!(found.iter().any(is_age), "{found:?}");
}

/// REP-4: a copy that takes what it was told unasked for a proof is found out.
#[tokio::test(start_paused = true)]
async fn a_push_that_is_believed_is_found() {
    let found = copies(Flaw::BelievesPushes, 7, &mut Sometimes::default()).await;
    let is_age = |one: &Violation<_, _>| matches!(one, Violation::Age(_));
    assert!(found.iter().any(is_age), "{found:?}");
}

/// A cache, or what is taken for one.
trait Looks: Clone + Send + 'static {
    fn get(
        &self,
        key: &'static str,
    ) -> impl Future<Output = Option<(u32, std::time::Duration)>> + Send;
    fn invalidate(&self, key: &'static str);
}

#[derive(Clone)]
struct Ours(Cached<&'static str, u32, std::io::Error>);

impl Looks for Ours {
    async fn get(&self, key: &'static str) -> Option<(u32, std::time::Duration)> {
        let answer = self.0.get(&key).await.ok()?;
        let _: AnswerFrom = answer.source;
        answer.value.map(|value| (*value, answer.age))
    }

    fn invalidate(&self, key: &'static str) {
        self.0.invalidate(&key);
    }
}

/// Kept by hand, as it is often done: what a load brings is put in, whatever has happened meanwhile.
#[derive(Clone)]
struct ByHand {
    world: World,
    kept: Arc<Mutex<std::collections::HashMap<&'static str, (u32, Moment)>>>,
    counts_from_answer: bool,
}

impl Looks for ByHand {
    async fn get(&self, key: &'static str) -> Option<(u32, std::time::Duration)> {
        let kept = self.kept.lock().expect("nobody panics").get(key).copied();
        let now = self.world.now();
        if let Some((value, asked)) = kept.filter(|(_, asked)| now.since(*asked) < S(10)) {
            return Some((value, now.since(asked)));
        }
        let mut asked = self.world.now();
        let value = load(&self.world, key).await.ok()??;
        if self.counts_from_answer {
            asked = self.world.now();
        }
        self.kept
            .lock()
            .expect("nobody panics")
            .insert(key, (value, asked));
        Some((value, self.world.now().since(asked)))
    }

    fn invalidate(&self, key: &'static str) {
        self.kept.lock().expect("nobody panics").remove(key);
    }
}

async fn load(world: &World, key: &'static str) -> std::io::Result<Option<u32>> {
    let said = world.look(key).await;
    said.map_err(std::io::Error::other)
}

/// Each write is followed by an invalidation; readers come and go, also in the middle of a load.
async fn look_ups<C: Looks>(world: &World, cache: C, seed: u64) -> Found {
    let history = Arc::new(Mutex::new(Checked::new()));
    let mut random = Random(seed);
    let mut readers = JoinSet::new();
    for session in 0..4 {
        let (cache, world, history) = (cache.clone(), world.clone(), history.clone());
        let mut random = Random(seed + session + 1);
        readers.spawn(async move {
            loop {
                sleep(MS(random.below(300))).await;
                let key = random.key();
                let began = world.now();
                let patience = MS(random.below(3_000));
                let got = tokio::time::timeout(patience, cache.get(key)).await;
                let Ok(Some((value, age))) = got else {
                    continue;
                };
                let ended = world.now();
                let read = |began| Read {
                    // A cache has no order of its reads to keep.
                    session: u32::MAX,
                    key,
                    began,
                    ended,
                    value: Some(value),
                    version: None,
                    age,
                };
                // When it began counts for invalidations, and the end for the age: time stands still in between.
                let mut history = history.lock().expect("nobody panics");
                history.read(read(began));
                history.read(read(ended));
            }
        });
    }
    for value in 1..1_000 {
        let key = random.key();
        world.put(key, Some(value));
        history
            .lock()
            .expect("nobody panics")
            .is(key, Some(value), world.now());
        sleep(MS(random.below(200))).await;
        let began = world.now();
        cache.invalidate(key);
        let acknowledged = world.now();
        history
            .lock()
            .expect("nobody panics")
            .invalidated(key, began, acknowledged);
        match random.below(40) {
            0 => {
                world.way(|way| way.is_stuck = true);
                sleep(MS(random.below(5_000))).await;
                world.way(|way| way.is_stuck = false);
            }
            1 => world.way(|way| way.takes = MS(random.below(2_000))),
            2 => world.way(|way| way.fails = true),
            _ => world.way(|way| way.fails = false),
        }
        sleep(MS(random.below(200))).await;
    }
    readers.abort_all();
    let history = history.lock().expect("nobody panics");
    assert!(history.reads() > 1_000, "{}", history.reads());
    let found = history.check().into_iter();
    found
        .filter(|one| !matches!(one, Violation::WentBack { .. }))
        .collect()
}

/// REP-5: nothing older than an acknowledged invalidation is served, whatever loads were under way, late or cancelled;
/// and every age is true.
#[tokio::test(start_paused = true)]
async fn every_answer_of_a_cache_is_true() {
    for seed in 0..6 {
        let world = World::new();
        let of = world.clone();
        let load = move |key| {
            let of = of.clone();
            async move { load(&of, key).await }
        };
        let builder = Cached::builder(load).clock(world.clock()).ttl(S(5));
        let cache = Ours(builder.build().expect("options"));
        assert_eq!(
            look_ups(&world, cache, seed * 1_000).await,
            [],
            "seed {seed}"
        );
    }
}

/// REP-5: a cache that keeps what a load brings after an invalidation is found out.
#[tokio::test(start_paused = true)]
async fn a_cache_that_forgets_invalidations_is_found() {
    let world = World::new();
    let cache = ByHand {
        world: world.clone(),
        kept: Arc::default(),
        counts_from_answer: false,
    };
    let found = look_ups(&world, cache, 3).await;
    let is_it = |one: &Violation<_, _>| matches!(one, Violation::Invalidated(_));
    assert!(found.iter().any(is_it), "{found:?}");
}

/// REP-1: a cache whose ages count from the answer is found out.
#[tokio::test(start_paused = true)]
async fn a_cache_that_counts_from_the_answer_is_found() {
    let world = World::new();
    let cache = ByHand {
        world: world.clone(),
        kept: Arc::default(),
        counts_from_answer: true,
    };
    let found = look_ups(&world, cache, 3).await;
    let is_it = |one: &Violation<_, _>| matches!(one, Violation::Age(_));
    assert!(found.iter().any(is_it), "{found:?}");
}
