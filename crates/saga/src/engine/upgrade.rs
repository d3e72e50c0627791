//! Instances whose graph no code runs any more, moved to one that says how.

use super::worker::Worker;
use crate::define::Run;
use crate::graph::Graph;
use crate::log::Entry;
use crate::machine::{Forward, State};

/// The move of an instance to a registered graph, or why there is none.
pub(super) fn of<App>(worker: &Worker<App>, state: &State) -> Result<Entry, String> {
    let old = &state.graph;
    let runs = worker.sagas.values();
    let from = runs.filter(|run| {
        let upgrades = run.upgrades().iter();
        run.graph().saga == old.saga && upgrades.clone().any(|upgrade| upgrade.from == old.version)
    });
    // The newest that says so, in every worker.
    let Some(run) = from.max_by_key(|run| run.graph().version) else {
        return Err(format!(
            "{} {} has no code here, and nothing says how it is upgraded",
            old.saga, old.version.0
        ));
    };
    let steps = places(state, run.as_ref(), old)?;
    Ok(Entry::Migrate {
        graph: run.fingerprint().clone(),
        steps,
    })
}

/// Where each of the old steps is in the new graph, unless one that has begun would be lost or changed.
fn places<App>(
    state: &State,
    run: &dyn Run<App>,
    old: &Graph,
) -> Result<Vec<Option<usize>>, String> {
    let new = run.graph();
    let mut upgrades = run.upgrades().iter();
    let upgrade = upgrades.find(|upgrade| upgrade.from == old.version);
    let renames = upgrade.map_or(&[][..], |upgrade| &upgrade.renames);
    let places: Vec<_> = old
        .steps
        .iter()
        .map(|step| {
            let changed = renames.iter().find(|(old, _)| *old == step.name);
            new.step(changed.map_or(&step.name, |(_, name)| name))
        })
        .collect();
    let is_twice = |place: &usize| {
        places
            .iter()
            .flatten()
            .filter(|other| *other == place)
            .count()
            > 1
    };
    if let Some(place) = places.iter().flatten().find(|place| is_twice(place)) {
        let name = &new.steps[*place].name;
        return Err(format!("two steps would become {name:?} in the new graph"));
    }
    let is_done = |new: &usize| {
        let mut moved = places.iter().zip(&state.steps);
        moved.any(|(place, step)| *place == Some(*new) && step.is_done())
    };
    for (step, place) in places.iter().enumerate() {
        if state.steps[step].forward == Forward::Waiting {
            continue;
        }
        let node = &old.steps[step];
        let refuse = |what: &str| Err(format!("step {:?} has begun and {what}", node.name));
        let Some(place) = *place else {
            return refuse("is not in the new graph");
        };
        if (new.steps[place].role, &new.steps[place].work) != (node.role, &node.work) {
            return refuse("is another kind of step in the new graph");
        }
        if !new.waits_for(place).iter().all(is_done) {
            return refuse("comes in the new graph after steps that are not done");
        }
    }
    Ok(places)
}
