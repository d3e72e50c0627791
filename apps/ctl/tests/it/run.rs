//! `backstay` as a person or a script runs it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A command without anything of the environment.
pub(crate) fn backstay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstay"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// Runs `backstay --store <file> saga <words>`.
pub(crate) fn saga(file: &Path, words: &[&str]) -> Ran {
    run(file, "saga", words)
}

/// Runs `backstay --store <file> events <words>`.
pub(crate) fn events(file: &Path, words: &[&str]) -> Ran {
    run(file, "events", words)
}

fn run(file: &Path, verb: &str, words: &[&str]) -> Ran {
    let mut command = backstay();
    command.arg("--store").arg(file).arg(verb).args(words);
    command.output().unwrap().into()
}

/// The same where it can be done: what it prints.
pub(crate) fn done(file: &Path, words: &[&str]) -> String {
    let ran = saga(file, words);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(0), ""),
        "{words:?}: {ran:?}"
    );
    ran.out
}

/// The same for a script: one document.
pub(crate) fn json(file: &Path, words: &[&str]) -> Value {
    let out = done(file, &[words, &["--json"]].concat());
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

/// The same where it can't be done: the one line that says why.
pub(crate) fn refused(file: &Path, words: &[&str]) -> String {
    let ran = saga(file, words);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(1), ""),
        "{words:?}: {ran:?}"
    );
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    let line = ran.err.trim_end();
    // Where it was looked for, which differs from run to run.
    line.replace(&file.display().to_string(), "FILE")
}
