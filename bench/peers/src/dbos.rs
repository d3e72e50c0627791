//! DBOS on Postgres: a workflow of three steps in a row.

use anyhow::Result;
use dbos::{Config, DBOS};

use crate::Visit;
use crate::load::{self, Sample};

pub(crate) async fn visit(visit: Visit) -> Result<Sample> {
    let config = Config {
        schema: visit.place(1)?.to_owned(),
        app_version: Some("1".to_owned()),
        ..Config::new("bench", visit.place(0)?)
    };
    let dbos = DBOS::new(config);
    let progress = visit.progress.clone();
    let three = dbos.register_workflow("three", move |number: u64| {
        let progress = progress.clone();
        async move {
            let mut last = number;
            for name in ["one", "two", "three"] {
                last = dbos::step(name, || {
                    progress.step();
                    async move { Ok::<u64, dbos::Error>(last) }
                })
                .await?;
            }
            Ok::<u64, dbos::Error>(last)
        }
    })?;
    dbos.launch().await?;
    let three = std::sync::Arc::new(three);
    let progress = visit.progress.clone();
    let saga = move |number: u64| {
        let (three, progress) = (three.clone(), progress.clone());
        async move {
            let handle = three.start(number).await?;
            progress.started();
            handle.result().await?;
            Ok(())
        }
    };
    load::sagas(visit.at_once, visit.window, visit.progress.clone(), saga).await
}
