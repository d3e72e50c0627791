//! What is seen of instances while no engine runs, and while one does.

use std::time::Duration;

use backstay_saga::{Engine, Settled};
use backstay_store::SqliteStore;
use tempfile::{TempDir, tempdir};
use tokio::time::sleep;

use crate::process::{Approval, Process, killed_at};
use crate::run::{backstay, done, json, refused, saga};
use crate::sagas::{Charge, Order, engine, go_on, order};

fn file(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("shop.db")
}

/// SAG-10: what a killed process was doing is listed and shown without the code that runs it, and another goes on with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_has_left_is_seen() {
    let folder = tempdir().unwrap();
    let file = file(&folder);
    killed_at(&file, Charge::Hang, Approval::Given, "charging");

    let list = done(&file, &["list"]);
    let rows: Vec<&str> = list.lines().collect();
    assert_eq!(rows.len(), 2, "{list}");
    assert!(rows[0].starts_with("SAGA   ID  STANDING  SINCE"), "{list}");
    assert!(rows[1].starts_with("order  7   running   20"), "{list}");
    assert_eq!(
        done(&file, &["list", "--parked"]),
        "none in group default\n"
    );
    assert_eq!(done(&file, &["list", "--ended"]), "none in group default\n");
    assert_eq!(
        done(&file, &["list", "--group", "other"]),
        "none in group other\n"
    );
    let listed = json(&file, &["list"]);
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["instances"][0]["standing"], "running");

    let show = done(&file, &["show", "order", "7"]);
    for line in [
        "standing  running\n",
        "input     {\"number\":7}\n",
        "hold      done     1         0              -         -\n",
        "charge    running  1         0              -         -\n",
        "mail      waiting  0         0              -         -\n",
        "done    hold: \"goods of 7\"\n",
        "signal  approved: \"yes\"  by kim: it is in stock\n",
        "begin   charge\n",
    ] {
        assert!(show.contains(line), "{line:?} in {show}");
    }
    let shown = json(&file, &["show", "order", "7"]);
    assert_eq!(shown["steps"][0]["output"], "goods of 7");
    assert_eq!(shown["direction"], "forward");

    // Its worker was lost in what can't be repeated: it is parked, and a person decides.
    let saga = order(1);
    let engine = engine(&file, Charge::Work, &saga).await;
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    let settled = handle.settled().await.unwrap();
    assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
    engine.drain(Duration::from_secs(10)).await;
    done(
        &file,
        &["retry", "order", "7", "--who", "eva", "--why", "not booked"],
    );
    assert_eq!(
        go_on(&file, Charge::Work).await,
        Settled::Done("charged".to_owned())
    );
    assert_eq!(done(&file, &["list"]), "none in group default\n");
    assert!(done(&file, &["list", "--ended"]).contains("order  7   done"));
}

/// SAG-10: the whole log is exported as JSON, with the graph that it was written by.
#[test]
fn the_log_is_exported() {
    let folder = tempdir().unwrap();
    let file = file(&folder);
    killed_at(&file, Charge::LoseReply, Approval::Given, "parked");
    let export = done(&file, &["export", "order", "7"]);
    let export: serde_json::Value = serde_json::from_str(&export).unwrap();
    assert_eq!(export["format"], 1);
    assert_eq!(export["unreadable"], serde_json::Value::Null);
    assert_eq!(export["start"]["input"]["number"], 7);
    assert_eq!(export["graph"]["steps"][2]["name"], "charge");
    let records = export["records"].as_array().unwrap();
    assert!(records[0]["entries"][0]["start"].is_object(), "{export}");
    let last = &records.last().unwrap()["entries"];
    let cause = last
        .as_array()
        .unwrap()
        .iter()
        .find_map(|entry| entry.get("park"));
    assert_eq!(cause.unwrap()["cause"]["pivot-unclear"], 2, "{export}");
}

/// SAG-10: the graph is drawn in the language that was asked for.
#[test]
fn the_graph_is_drawn() {
    let folder = tempdir().unwrap();
    let file = file(&folder);
    killed_at(&file, Charge::Hang, Approval::Awaited, "started");
    let mermaid = done(&file, &["graph", "order", "7"]);
    assert!(mermaid.starts_with("flowchart TD\n"), "{mermaid}");
    assert!(mermaid.contains("{{\"charge\"}}"), "{mermaid}");
    let dot = done(&file, &["graph", "order", "7", "--format", "dot"]);
    assert!(dot.starts_with("digraph \"order\" {\n"), "{dot}");
    assert_eq!(
        json(&file, &["graph", "order", "7"])["steps"][0]["name"],
        "hold"
    );
}

/// SAG-10: instances whose graph no worker knows are listed with the reason, and shown with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_an_upgrade_is_listed() {
    let folder = tempdir().unwrap();
    let file = file(&folder);
    killed_at(&file, Charge::Hang, Approval::Awaited, "started");
    let newer = order(2);
    let _engine: Engine<Charge> = engine(&file, Charge::Work, &newer).await;
    let mut list = String::new();
    while !list.contains("needs-upgrade") {
        list = done(&file, &["list", "--needs-upgrade"]);
        sleep(Duration::from_millis(50)).await;
    }
    assert!(list.contains("order 1 has no code here"), "{list}");
    assert_eq!(
        done(&file, &["list", "--parked"]),
        "none in group default\n"
    );
    let show = done(&file, &["show", "order", "7"]);
    assert!(
        show.contains("standing  needs-upgrade\nwhy       order 1 has no code"),
        "{show}"
    );
}

/// SAG-10: what a newer version has noted is listed with what can't be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_read_is_listed() {
    use backstay_store::{Batch, Put};
    let folder = tempdir().unwrap();
    let file = file(&folder);
    let store = SqliteStore::open(&file).await.unwrap();
    for (id, state) in [("7", "paused"), ("8", "parked")] {
        let key = format!("saga/default/active/00/order/{id}");
        let note = format!(r#"{{"state":"{state}","since":7}}"#);
        let batch = Batch::new().put(key, Put::new(note));
        store.commit(batch).await.unwrap();
    }
    let list = json(&file, &["list", "--unreadable"]);
    assert_eq!(list["total"], 1);
    let listed = &list["instances"][0];
    assert_eq!(
        (&listed["id"], &listed["standing"]),
        (&"7".into(), &"unreadable".into())
    );
    let why = listed["why"].as_str().unwrap();
    assert!(why.contains("another version"), "{why}");
    assert_eq!(json(&file, &["list"])["total"], 2);
}

/// SAG-10: an engine that runs is not disturbed, and what a person decides reaches it.
#[test]
fn an_engine_may_run_at_the_same_time() {
    let folder = tempdir().unwrap();
    let file = file(&folder);
    let mut process = Process::start(&file, Charge::Work, Approval::Awaited);
    process.wait_for("started");
    assert!(done(&file, &["list"]).contains("running"));
    let yes = ["signal", "order", "7", "approved", "--value", "\"yes\""];
    let by = ["--who", "eva", "--why", "it is in stock"];
    assert_eq!(
        done(&file, &[&yes[..], &by].concat()),
        "saga order \"7\": signal \"approved\" is sent\n"
    );
    process.wait_for("done");
    assert!(done(&file, &["list", "--ended"]).contains("done"));
    process.kill();
}

/// SAG-10: a limit shows the oldest, and says how many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_shows_the_oldest() {
    let folder = tempdir().unwrap();
    let file = file(&folder);
    let saga = order(1);
    let engine = engine(&file, Charge::Work, &saga).await;
    for number in 1..=5 {
        let id = format!("n{number}");
        engine.start(&saga, &id, Order { number }).await.unwrap();
        sleep(Duration::from_millis(2)).await;
    }
    let list = done(&file, &["list", "--limit", "2"]);
    let ids: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(ids, ["ID", "n1", "n2", "oldest"], "{list}");
    assert!(
        list.ends_with("2 oldest of 5; --limit shows more\n"),
        "{list}"
    );
    let listed = json(&file, &["list", "--limit", "2"]);
    assert_eq!(
        (
            listed["total"].as_u64(),
            listed["instances"].as_array().unwrap().len()
        ),
        (Some(5), 2)
    );
}

/// SAG-10: whoever has enough of the output, such as `head`, ends it in peace.
#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = tempdir().unwrap();
    let file = file(&folder);
    killed_at(&file, Charge::Hang, Approval::Given, "charging");
    for words in [
        &["show", "order", "7"][..],
        &["list"],
        &["export", "order", "7"],
    ] {
        let mut command = backstay();
        command.arg("--store").arg(&file).arg("saga").args(words);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

/// SAG-10: a log that can't be replayed is not shown as if it could, and is exported as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_can_not_be_is_exported() {
    use backstay_store::{Append, Batch, Event};
    let folder = tempdir().unwrap();
    let file = file(&folder);
    killed_at(&file, Charge::Hang, Approval::Given, "charging");
    let store = SqliteStore::open(&file).await.unwrap();
    let newer = Append::new(Event::new(
        "saga",
        r#"{"at":1,"entries":[{"of-tomorrow":{}}]}"#,
    ));
    store
        .commit(Batch::new().append("saga/default/order/7", newer))
        .await
        .unwrap();
    let shown = refused(&file, &["show", "order", "7"]);
    assert!(
        shown.starts_with("backstay: FILE, group default: saga order \"7\"; `export` prints it as it is: the log can't be"),
        "{shown}"
    );
    let export = done(&file, &["export", "order", "7"]);
    let export: serde_json::Value = serde_json::from_str(&export).unwrap();
    assert!(export["unreadable"].is_string(), "{export}");
    let last = export["records"].as_array().unwrap().last().unwrap();
    assert!(last["entries"][0]["of-tomorrow"].is_object(), "{export}");
    assert_eq!(saga(&file, &["list"]).code, Some(0));
}
