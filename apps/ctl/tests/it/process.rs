//! An engine in a process of its own: this test binary again, told what to do by its environment.

use std::env;
use std::future::pending;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use backstay_saga::{By, Operator};
use backstay_store::SqliteStore;

use crate::sagas::{Charge, Order, engine, order};

const FILE: &str = "BACKSTAY_CTL_FILE";
const CHARGE: &str = "BACKSTAY_CTL_CHARGE";
const APPROVED: &str = "BACKSTAY_CTL_APPROVED";
/// No process lives for longer, whatever becomes of the test that started it.
const LONGEST: Duration = Duration::from_secs(60);

/// A process whose engine runs order 7.
pub(crate) struct Process {
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

/// Whether the order is approved when it starts, or waits for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approval {
    Given,
    Awaited,
}

impl Process {
    pub(crate) fn start(file: &Path, charge: Charge, approval: Approval) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "process::process",
                "--nocapture",
                "--test-threads",
                "1",
            ])
            .env(FILE, file)
            .env(CHARGE, serde_json::to_string(&charge).unwrap())
            .env(
                APPROVED,
                if approval == Approval::Given {
                    "yes"
                } else {
                    "no"
                },
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let lines = BufReader::new(out).lines();
        Self { child, lines }
    }

    /// Waits for a line.
    pub(crate) fn wait_for(&mut self, line: &str) {
        for said in self.lines.by_ref() {
            if said.unwrap() == line {
                return;
            }
        }
        panic!("the process ended and did not say {line:?}");
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has left that was killed when it had said this line.
pub(crate) fn killed_at(file: &Path, charge: Charge, approval: Approval, line: &str) {
    let mut process = Process::start(file, charge, approval);
    process.wait_for(line);
    process.kill();
}

/// What the other process does. In the tests' own process it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process() {
    let Ok(file) = env::var(FILE) else {
        return;
    };
    let (file, charge) = (Path::new(&file), env::var(CHARGE).unwrap());
    let charge: Charge = serde_json::from_str(&charge).unwrap();
    // The harness has begun a line.
    say("\nbegun");
    let running = async {
        let saga = order(1);
        let engine = engine(file, charge, &saga).await;
        let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
        say("started");
        if env::var(APPROVED).unwrap() == "yes" {
            let operator = Operator::new(SqliteStore::open(file).await.unwrap());
            let by = By::new("kim", "it is in stock").unwrap();
            let sent = operator.signal("order", "7", "approved", &"yes", by).await;
            assert!(sent.unwrap());
        }
        let settled = format!("{:?}", handle.settled().await.unwrap());
        // `Done("charged")` is `done`.
        let word = settled.split('(').next().unwrap().to_lowercase();
        say(&word);
        pending::<()>().await;
    };
    // It is killed long before.
    let _ = tokio::time::timeout(LONGEST, running).await;
}

/// One write to standard output, which is not captured this way.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
}
