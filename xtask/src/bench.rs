//! `cargo xtask bench`: one benchmark, built for release.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cargo::Workspace;

/// Runs the benchmark and hands its exit status on.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let status = workspace
        .cargo()
        .args(["run", "--release", "--package", "backstay-bench", "--"])
        .args(args)
        .status()
        .context("cannot start the benchmark")?;
    // A benchmark ended by a signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
