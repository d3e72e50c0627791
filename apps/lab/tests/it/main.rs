//! The binary, from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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

#[test]
fn a_port_in_use_is_told_before_the_run() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["run", "overload", "--metrics", &address]);
    assert_eq!(output.status.code(), Some(70));
    let line = complaint(&output);
    assert!(
        line.contains(&format!("can't answer for metrics at {address}")),
        "{line}"
    );
}

/// TEL-3: while a run lasts, client and server of the protected arm can be scraped as Prometheus text.
#[test]
fn a_run_can_be_scraped() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("scraped");
    let mut child = lab()
        .args([
            "run",
            "overload",
            "--arms",
            "backstay",
            "--metrics",
            "127.0.0.1:0",
            "--out",
        ])
        .arg(&out)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| {
            Some(
                line.strip_prefix("metrics: http://")?
                    .strip_suffix("/metrics")?
                    .to_owned(),
            )
        })
        .expect("the lab says where");
    assert!(lines.any(|line| line.unwrap().starts_with("capacity ")));
    let wanted = [
        r#"backstay_calls{pipeline="backstay",outcome="ok",stop="succeeded"} "#,
        r#"backstay_attempt_duration_bucket{pipeline="backstay",outcome="ok",le="0.25"} "#,
        r#"backstay_admission_handled{admission="backstay",end="answered"} "#,
    ];
    // The load has begun: the answers are a matter of milliseconds, and the run ends by itself.
    let mut page = String::new();
    for _ in 0..10_000 {
        page = scrape(&address);
        if wanted.iter().all(|line| page.contains(line)) {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(2));
    for line in wanted {
        assert!(page.contains(line), "no {line} in\n{page}");
    }
    for line in page
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (_, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
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
