//! What is told while it happens.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::tempdir;

use crate::process::{Approval, Process, killed_at};
use crate::run::{backstay, done, refused, saga};
use crate::sagas::Charge;

/// SAG-10: an instance is told of from its start on, until it has ended.
#[test]
fn an_instance_is_watched_until_its_end() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let mut process = Process::start(&file, Charge::Work, Approval::Awaited);
    process.wait_for("started");
    let mut watch = backstay();
    watch
        .arg("--store")
        .arg(&file)
        .args(["saga", "watch", "order", "7", "--for", "1m"]);
    let mut watching = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.ends_with("  order 7  start   {\"number\":7}"),
        "{first}"
    );
    let yes = ["signal", "order", "7", "approved", "--value", "\"yes\""];
    let by = ["--who", "eva", "--why", "it is in stock"];
    done(&file, &[&yes[..], &by].concat());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    let told = |what: &str| rest.iter().filter(|line| line.ends_with(what)).count();
    for what in [
        "order 7  begin   hold",
        "order 7  begin   charge",
        "order 7  end     Done",
    ] {
        assert_eq!(told(what), 1, "{what} in {rest:#?}");
    }
    // One that has ended is told of, and that is all.
    let again = done(&file, &["watch", "order", "7"]);
    assert_eq!(again.lines().count(), rest.len() + 1, "{again}");
    process.kill();
}

/// SAG-10: all instances of the group are told of from now on, a document a line.
#[test]
fn all_are_watched_as_documents() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    killed_at(&file, Charge::LoseReply, Approval::Given, "parked");
    let mut watch = backstay();
    watch
        .arg("--store")
        .arg(&file)
        .args(["saga", "watch", "--json", "--for", "1m"]);
    let mut watching = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    // Whether it has begun to watch does not show: until then nothing is told.
    let by = ["--who", "eva", "--why", "the bank called"];
    let told = std::thread::spawn(move || lines.next().unwrap().unwrap());
    while !told.is_finished() {
        done(&file, &[&["retry", "order", "7"][..], &by].concat());
    }
    let told: Value = serde_json::from_str(&told.join().unwrap()).unwrap();
    assert_eq!((&told["saga"], &told["id"]), (&"order".into(), &"7".into()));
    assert_eq!(told["entries"][0]["act"]["by"], "eva");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

/// SAG-10: Ctrl-C ends a watch in peace.
#[test]
fn a_watch_is_ended_by_hand() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    killed_at(&file, Charge::Hang, Approval::Given, "charging");
    let mut watch = backstay();
    watch
        .arg("--store")
        .arg(&file)
        .args(["saga", "watch", "order", "7"]);
    let mut watching = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("start"));
    let pid = watching.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    assert_eq!(watching.wait().unwrap().code(), Some(0));
}

/// SAG-10: a time bounds a watch; an instance that has not ended by then is an error.
#[test]
fn a_watch_is_bounded() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    killed_at(&file, Charge::Hang, Approval::Given, "charging");
    assert_eq!(saga(&file, &["watch", "--for", "20ms"]).code, Some(0));
    let ran = saga(&file, &["watch", "order", "7", "--for", "2s"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("begin   charge"), "{ran:?}");
    assert!(
        ran.err
            .ends_with("saga order \"7\": it has not ended within 2s\n"),
        "{ran:?}"
    );
    assert!(refused(&file, &["watch", "order", "8"]).contains("no instance"));
}
