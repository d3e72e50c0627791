//! Engines of others, in a process of their own: what they bring can't stand beside ours in one.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};

use crate::saga::load::{Sample, Window};
use crate::store::Ground;
use crate::store::subject::postgres::connect;
use crate::store::subject::runtime;

/// Where the program is that runs them.
const PEERS: &str = "BACKSTAY_BENCH_PEERS";

/// Fails now rather than after minutes of measuring.
pub(crate) fn check() -> Result<()> {
    program().map(drop)
}

fn program() -> Result<PathBuf> {
    env::var_os(PEERS).map(PathBuf::from).context(
        "no peers: start this by `cargo xtask bench`, which builds them, or leave them out with \
         `--without peers`",
    )
}

/// An engine that has a file, or nothing but memory.
pub(super) fn visit(
    ground: &Ground,
    engine: &str,
    at_once: usize,
    window: Window,
) -> Result<Sample> {
    let folder = tempfile::tempdir_in(ground.folder.path())?;
    let place = folder.path().to_str().context("the folder's name")?;
    ask(engine, at_once, window, &[place])
}

/// An engine that has a schema on the server, which is gone afterwards.
pub(crate) fn visit_postgres(
    ground: &Ground,
    engine: &str,
    at_once: usize,
    window: Window,
) -> Result<Sample> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let schema = format!("bench_peer_{}_{number}", std::process::id());
    let sample = ask(engine, at_once, window, &[&ground.postgres, &schema]);
    runtime()?.block_on(async {
        let client = connect(&ground.postgres).await?;
        let drop =
            format!("SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE");
        anyhow::Ok(client.batch_execute(&drop).await?)
    })?;
    sample
}

fn ask(engine: &str, at_once: usize, window: Window, place: &[&str]) -> Result<Sample> {
    let mut command = Command::new(program()?);
    command
        .arg(engine)
        .arg(at_once.to_string())
        .arg(window.warm_up.as_millis().to_string())
        .arg(window.measured.as_millis().to_string())
        .args(place)
        // One of them writes its log where the sample goes. Writing it would cost time too.
        .env("RUST_LOG", "off")
        .stderr(Stdio::inherit());
    let output = command.output().context("cannot start the peers")?;
    ensure!(output.status.success(), "the peer {}", output.status);
    serde_json::from_slice(&output.stdout).context("what the peer says can't be read")
}
