//! A server of a test's own, that is killed and started again with its disk kept.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use backstay_cqrs::nats::async_nats::{self, Client};
use tempfile::TempDir;
use tokio::task::block_in_place;

/// As often a killed server's port may still be in use when the next one starts.
const STARTS: usize = 50;

/// It is killed at the end.
pub(super) struct Server {
    folder: TempDir,
    program: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// None, and a line that says so, where the tests were told to do without NATS.
    pub(super) fn start() -> Option<Self> {
        if std::env::var_os("BACKSTAY_WITHOUT_NATS").is_some() {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            eprintln!("skipped: {test} needs NATS");
            return None;
        }
        let program = std::env::var_os("BACKSTAY_NATS_BIN");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            program: program
                .expect("no servers to test with: run `cargo xtask test`")
                .into(),
            port: listener.local_addr().unwrap().port(),
            running: None,
        };
        drop(listener);
        server.restart();
        Some(server)
    }

    /// Kills it, as a crash would, and starts it on the same disk and port.
    pub(super) fn restart(&mut self) {
        self.kill();
        block_in_place(|| self.start_now());
    }

    fn start_now(&mut self) {
        for _ in 0..STARTS {
            let mut command = Command::new(&self.program);
            command.env_clear().current_dir(self.folder.path());
            command.args(["-js", "-a", "127.0.0.1", "-sd", "data", "-p"]);
            command.arg(self.port.to_string());
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
            let log = child.stderr.take().unwrap();
            let mut lines = BufReader::new(log).lines().map_while(Result::ok);
            let is_ready = lines.any(|line| line.contains("Server is ready"));
            self.running = Some(child);
            if is_ready {
                // It goes on talking, and must not wait for a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return;
            }
            self.kill();
        }
        panic!("the server does not start");
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    pub(super) async fn client(&self) -> Client {
        let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
        let url = format!("nats://127.0.0.1:{}", self.port);
        let client = options.connect(url).await.unwrap();
        // It connects in the background.
        client.flush().await.unwrap();
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
