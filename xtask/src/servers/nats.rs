//! NATS, with its store of messages (`JetStream`).

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::process::Signal;

use super::process::{Plan, Process, clean};
use super::{Ground, find};

const PROGRAM: &str = "nats-server";

/// A greeting takes some hundred bytes.
const GREETING_BYTES: u64 = 16 * 1024;

/// Debian puts it where only root's `PATH` looks.
pub(super) fn program() -> Option<PathBuf> {
    let folders = find::path().into_iter().chain(["/usr/sbin".into()]);
    Some(find::folder_with(&[PROGRAM], folders)?.join(PROGRAM))
}

pub(super) fn start(program: &Path, ground: &Ground<'_>) -> Result<(Process, String)> {
    let folder = ground.folder.inside("nats")?;
    let plan = Plan {
        name: "nats",
        log: folder.join("log"),
        ready: "Server is ready",
        stop: Signal::TERM,
        command: &|[port, _]| {
            let mut command = clean(program, "NATS_");
            command.args(["-js", "-a", "127.0.0.1", "-p"]);
            command.arg(port.to_string());
            command.arg("-sd").arg(folder.join("data"));
            command
        },
        answers: &answers,
    };
    let (process, port) = plan.start(ground.group, ground.interrupt)?;
    Ok((process, format!("nats://127.0.0.1:{port}")))
}

fn answers(stream: TcpStream) -> bool {
    let mut line = Vec::new();
    let read = BufReader::new(stream.take(GREETING_BYTES)).read_until(b'\n', &mut line);
    read.is_ok() && is_greeting(&String::from_utf8_lossy(&line))
}

/// The server speaks first, and says whether it stores messages.
fn is_greeting(line: &str) -> bool {
    line.strip_prefix("INFO ")
        .and_then(|info| serde_json::from_str::<serde_json::Value>(info).ok())
        .is_some_and(|info| info["jetstream"] == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a server that stores messages will do.
    #[test]
    fn the_greeting_names_jetstream() {
        assert!(is_greeting("INFO {\"port\":4222,\"jetstream\":true} \r\n"));
        assert!(!is_greeting("INFO {\"port\":4222} \r\n"));
        assert!(!is_greeting("INFO {\"port\":4222,\"jetstr"));
        assert!(!is_greeting("HTTP/1.1 400 Bad Request\r\n"));
        assert!(!is_greeting(""));
    }
}
