//! SAG-1, SAG-11: our own sagas, broken at every boundary.

use std::sync::Arc;
use std::time::Duration;

use backstay_saga::testkit::{self, Flaw, Sweep, Swept};
use backstay_saga::{Builder, By, Operator, Retry, Saga, Settled, Version};

use crate::world::{Do, Order, World, after_one, after_two, step, undo};

type Made = Saga<Arc<World>, Order, String>;

fn builder(name: &str) -> Builder<Arc<World>, Order> {
    Saga::builder(name, Version(1))
}

fn linear() -> Made {
    let saga = builder("linear");
    let one = saga.step("one", step).undo(undo);
    let two = saga.step("two", after_one).needs(one).undo(undo);
    let three = saga.step("three", after_one).needs(two).undo(undo);
    saga.build(three).unwrap()
}

fn two() -> Made {
    let saga = builder("two");
    let one = saga.step("one", step).undo(undo);
    let two = saga.step("two", after_one).needs(one).undo(undo);
    saga.build(two).unwrap()
}

fn parallel() -> Made {
    let saga = builder("parallel");
    let hold = saga.step("hold", step).undo(undo);
    let seat = saga.step("seat", after_one).needs(hold).undo(undo);
    let car = saga.step("car", after_one).needs(hold).undo(undo);
    let both = saga.step("both", after_two).needs((seat, car)).undo(undo);
    saga.build(both).unwrap()
}

fn with_pivot() -> Made {
    let saga = builder("with-pivot");
    let hold = saga.step("hold", step).undo(undo);
    let look = saga.step("look", step).nothing_to_undo();
    let paid = saga.step("charge", after_two).needs((hold, look)).pivot();
    let mail = saga.step("mail", after_one).needs(paid).until_done();
    saga.step("log", after_one).needs(mail).until_done();
    saga.build(mail).unwrap()
}

/// A step that is called once, whatever is known of it.
fn not_idempotent() -> Made {
    let saga = builder("not-idempotent");
    let one = saga.step("one", step).not_idempotent().undo(undo);
    let two = saga
        .step("two", after_one)
        .needs(one)
        .retry(Retry::attempts(2))
        .undo(undo);
    saga.build(two).unwrap()
}

fn with_timer() -> Made {
    let saga = builder("with-timer");
    let one = saga.step("one", step).undo(undo);
    let rest = saga
        .sleep("rest", Duration::from_secs(60))
        .after(one)
        .nothing_to_undo();
    let two = saga.step("two", step).after(rest).undo(undo);
    saga.build(two).unwrap()
}

/// One that waits for a word before its pivot.
fn with_signal() -> Made {
    let saga = builder("with-signal");
    let hold = saga.step("hold", step).undo(undo);
    let word = saga.signal::<String>("word", None).after(hold);
    let word = word.nothing_to_undo();
    let paid = saga.step("charge", after_one).needs(word).pivot();
    saga.build(paid).unwrap()
}

/// A saga within a saga.
fn nested() -> Made {
    let inner: Builder<Arc<World>, String> = Saga::builder("inner", Version(1));
    let first = inner.step("first", step).undo(undo);
    let second = inner.step("second", after_one).needs(first).undo(undo);
    let inner = inner.build(second).unwrap();
    let saga = builder("outer");
    let one = saga.step("one", step).undo(undo);
    let inner = saga.child("inner", &inner).needs(one).undo_child();
    let two = saga.step("two", after_one).needs(inner).undo(undo);
    saga.build(two).unwrap()
}

/// What is there afterwards: all of it or nothing, unless a person has to look.
fn all_or_nothing<'w>(
    saga: &Made,
    parks: bool,
) -> impl Fn(&Arc<World>, &Settled<String>) -> Result<(), String> + 'w + use<'w> {
    let steps = saga.graph().steps.iter().map(|step| step.name.clone());
    let mut all: Vec<String> = steps
        .flat_map(|name| match name.as_str() {
            "rest" | "look" | "word" => vec![],
            "inner" => vec!["first".to_owned(), "second".to_owned()],
            _ => vec![name],
        })
        .collect();
    all.sort();
    move |world, settled| {
        let mut there = world.effects();
        there.retain(|step| step != "look");
        match settled {
            Settled::Done(_) if there == all => Ok(()),
            Settled::Undone(_) if there.is_empty() => Ok(()),
            Settled::Parked(_) if parks => Ok(()),
            settled => Err(format!("{there:?} is there, and it is {settled:?}")),
        }
    }
}

fn sweep(saga: &Made) -> Swept {
    let world = || Arc::new(World::default());
    testkit::sweep(
        saga,
        &Order { number: 7 },
        world,
        all_or_nothing(saga, true),
    )
}

/// What the sweep finds wrong with an engine that is broken.
fn found(saga: &Made, flaw: Flaw) -> String {
    let world = || Arc::new(World::default());
    let holds = all_or_nothing(saga, true);
    let sweep = Sweep::of(saga, &Order { number: 7 }).flaw(flaw);
    let swept = sweep.try_run(world, holds);
    swept.expect_err("the flaw is found")
}

/// SAG-1: one step after the other.
#[test]
fn a_linear_saga() {
    let swept = sweep(&linear());
    assert!(swept.done > 20 && swept.undone > 20, "{swept:?}");
}

/// SAG-5: branches settle before undo begins.
#[test]
fn a_parallel_saga() {
    let swept = sweep(&parallel());
    assert!(swept.done > 20 && swept.undone > 20, "{swept:?}");
}

/// SAG-5: after the pivot it only goes forward.
#[test]
fn a_saga_with_a_pivot() {
    let swept = sweep(&with_pivot());
    assert!(swept.done > 20 && swept.undone > 20, "{swept:?}");
}

/// SAG-3: what is not idempotent and unknown is undone.
#[test]
fn a_saga_that_is_not_idempotent() {
    let swept = sweep(&not_idempotent());
    assert!(swept.done > 10 && swept.undone > 20, "{swept:?}");
}

/// SAG-9: timers outlive workers.
#[test]
fn a_saga_with_a_timer() {
    let swept = sweep(&with_timer());
    assert!(swept.done > 20 && swept.undone > 20, "{swept:?}");
}

/// SAG-1: a saga within a saga is undone with it.
#[test]
fn a_nested_saga() {
    let swept = sweep(&nested());
    assert!(swept.done > 20 && swept.undone > 20, "{swept:?}");
}

fn by() -> By {
    By::new("eva", "as the sweep has it").unwrap()
}

async fn say(operator: Operator) {
    // Too early or too late it is refused.
    let _ = operator
        .signal("with-signal", testkit::ID, "word", &"yes", by())
        .await;
}

async fn turn_back(operator: Operator) {
    let _ = operator.undo("with-signal", testkit::ID, by()).await;
}

async fn retry(operator: Operator) {
    let _ = operator.retry("two", testkit::ID, by()).await;
}

async fn skip(operator: Operator) {
    let _ = operator.skip("two", testkit::ID, "one", None, by()).await;
}

/// SAG-9: a signal that comes before any commit, or while no worker is there.
#[test]
fn a_saga_that_waits_for_a_signal() {
    let saga = with_signal();
    let sweep = Sweep::of(&saga, &Order { number: 7 }).person(say);
    let swept = sweep.run(|| Arc::new(World::default()), all_or_nothing(&saga, true));
    assert!(swept.done > 20 && swept.undone > 5, "{swept:?}");
}

/// SAG-10: a person who turns it back before any commit.
#[test]
fn a_saga_that_is_turned_back() {
    let saga = with_signal();
    let sweep = Sweep::of(&saga, &Order { number: 7 }).person(turn_back);
    let swept = sweep.run(|| Arc::new(World::default()), all_or_nothing(&saga, true));
    assert!(swept.done == 0 && swept.undone > 20, "{swept:?}");
}

/// Its second step fails, and the first can't be undone at first, so it is parked.
fn stuck() -> Arc<World> {
    let world = World::default().told("+two", &[Do::Fail]);
    Arc::new(world.told("-one", &[Do::Fail]))
}

/// SAG-10: one that is parked is tried again.
#[test]
fn a_saga_that_is_tried_again() {
    let saga = two();
    let sweep = Sweep::of(&saga, &Order { number: 7 }).person(retry);
    let swept = sweep.run(stuck, all_or_nothing(&saga, true));
    assert!(swept.undone > 50, "{swept:?}");
}

/// SAG-10: a person has undone what can't be undone.
#[test]
fn a_saga_whose_undo_is_skipped() {
    let saga = two();
    let sweep = Sweep::of(&saga, &Order { number: 7 }).person(skip);
    let swept = sweep.run(stuck, |world, settled| {
        let there = world.effects();
        match settled {
            Settled::Done(_) if there == ["one", "two"] => Ok(()),
            // The person has seen to the first.
            Settled::Undone(_) if there == ["one"] || there.is_empty() => Ok(()),
            Settled::Parked(_) => Ok(()),
            settled => Err(format!("{there:?} is there, and it is {settled:?}")),
        }
    });
    assert!(swept.undone > 50, "{swept:?}");
}

/// SAG-7: without fences a worker that was replaced goes on writing, and is found out.
#[test]
fn an_engine_without_fences_is_found() {
    let found = found(&linear(), Flaw::NoFence);
    assert!(
        found.contains("the log can't be: Done { step: 0"),
        "{found}"
    );
}

/// SAG-2: a step that ran before it was written down is forgotten, and is found.
#[test]
fn an_engine_that_writes_intent_last_is_found() {
    let found = found(&parallel(), Flaw::IntentLast);
    assert!(found.contains("is there, and it is Undone"), "{found}");
}

/// SAG-3: a step that may have happened and is not undone is found.
#[test]
fn an_engine_that_forgets_the_unknown_is_found() {
    let found = found(&linear(), Flaw::UnknownIsNothing);
    assert!(found.contains("is there, and it is Undone"), "{found}");
}

/// SAG-4: an undo that is cut off and not repeated is found.
#[test]
fn an_engine_that_cancels_undo_is_found() {
    let found = found(&linear(), Flaw::UndoCancelled);
    assert!(found.contains("is there, and it is Undone"), "{found}");
}
