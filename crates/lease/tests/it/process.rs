//! Candidates in processes of their own: this test binary again, told what to do by its environment.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use backstay_lease::{BootClock, Clock, Election, Event, Leadership, Moment};
use backstay_store::{Batch, SqliteStore};
use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Handle;
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::sleep;

use crate::home::Home;

const VARIABLE: &str = "BACKSTAY_LEASE_PROCESS";
/// No process lives for longer, whatever becomes of the test that started it.
const LONGEST: Duration = Duration::from_secs(90);

const HOUR: Duration = Duration::from_secs(3_600);

/// What a candidate does when it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Says every few milliseconds that it acts.
    Act,
    /// Writes once, then leads on.
    Write,
    /// Finds that it leads, does not get to write before it is told to, and writes then.
    Stall,
    /// The same without the fence.
    StallUnfenced,
    /// Blocks its thread, in a process that is to be aborted then.
    Block,
    /// The same after the machine was suspended for a day, by its clock.
    BlockAfterSuspend,
}

const ALL: [Work; 6] = [
    Work::Act,
    Work::Write,
    Work::Stall,
    Work::StallUnfenced,
    Work::Block,
    Work::BlockAfterSuspend,
];

/// A process that was started, and ends with this at the latest.
#[derive(Debug)]
pub(crate) struct Candidate {
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

impl Candidate {
    /// A candidate at this home, that writes to a store at `resource`.
    pub(crate) fn start(home: &Home, resource: &Path, work: Work) -> Self {
        let number = ALL.iter().position(|known| *known == work);
        let number = number.expect("all are listed");
        let resource = resource.display();
        let mut child = Command::new(env::current_exe().expect("this binary"))
            .args(["--exact", "process::process", "--nocapture"])
            .args(["--test-threads", "1"])
            .env(VARIABLE, format!("{number}\n{home}\n{resource}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let out = child.stdout.take().expect("it is piped");
        let lines = BufReader::new(out).lines();
        let mut candidate = Self { child, lines };
        candidate.wait_for("started");
        candidate
    }

    fn line(&mut self) -> Option<String> {
        self.lines.next().and_then(Result::ok)
    }

    /// Waits until it says a word, and returns what it says with it.
    pub(crate) fn wait_for(&mut self, word: &str) -> Vec<u64> {
        while let Some(said) = self.line() {
            let mut words = said.split(' ');
            if words.next() == Some(word) {
                return words.map(|word| word.parse().expect("a number")).collect();
            }
        }
        panic!("the process ended and did not say {word:?}");
    }

    /// Hears it until it ends by itself; all that it says of a word.
    pub(crate) fn hear_out(&mut self, word: &str) -> Vec<Vec<u64>> {
        drop(self.child.stdin.take());
        let mut said = Vec::new();
        while let Some(line) = self.line() {
            let mut words = line.split(' ');
            if words.next() == Some(word) {
                said.push(words.map(|word| word.parse().expect("a number")).collect());
            }
        }
        said
    }

    pub(crate) fn go(&mut self) {
        let to = self.child.stdin.as_mut().expect("it is piped");
        to.write_all(b"go\n").expect("it listens");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it lives");
    }

    /// Whether it was ended by a signal, and which.
    pub(crate) fn ended_by(&mut self) -> Option<i32> {
        // Waiting for it would close it.
        let _input = self.child.stdin.take();
        self.child.wait().expect("its end").signal()
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does. In the tests' own process it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process() {
    let Ok(words) = env::var(VARIABLE) else {
        return;
    };
    let words: Vec<_> = words.split('\n').collect();
    let work = ALL[words[0].parse::<usize>().expect("a number")];
    let home = words[1].parse().expect("a home");
    let store = SqliteStore::open(words[2]).await.expect("a store");
    // The harness has begun a line.
    say("\nstarted");
    // Not a task: work may block all the threads that run them.
    std::thread::spawn(|| {
        std::thread::park_timeout(LONGEST);
        std::process::exit(1);
    });
    stand(home, store, work).await;
}

/// One write to standard output, which is not captured this way.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let line = format!("{line}\n");
    out.write_all(line.as_bytes()).expect("somebody listens");
}

/// The machine's clock, which jumps by a day when it is told to.
#[derive(Clone, Debug, Default)]
struct Suspend(Arc<AtomicBool>);

impl Clock for Suspend {
    fn now(&self) -> Moment {
        let now = BootClock.now();
        if self.0.load(SeqCst) {
            now.plus(24 * HOUR)
        } else {
            now
        }
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        BootClock.sleep_until(at)
    }
}

async fn stand(home: Home, store: SqliteStore, work: Work) {
    let builder = Election::builder(home.open().await, "job").ttl(home.ttl());
    let builder = builder.on_event(|event| match event {
        Event::SteppedDown { token, .. } => say(&format!("down {token}")),
        Event::Overran { token } => say(&format!("overran {token}")),
        _ => {}
    });
    let suspend = Suspend::default();
    let builder = match work {
        Work::Block => builder.abort_if_stuck(),
        // Longer than the test: the thread that watches must not sleep until its end.
        Work::BlockAfterSuspend => {
            let builder = builder.ttl(HOUR).clock(suspend.clone());
            builder.abort_if_stuck()
        }
        _ => builder,
    };
    let election = builder.build().expect("good times");
    let ends = async {
        let until_the_end = || while heard() {};
        if matches!(work, Work::Act | Work::Write) {
            spawn_blocking(until_the_end).await.expect("no panic");
        } else {
            std::future::pending::<()>().await;
        }
    };
    let lead = async |leads: Leadership| {
        say(&format!("leads {} {}", leads.token(), now()));
        if work == Work::BlockAfterSuspend {
            suspend.0.store(true, SeqCst);
        }
        do_work(&leads, &store, work).await;
    };
    tokio::select! {
        done = election.run(lead) => done.expect("it has not resigned"),
        () = ends => {}
    }
    election.resign().await;
    say("resigned");
}

fn now() -> u64 {
    BootClock.now().as_nanos()
}

/// A line of standard input, or its end.
fn heard() -> bool {
    let mut line = String::new();
    io::stdin().read_line(&mut line).is_ok_and(|read| read > 0)
}

async fn do_work(leads: &Leadership, store: &SqliteStore, work: Work) {
    let token = leads.token();
    match work {
        Work::Act => loop {
            say(&format!("acts {token} {}", now()));
            sleep(Duration::from_millis(5)).await;
        },
        Work::Write => {
            write(leads, store, true).await;
            std::future::pending::<()>().await;
        }
        Work::Stall | Work::StallUnfenced => {
            say(&format!("stalls {token}"));
            // As a client that blocks, or a long computation: nobody can drop it here.
            block_in_place(|| {
                heard();
                let written = write(leads, store, work == Work::Stall);
                Handle::current().block_on(written);
            });
        }
        Work::Block | Work::BlockAfterSuspend => {
            say(&format!("stalls {token}"));
            // Its home goes away, so that it can't be renewed.
            heard();
        }
    }
}

async fn write(leads: &Leadership, store: &SqliteStore, fenced: bool) {
    let token = leads.token();
    let batch = Batch::new().put("last", token.to_string());
    let batch = if fenced {
        batch.fenced(leads.fence())
    } else {
        batch
    };
    match store.commit(batch).await {
        Ok(_) => say(&format!("wrote {token}")),
        Err(error) => {
            assert!(error.to_string().contains("fence"), "{error}");
            say(&format!("refused {token}"));
        }
    }
}
