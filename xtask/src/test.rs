//! `cargo xtask test`: every test of the workspace and one line that says how it went.

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::cargo::Workspace;
use crate::group::Group;
use crate::interrupt::Interrupt;
use crate::servers::{self, Servers};

/// Every build that is tested. Tests ask tokio for a clock that can be paused, and in one build all crates get what
/// one asks for. So the clock that ships is tested in a build of its own.
const BUILDS: &[&[&str]] = &[
    &["--workspace", "--all-features", "--no-fail-fast"],
    &SHIPPING_CLOCK,
];

/// The test of the clock that ships, as cargo is told of it.
pub(crate) const SHIPPING_CLOCK: [&str; 4] = ["--package", "backstay", "--test", "shipping_clock"];

/// Starts the servers, runs the tests, shows what they print and ends with `N passed, N failed`.
pub(crate) fn run(workspace: &Workspace, args: &servers::Args) -> Result<ExitCode> {
    let interrupt = Interrupt::watch()?;
    let servers = Servers::start(args.used_by_tests(), args, &interrupt)?;
    let mut sum = Count::default();
    for build in BUILDS {
        sum.add(&test(workspace, build, &servers, &interrupt)?);
    }
    let skipped = servers.skipped();
    drop(servers);
    interrupt.check()?;
    if let Some(skipped) = skipped {
        println!("{skipped}");
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn test(
    workspace: &Workspace,
    build: &[&str],
    servers: &Servers,
    interrupt: &Interrupt,
) -> Result<Count> {
    let group = Group::new(None)?;
    let mut command = workspace.cargo();
    command
        .arg("test")
        .args(build)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    servers.tell(group.adopt(&mut command));
    let _forward = interrupt.forward_to(&group);
    let mut child = command.spawn().context("cannot start cargo test")?;
    interrupt.check()?;

    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        count = relay(BufReader::new(stdout), std::io::stdout())?;
    }
    if !child.wait()?.success() {
        // A test binary that did not compile, or died, prints no result line of its own.
        count.failed = count.failed.max(1);
    }
    interrupt.check()?;
    Ok(count)
}

#[derive(Debug, Default, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Copies the output as it comes and sums the result lines.
fn relay(mut from: impl BufRead, mut to: impl Write) -> Result<Count> {
    let mut sum = Count::default();
    let mut line = Vec::new();
    // Bytes, not strings: a test may print anything.
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        sum.add(&counts(&String::from_utf8_lossy(&line)));
        line.clear();
    }
    Ok(sum)
}

/// Reads `test result: ok. 12 passed; 0 failed; ..`; any other line counts nothing.
fn counts(line: &str) -> Count {
    let Some(result) = line.strip_prefix("test result: ") else {
        return Count::default();
    };
    let number = |word: &str| {
        let words: Vec<_> = result
            .split([' ', ';'])
            .filter(|word| !word.is_empty())
            .collect();
        let at = words.iter().position(|found| *found == word)?;
        words.get(at.checked_sub(1)?)?.parse::<u32>().ok()
    };
    Count {
        passed: number("passed").unwrap_or(0).into(),
        failed: number("failed").unwrap_or(0).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum runs over all test binaries, and the output passes through unchanged.
    #[test]
    fn result_lines_are_summed_and_all_output_is_shown() {
        let output = b"running 3 tests\n\
            test a ... ok\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            \xff not text, and no test result: ok. 9 passed; 9 failed;\n\
            test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out\n\
            no newline at the end";
        let mut shown = Vec::new();
        let count = relay(&output[..], &mut shown).unwrap();
        assert_eq!(
            count,
            Count {
                passed: 13,
                failed: 2
            }
        );
        assert_eq!(shown, output);
    }

    /// A damaged line counts nothing and stops nothing.
    #[test]
    fn a_damaged_result_line_counts_nothing() {
        for line in [
            "test result: ",
            "test result: passed failed",
            "test result: ok. 99999999999 passed; x failed",
        ] {
            assert_eq!(counts(line), Count::default(), "{line}");
        }
    }
}
