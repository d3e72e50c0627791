//! SAG-1: graphs that nobody thought of, broken at every boundary.

use std::sync::Arc;

use backstay_saga::{Before, Builder, Ref, Retry, Saga, Settled, Version, testkit};
use proptest::prelude::*;

use crate::world::{Order, World, step, undo};

/// A step of a random graph.
#[derive(Clone, Debug)]
struct Shape {
    /// Comes after those of the steps before it that are set.
    after: u8,
    has_undo: bool,
    is_idempotent: bool,
    attempts: u32,
}

/// Steps before the pivot, whether there is one, and steps after it.
#[derive(Clone, Debug)]
struct Graph {
    before: Vec<Shape>,
    has_pivot: bool,
    after: Vec<Shape>,
}

fn shape() -> impl Strategy<Value = Shape> {
    (
        any::<u8>(),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.7),
        1u32..4,
    )
        .prop_map(|(after, has_undo, is_idempotent, attempts)| Shape {
            after,
            has_undo,
            is_idempotent,
            attempts,
        })
}

fn graph() -> impl Strategy<Value = Graph> {
    let before = prop::collection::vec(shape(), 1..5);
    let after = prop::collection::vec(shape(), 0..3);
    (before, any::<bool>(), after).prop_map(|(before, has_pivot, after)| Graph {
        before,
        has_pivot,
        after,
    })
}

fn is_set(bits: u8, bit: usize) -> bool {
    bits >> (bit % 8) & 1 == 1
}

fn saga(graph: &Graph) -> Saga<Arc<World>, Order, ()> {
    let saga: Builder<Arc<World>, Order> = Saga::builder("random", Version(1));
    let mut before: Vec<Ref<String, Before>> = Vec::new();
    for (number, shape) in graph.before.iter().enumerate() {
        // Without an undo it must have no effect.
        let name = if shape.has_undo {
            format!("s{number}")
        } else {
            format!("look{number}")
        };
        let mut made = saga
            .step(&name, step)
            .retry(Retry::attempts(shape.attempts));
        if !shape.is_idempotent {
            made = made.not_idempotent();
        }
        for (other, earlier) in before.iter().enumerate() {
            if is_set(shape.after, other) {
                made = made.after(*earlier);
            }
        }
        before.push(if shape.has_undo {
            made.undo(undo)
        } else {
            made.nothing_to_undo()
        });
    }
    if graph.has_pivot {
        let pivot = saga.step("pivot", step).pivot();
        let mut after = vec![pivot];
        for (number, shape) in graph.after.iter().enumerate() {
            let mut made = saga.step(&format!("t{number}"), step).after(pivot);
            for (other, earlier) in after.iter().enumerate() {
                if is_set(shape.after, other) {
                    made = made.after(*earlier);
                }
            }
            after.push(made.until_done());
        }
    }
    saga.build(()).unwrap()
}

fn holds(all: &[String], world: &World, settled: &Settled<()>) -> Result<(), String> {
    let mut there = world.effects();
    there.retain(|step| !step.starts_with("look"));
    match settled {
        Settled::Done(()) if there == all => Ok(()),
        Settled::Undone(_) if there.is_empty() => Ok(()),
        // A person has to look: nothing before the pivot is forgotten if it may have happened.
        Settled::Parked(_) => Ok(()),
        settled => Err(format!("{there:?} is there, and it is {settled:?}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn any_graph_ends(graph in graph()) {
        let saga = saga(&graph);
        let names = saga.graph().steps.iter().map(|step| step.name.clone());
        let mut all: Vec<String> = names.filter(|name| !name.starts_with("look")).collect();
        all.sort();
        let world = || Arc::new(World::default());
        let holds = |world: &Arc<World>, settled: &Settled<()>| holds(&all, world, settled);
        let swept = testkit::sweep(&saga, &Order { number: 1 }, world, holds);
        prop_assert!(swept.done > 0);
    }
}
