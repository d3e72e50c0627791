//! The binary, from outside.

mod prometheus;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use prometheus::{Page, Tables};

fn lab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lab"))
}

fn run(arguments: &[&str]) -> Output {
    lab().args(arguments).output().expect("the binary starts")
}

/// A run under way, which does not outlive its test.
struct Started(Child);

impl Started {
    fn new(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).spawn().expect("it starts"))
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("it runs");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
        "paused-leader",
        "lost-replies",
        "crash",
        "torn-publish",
        "revoked",
        "none",
        "article-retry",
        "bounded-queue",
        "backstay-no-attempt-timeout  ",
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
    let mut child = Started::new(
        lab()
            .args(["run", "overload", "--arms", "none", "--out"])
            .arg(&out),
    );
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    // The first words after the capacity is known: the load begins.
    assert!(lines.any(|line| line.unwrap().starts_with("capacity ")));
    child.interrupt();
    lines.for_each(drop);
    assert_eq!(child.0.wait().unwrap().code(), Some(2));

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

/// The same where servers are processes of their own.
#[test]
fn interrupted_orders_are_counted_as_far_as_they_went() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("interrupted-orders");
    let mut child = Started::new(lab().args(["run", "lost-replies", "--out"]).arg(&out));
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(" orders/s in each arm ")));
    child.interrupt();
    lines.for_each(drop);
    assert_eq!(child.0.wait().unwrap().code(), Some(2));

    let report = std::fs::read_to_string(out.join("lost-replies/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["partial"], true);
    assert_eq!(report["reasons"][0], "interrupted");
    let orders = report["arms"][0]["numbers"][0].as_f64().unwrap();
    assert!(orders < 3_000.0, "{orders} were placed in no time");
}

/// SAG-1, SAG-4: processes die at the points that hurt most, and no order of ours is left half done.
#[test]
fn a_few_crashes_leave_nothing_half_done() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("crashes");
    let output = lab()
        .args(["run", "crash", "--points", "few", "--out"])
        .arg(&out)
        .output()
        .expect("the binary starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let report = std::fs::read_to_string(out.join("crash/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["verdict"], "PASS");
    assert_eq!(report["witnesses"][1]["count"], 0, "points not reached");
}

/// CQ-2, CQ-5: processes die at the points that hurt most, and the read side has what the write side has.
#[test]
fn a_few_torn_publishes_leave_both_sides_equal() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("torn");
    let output = lab()
        .args(["run", "torn-publish", "--points", "few", "--out"])
        .arg(&out)
        .output()
        .expect("the binary starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let report = std::fs::read_to_string(out.join("torn-publish/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["verdict"], "PASS");
    assert_eq!(report["witnesses"][1]["count"], 0, "points not reached");
}

/// REP-1, REP-2, REP-3: whatever cuts a copy off from its source, no key is let in past the bound, and no age is too low.
#[test]
fn a_revoked_key_is_refused_within_the_bound() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("revoked");
    let output = lab()
        .args(["run", "revoked", "--out"])
        .arg(&out)
        .output()
        .expect("the binary starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let report = std::fs::read_to_string(out.join("revoked/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["partial"], false, "{told}");
    // What else is promised takes time, of which a machine that is busy may have none.
    let checks = report["checks"].as_array().unwrap();
    let mut held = 0;
    for check in checks.iter().filter(|check| check["kind"] == "promise") {
        let rule = check["rule"].as_str().unwrap();
        if rule.contains("lets no key in") || rule.contains("never says") {
            assert_eq!(check["holds"], true, "{rule}: {told}");
            held += 1;
        }
    }
    assert_eq!(held, 5, "{told}");
}

#[test]
fn a_port_in_use_is_told_before_the_run() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for experiment in ["overload", "healthy"] {
        let output = run(&["run", experiment, "--metrics", &address]);
        assert_eq!(output.status.code(), Some(70), "{experiment}");
        let line = complaint(&output);
        assert!(
            line.contains(&format!("can't answer for metrics at {address}")),
            "{line}"
        );
        assert!(output.stdout.is_empty(), "{experiment} had begun");
    }
}

#[test]
fn metrics_are_served_on_the_loopback_address_only() {
    for address in ["0.0.0.0:9464", "192.0.2.1:9464", "[::]:9464"] {
        for experiment in ["overload", "healthy"] {
            let output = run(&["run", experiment, "--metrics", address]);
            assert_eq!(output.status.code(), Some(64), "{experiment} {address}");
            let right = format!("--metrics: `{address}` is not a loopback address");
            let line = complaint(&output);
            assert!(line.contains(&right), "{line}");
            assert!(output.stdout.is_empty(), "{experiment} had begun");
        }
    }
}

/// TEL-3: while a run lasts, client and server of the protected arms can be scraped as Prometheus text.
#[test]
fn a_run_can_be_scraped() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("scraped");
    let mut child = Started::new(
        lab()
            .args(["run", "overload", "--arms", "none,backstay,budget-only"])
            .args(["--metrics", "127.0.0.1:0", "--out"])
            .arg(&out),
    );
    let mut lines = BufReader::new(child.0.stdout.take().unwrap())
        .lines()
        .map(|line| line.expect("plain text"));
    let address = lines
        .by_ref()
        .find_map(|line| {
            let address = line.strip_prefix("metrics: http://")?;
            Some(address.strip_suffix("/metrics")?.to_owned())
        })
        .expect("the lab says where");
    // The first line of progress: by now each arm has had answers.
    assert!(lines.any(|line| line.contains("  backstay ")));
    let text = scrape(&address);
    child.interrupt();
    lines.for_each(drop);
    assert_eq!(child.0.wait().unwrap().code(), Some(2));

    let page = Page::read(&text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
    for (name, labels) in [
        (
            "backstay_calls",
            &[("outcome", "ok"), ("stop", "succeeded")][..],
        ),
        ("backstay_call_duration_count", &[("outcome", "ok")]),
        (
            "backstay_attempts",
            &[("outcome", "ok"), ("hedge", "false")],
        ),
        (
            "backstay_attempt_duration_bucket",
            &[("outcome", "ok"), ("le", "0.25")],
        ),
    ] {
        for arm in ["backstay", "budget-only"] {
            let labels = [&[("pipeline", arm)], labels].concat();
            let found = page.value(name, &labels);
            assert!(found > Some(0.0), "{name} {labels:?}: {found:?}\n{text}");
        }
    }
    for (name, labels) in [
        ("backstay_admission_admitted", &[][..]),
        ("backstay_admission_wait_count", &[]),
        ("backstay_admission_handled", &[("end", "answered")]),
        ("backstay_admission_duration_sum", &[("end", "answered")]),
    ] {
        let labels = [&[("admission", "backstay")], labels].concat();
        let found = page.value(name, &labels);
        assert!(found > Some(0.0), "{name} {labels:?}: {found:?}\n{text}");
    }
    let names = [
        ("pipeline", &["backstay", "budget-only"][..]),
        ("admission", &["backstay"]),
    ];
    let beyond =
        Tables::of(include_str!("../../../../docs/telemetry.md")).undocumented(&page, &names);
    assert!(beyond.is_empty(), "{beyond:#?}\n{text}");
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the lab answers");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")
        .expect("the lab reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the lab answers");
    let (head, page) = answer.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    page.to_owned()
}
