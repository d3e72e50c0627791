//! `cargo xtask ci`: every step a change has to pass.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::cargo::{self, Workspace};
use crate::{loom, servers, test, tidy};

/// What is installed where there is none; one that is there is used as it is.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// Which steps to run; all of them unless told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave a step out; may be repeated.
    #[arg(long, value_name = "STEP")]
    skip: Vec<Step>,
    /// Run just this step; may be repeated.
    #[arg(long, value_name = "STEP", conflicts_with = "skip")]
    only: Vec<Step>,
    #[command(flatten)]
    servers: servers::Args,
}

/// The steps, in the order they run: what fails in seconds comes first.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Step {
    /// `cargo fmt --check`
    Fmt,
    /// `cargo xtask tidy`
    Tidy,
    /// clippy over every target and feature, warnings are errors
    Clippy,
    /// rustdoc over every crate, warnings are errors
    Docs,
    /// each library alone, without features and with one at a time
    Features,
    /// `cargo xtask test`
    Test,
    /// every example compiles
    Examples,
    /// `cargo xtask loom`
    Loom,
    /// licences, banned crates and sources
    Deny,
}

/// Runs the chosen steps up to the first that fails, then prints how each went.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut report = Vec::new();
    let mut failure = None;
    for step in args.steps() {
        if failure.is_some() {
            report.push(format!("{step:<10} not run"));
            continue;
        }
        println!("\n== {step}");
        let (result, took) = timed(|| step.run(workspace, &args.servers));
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        let line = format!("{step:<10} {word:<7} {:>6.1} s", took.as_secs_f64());
        println!("== {line}");
        report.push(line);
        failure = result.err();
    }
    println!("\n{}", report.join("\n"));
    failure.map_or(Ok(()), Err)
}

impl Args {
    fn steps(&self) -> impl Iterator<Item = Step> {
        Step::value_variants().iter().copied().filter(|step| {
            if self.only.is_empty() {
                !self.skip.contains(step)
            } else {
                self.only.contains(step)
            }
        })
    }
}

impl Step {
    fn run(self, workspace: &Workspace, servers: &servers::Args) -> Result<()> {
        let cargo = |args: &str| {
            let mut command = workspace.cargo();
            command.args(args.split(' '));
            command
        };
        match self {
            Step::Fmt => cargo::run(&mut cargo("fmt --all --check")),
            Step::Tidy => tidy::run(workspace),
            Step::Clippy => {
                cargo::run(&mut cargo(
                    "clippy --workspace --all-targets --all-features -- -D warnings",
                ))?;
                // Not among all targets, because it does not build beside them.
                let shipping_clock = test::SHIPPING_CLOCK.join(" ");
                cargo::run(&mut cargo(&format!(
                    "clippy {shipping_clock} -- -D warnings"
                )))
            }
            Step::Docs => cargo::run(
                cargo("doc --no-deps --workspace --all-features")
                    .env("RUSTDOCFLAGS", "-D warnings"),
            ),
            Step::Features => each_feature_alone(workspace),
            Step::Test => {
                if test::run(workspace, servers)? != ExitCode::SUCCESS {
                    bail!("a test failed");
                }
                Ok(())
            }
            Step::Examples => cargo::run(&mut cargo("build --workspace --all-features --examples")),
            Step::Loom => loom::run(workspace),
            Step::Deny => {
                if !cargo("deny --version")
                    .output()
                    .is_ok_and(|output| output.status.success())
                {
                    // It runs for a second, and to optimize it takes minutes.
                    cargo::run(cargo("install --locked --debug").arg(CARGO_DENY))?;
                }
                cargo::run(&mut cargo("deny check bans licenses sources"))
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// Checks each library by itself: in the workspace another crate may switch on what it forgot to ask for.
fn each_feature_alone(workspace: &Workspace) -> Result<()> {
    let libraries = workspace.packages.iter().filter(|package| {
        workspace
            .relative(&package.manifest_path)
            .starts_with("crates/")
    });
    for library in libraries {
        let check = |feature: Option<&str>| {
            println!("{} with {}", library.name, feature.unwrap_or("no feature"));
            let mut command = workspace.cargo();
            command.args([
                "check",
                "--quiet",
                "--no-default-features",
                "--package",
                &library.name,
            ]);
            cargo::run(command.args(feature.iter().flat_map(|feature| ["--features", feature])))
        };
        check(None)?;
        library
            .named_features()
            .try_for_each(|feature| check(Some(feature)))?;
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the report shows a person how long a step took"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(skip: &[Step], only: &[Step]) -> Vec<Step> {
        Args {
            skip: skip.to_vec(),
            only: only.to_vec(),
            servers: servers::Args::default(),
        }
        .steps()
        .collect()
    }

    /// Without a choice every step runs; a skipped one does not; a chosen one runs alone.
    #[test]
    fn steps_are_skipped_or_chosen_by_name() {
        assert_eq!(steps(&[], &[]), Step::value_variants());
        let skipped = steps(&[Step::Test], &[]);
        assert!(!skipped.contains(&Step::Test));
        assert_eq!(skipped.len(), Step::value_variants().len() - 1);
        assert_eq!(steps(&[], &[Step::Clippy]), [Step::Clippy]);
    }
}
