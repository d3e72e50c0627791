//! etcd, one member alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::process::Signal;

use super::process::{Plan, Process, clean};
use super::{Ground, find};

const PROGRAM: &str = "etcd";

/// An answer takes some hundred bytes.
const ANSWER_BYTES: u64 = 16 * 1024;

pub(super) fn program() -> Option<PathBuf> {
    Some(find::folder_with(&[PROGRAM], find::path())?.join(PROGRAM))
}

pub(super) fn start(program: &Path, ground: &Ground<'_>) -> Result<(Process, String)> {
    let folder = ground.folder.inside("etcd")?;
    let plan = Plan {
        name: "etcd",
        log: folder.join("log"),
        ready: "ready to serve client requests",
        stop: Signal::TERM,
        command: &|[client, peer]| {
            let client = format!("http://127.0.0.1:{client}");
            let peer = format!("http://127.0.0.1:{peer}");
            let mut command = clean(program, "ETCD_");
            command.args(["--name", "test"]);
            command.arg("--data-dir").arg(folder.join("data"));
            command.args(["--listen-client-urls", &client]);
            command.args(["--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer]);
            command.args(["--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &format!("test={peer}")]);
            command
        },
        answers: &answers,
    };
    let (process, port) = plan.start(ground.group, ground.interrupt)?;
    Ok((process, format!("http://127.0.0.1:{port}")))
}

fn answers(mut stream: TcpStream) -> bool {
    let mut answer = Vec::new();
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").is_ok()
        && stream.take(ANSWER_BYTES).read_to_end(&mut answer).is_ok()
        && is_healthy(&String::from_utf8_lossy(&answer))
}

/// `{"health":"true"}`, in newer versions with a reason beside it.
fn is_healthy(answer: &str) -> bool {
    answer
        .split_once("\r\n\r\n")
        .and_then(|(_, body)| serde_json::from_str::<serde_json::Value>(body).ok())
        .is_some_and(|body| body["health"] == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member without a leader answers too, and says that it is not well.
    #[test]
    fn health_is_what_the_body_says() {
        let answer = |body: &str| format!("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{body}");
        assert!(is_healthy(&answer("{\"health\":\"true\"}")));
        assert!(is_healthy(&answer(
            "{\"health\":\"true\",\"reason\":\"\"}\n"
        )));
        assert!(!is_healthy(&answer("{\"health\":\"false\"}")));
        assert!(!is_healthy(&answer("")));
        assert!(!is_healthy("{\"health\":\"true\"}"));
    }
}
