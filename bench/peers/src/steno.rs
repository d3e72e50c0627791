//! steno with the store that it has, which is in memory: three nodes in a row.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use slog::{Discard, Logger, o};
use steno::{
    Action, ActionContext, ActionError, ActionFunc, ActionRegistry, DagBuilder, InMemorySecStore,
    Node, SagaDag, SagaId, SagaName, SagaType,
};

use crate::Visit;
use crate::load::{self, Progress, Sample};

#[derive(Debug)]
struct Three;

impl SagaType for Three {
    type ExecContextType = Arc<Progress>;
}

async fn step(cx: ActionContext<Three>) -> Result<u64, ActionError> {
    cx.user_data().step();
    Ok(7)
}

async fn undo(_: ActionContext<Three>) -> Result<(), anyhow::Error> {
    Ok(())
}

pub(crate) async fn visit(visit: Visit) -> Result<Sample> {
    let log = Logger::root(Discard, o!());
    let sec = Arc::new(steno::sec(log, Arc::new(InMemorySecStore::new())));
    let action: Arc<dyn Action<Three>> = ActionFunc::new_action("step", step, undo);
    let mut registry = ActionRegistry::new();
    registry.register(action.clone());
    let registry = Arc::new(registry);
    let mut steps = DagBuilder::new(SagaName::new("bench"));
    for name in ["one", "two", "three"] {
        steps.append(Node::action(name, name, action.as_ref()));
    }
    let steps = steps.build().map_err(|error| anyhow!("{error:?}"))?;
    let dag = Arc::new(SagaDag::new(steps, serde_json::Value::Null));
    let progress = visit.progress.clone();
    let saga = move |_| {
        let (sec, progress) = (sec.clone(), progress.clone());
        let (dag, registry) = (dag.clone(), registry.clone());
        async move {
            let id = SagaId::new_v4();
            let app = Arc::new(progress.clone());
            let ended = sec.saga_create(id, app, dag, registry).await?;
            sec.saga_start(id).await?;
            progress.started();
            let ended = ended.await.kind;
            ended.map_err(|error| anyhow!("{error:?}"))?;
            Ok(())
        }
    };
    load::sagas(visit.at_once, visit.window, visit.progress.clone(), saga).await
}
