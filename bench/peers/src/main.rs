//! Sagas of three steps that do nothing, and commands, on the engines of others. What it is asked for it measures once, and prints it
//! as JSON.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::load::{Progress, Sample, Window};

#[path = "../../src/clock.rs"]
#[expect(dead_code, reason = "the bench reads the time of day too")]
mod clock;
mod cqrs_es;
mod dbos;
mod duroxide;
#[path = "../../src/saga/load.rs"]
mod load;
mod steno;

/// What is asked for: an engine, how many at once, two times in milliseconds, and where.
struct Visit {
    at_once: usize,
    window: Window,
    place: Vec<String>,
    progress: Arc<Progress>,
}

impl Visit {
    fn place(&self, number: usize) -> Result<&str> {
        let place = self.place.get(number);
        place.map(String::as_str).context("it is not said where")
    }
}

fn main() -> Result<()> {
    let mut words = env::args().skip(1);
    let mut word = || {
        words
            .next()
            .context("ENGINE AT_ONCE WARM_UP MEASURED PLACE..")
    };
    let engine = word()?;
    let at_once = word()?.parse()?;
    let mut millis = || anyhow::Ok(Duration::from_millis(word()?.parse()?));
    let window = Window {
        warm_up: millis()?,
        measured: millis()?,
    };
    let visit = Visit {
        at_once,
        window,
        place: words.collect(),
        progress: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let sample = runtime.block_on(run(&engine, visit))?;
    println!("{}", serde_json::to_string(&sample)?);
    // What still runs need not end.
    std::process::exit(0)
}

async fn run(engine: &str, visit: Visit) -> Result<Sample> {
    match engine {
        "duroxide" => duroxide::visit(visit, false).await,
        "duroxide-full" => duroxide::visit(visit, true).await,
        "steno" => steno::visit(visit).await,
        "cqrs-es" => cqrs_es::visit(visit).await,
        "dbos" => dbos::visit(visit).await,
        _ => bail!("no engine is called {engine:?}"),
    }
}
