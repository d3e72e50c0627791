use backstay_store::Invalid;
use serde::Serialize;

use super::act::{Not, TRIES, has_not_ended};
use super::{ActError, By, Operator};
use crate::Json;
use crate::engine::names::Name;
use crate::graph::{Node, Work};
use crate::log::Entry;
use crate::machine::{Forward, Phase, State};

impl Operator {
    /// Sends a signal with a value. False if one of this name was sent before: the first counts.
    ///
    /// # Errors
    ///
    /// [`ActError::Refused`] where nothing waits for it any more, and nothing will: its time is over, its step was skipped,
    /// or the instance goes back or has ended.
    pub async fn signal(
        &self,
        saga: &str,
        id: &str,
        name: &str,
        value: &(impl Serialize + Sync),
        by: By,
    ) -> Result<bool, ActError> {
        let value = Json::write(value).map_err(|error| {
            let limit = format!("must be what JSON can hold: {error}");
            Invalid::new("value", "(not shown)", limit)
        })?;
        let entry = Entry::Signal {
            name: name.to_owned(),
            value,
            by: by.who,
            why: by.why,
        };
        let instance = Name::new(saga, id);
        for _ in 0..TRIES {
            let (loaded, _) = self.loaded(&instance).await?;
            let state = &loaded.state;
            if !is_awaited(state, name).map_err(|not| not.told(&instance, state))? {
                return Ok(false);
            }
            let entries = vec![entry.clone()];
            if self.write(&instance, &loaded, entries, None).await? {
                return Ok(true);
            }
        }
        Err(ActError::Busy)
    }
}

/// False if it was sent before.
fn is_awaited(state: &State, name: &str) -> Result<bool, Not> {
    let is_it = |node: &Node| node.name == name && matches!(node.work, Work::Signal(_));
    let step = state.graph.steps.iter().position(is_it).ok_or_else(|| {
        let limit = "must be a signal that the saga waits for";
        Invalid::new("signal", format!("{name:?}"), limit)
    })?;
    has_not_ended(state)?;
    if state.has_signal(name) {
        return Ok(false);
    }
    match (&state.steps[step].forward, &state.phase) {
        (Forward::Done(_), _) => Err(format!("step {name:?} is done").into()),
        (Forward::Failed | Forward::Unknown, _) => {
            Err(format!("step {name:?} waits no more").into())
        }
        (_, Phase::Back) => Err(format!("it goes back, and step {name:?} has not begun").into()),
        _ => Ok(true),
    }
}
