//! duroxide with its SQLite provider: three activities in a row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use duroxide::providers::sqlite::SqliteProvider;
use duroxide::runtime::Runtime;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{
    ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use tokio::sync::oneshot;

use crate::Visit;
use crate::load::{self, Sample};

/// As many as the provider opens.
const CONNECTIONS: usize = 5;

/// What `PRAGMA synchronous` says.
const NORMAL: i64 = 1;
const FULL: i64 = 2;

const LONG: Duration = Duration::from_secs(600);

/// Those that wait for their last step.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>;

pub(crate) async fn visit(visit: Visit, is_full: bool) -> Result<Sample> {
    let file = format!("{}/duroxide.db", visit.place(0)?);
    std::fs::File::create(&file)?;
    let store = Arc::new(SqliteProvider::new(&format!("sqlite:{file}"), None).await?);
    let synchronous = synchronous(&store, is_full).await?;
    ensure!(
        synchronous == if is_full { FULL } else { NORMAL },
        "synchronous is {synchronous}"
    );
    let waiting = Waiting::default();
    let activities = {
        let (steps, last, waiting) = (
            visit.progress.clone(),
            visit.progress.clone(),
            waiting.clone(),
        );
        ActivityRegistry::builder()
            .register("Step", move |_: ActivityContext, input: String| {
                steps.step();
                async move { Ok(input) }
            })
            .register("Last", move |_: ActivityContext, input: String| {
                last.step();
                let told = waiting.lock().ok().and_then(|mut all| all.remove(&input));
                if let Some(told) = told {
                    let _ = told.send(());
                }
                async move { Ok(input) }
            })
            .build()
    };
    let three = |cx: OrchestrationContext, input: String| async move {
        let one = cx.schedule_activity("Step", input).await?;
        let two = cx.schedule_activity("Step", one).await?;
        cx.schedule_activity("Last", two).await
    };
    let orchestrations = OrchestrationRegistry::builder()
        .register("Three", three)
        .build();
    let runtime = Runtime::start_with_store(store.clone(), activities, orchestrations).await;
    let client = Arc::new(Client::new(store));
    let is_alone = visit.at_once == 1;
    let progress = visit.progress.clone();
    let saga = move |number: u64| {
        let (client, waiting, progress) = (client.clone(), waiting.clone(), progress.clone());
        async move {
            let id = format!("order-{number}");
            let (tell, told) = oneshot::channel();
            if !is_alone && let Ok(mut waiting) = waiting.lock() {
                waiting.insert(id.clone(), tell);
            }
            client.start_orchestration(&id, "Three", id.clone()).await?;
            progress.started();
            if is_alone {
                let status = client.wait_for_orchestration(&id, LONG).await?;
                let is_done = matches!(status, OrchestrationStatus::Completed { .. });
                ensure!(is_done, "{id} is not completed");
            } else {
                // The client polls, which would be most of the work where many wait.
                told.await?;
            }
            Ok(())
        }
    };
    let sample = load::sagas(visit.at_once, visit.window, visit.progress.clone(), saga).await;
    drop(runtime);
    sample
}

/// What each commit waits for, on all connections of the pool.
async fn synchronous(store: &SqliteProvider, is_full: bool) -> Result<i64> {
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        all.push(store.get_pool().acquire().await?);
    }
    let mut last = 0;
    for connection in &mut all {
        if is_full {
            let set = sqlx::query("PRAGMA synchronous = FULL");
            set.execute(&mut **connection).await?;
        }
        let ask = sqlx::query_scalar("PRAGMA synchronous");
        last = ask.fetch_one(&mut **connection).await?;
    }
    Ok(last)
}
