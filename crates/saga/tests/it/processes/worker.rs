//! A worker in a process of its own: this test binary again, told what to do by its environment.

use std::env;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use backstay_saga::{Attempt, Cx, Engine, Retry, Saga, StepError, UndoError, Version};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::Home;

const VARIABLE: &str = "BACKSTAY_SAGA_WORKER";
/// No process lives for longer, whatever becomes of the test that started it.
const LONGEST: Duration = Duration::from_secs(300);
pub(super) const TTL: Duration = Duration::from_millis(600);

/// A process that was started and is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(home: &Home, service: SocketAddr, sagas: &[u32]) -> Self {
        let home = match home {
            Home::File(path) => format!("file\n{path}"),
            Home::Server { url, schema } => format!("server\n{url}\n{schema}"),
        };
        let sagas: Vec<_> = sagas.iter().map(u32::to_string).collect();
        let told = format!("{service}\n{}\n{home}", sagas.join(","));
        let child = Command::new(env::current_exe().expect("this binary"))
            .args(["--exact", "processes::worker::process", "--nocapture"])
            .env(VARIABLE, told)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("a process"))
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it lives");
    }
}

impl Drop for Process {
    /// `kill -9`: it gives nothing back.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What steps work with.
struct App {
    client: reqwest::Client,
    service: SocketAddr,
}

type Context = Cx<App, u32>;

async fn call(cx: &Context, verb: &str) -> Result<reqwest::Response, reqwest::Error> {
    let App { client, service } = cx.app();
    let url = format!("http://{service}/{verb}/{}/{}", cx.id(), cx.step());
    client.post(url).headers(cx.headers()).send().await
}

/// A step by its name. What is refused has no effect; all else is unknown.
async fn step(cx: Context) -> Result<(), StepError> {
    let answer = call(&cx, "do").await?;
    if answer.status() == reqwest::StatusCode::CONFLICT {
        return Err(StepError::failed("refused"));
    }
    answer.error_for_status()?;
    Ok(())
}

async fn undo(cx: Context, _: Attempt<()>) -> Result<(), UndoError> {
    call(&cx, "undo").await?.error_for_status()?;
    Ok(())
}

fn saga() -> Saga<App, u32, ()> {
    let often = || Retry::attempts(100);
    let saga = Saga::builder("trip", Version(1));
    let hold = saga.step("hold", step).retry(often()).undo(undo);
    let seat = saga
        .step("seat", step)
        .after(hold)
        .retry(often())
        .undo(undo);
    let charge = saga
        .step("charge", step)
        .after(seat)
        .retry(often())
        .undo(undo);
    saga.build(charge).expect("a saga")
}

/// Not a test of its own: what a worker does.
#[test]
fn process() {
    let Ok(told) = env::var(VARIABLE) else {
        return;
    };
    let mut lines = told.lines();
    let mut next = || lines.next().expect("all of it").to_owned();
    let service = next().parse().expect("an address");
    let sagas = next();
    let home = match &*next() {
        "file" => Home::File(next()),
        _ => Home::Server {
            url: next(),
            schema: next(),
        },
    };
    let sagas: Vec<u32> = sagas
        .split(',')
        .map(|saga| saga.parse().expect("a number"))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let app = App {
            client: reqwest::Client::new(),
            service,
        };
        let saga = saga();
        let engine = Engine::builder(home.open().await, app)
            .run(&saga)
            .ttl(TTL)
            .limit(50);
        let engine = engine.start().await.expect("an engine");
        for number in sagas {
            // Its worker may be another; who is told that nobody knows asks again.
            while engine
                .start(&saga, &number.to_string(), number)
                .await
                .is_err()
            {
                sleep(Duration::from_millis(20)).await;
            }
        }
        sleep(LONGEST).await;
    });
}
