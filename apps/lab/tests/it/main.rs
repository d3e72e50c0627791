//! The binary, from outside.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn lab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lab"))
}

fn run(arguments: &[&str]) -> Output {
    lab().args(arguments).output().expect("the binary starts")
}

fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("plain text");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

#[test]
fn list_names_experiments_and_arms() {
    let output = run(&["list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for name in [
        "overload",
        "healthy",
        "none",
        "article-retry",
        "bounded-queue",
    ] {
        assert!(text.contains(name), "{name}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_and_status_64() {
    for arguments in [
        &["run", "nothing"][..],
        &["run", "overload", "--arms", "nobody"],
        &["run", "overload", "--load", "0"],
        &["run", "healthy", "--fast"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(complaint(&output).starts_with("lab: "), "{arguments:?}");
    }
}

#[test]
fn an_unwritable_folder_is_refused_before_the_run() {
    let output = run(&["run", "overload", "--out", "/dev/null"]);
    assert_eq!(output.status.code(), Some(74));
    assert!(complaint(&output).contains("can't write the report to /dev/null/overload"));
}

/// Ctrl-C leaves a report that says so, and the status of a run that proves nothing.
#[test]
fn an_interrupted_run_leaves_a_partial_report() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("interrupted");
    let mut child = lab()
        .args(["run", "overload", "--arms", "none", "--out"])
        .arg(&out)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The first words after the capacity is known: the load begins.
    assert!(lines.any(|line| line.unwrap().starts_with("capacity ")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(2));

    let report = std::fs::read_to_string(out.join("overload/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["partial"], true);
    assert_eq!(report["verdict"], "INVALID");
    assert_eq!(report["reasons"][0], "interrupted");
    assert!(
        std::fs::read_to_string(out.join("overload/report.html"))
            .unwrap()
            .contains("<svg")
    );
}
