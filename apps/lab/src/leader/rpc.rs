//! Questions and answers as lines of JSON, each question by a connection of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Asks, and waits for the answer for as long as it takes.
pub(crate) async fn ask<Q, A>(at: SocketAddr, question: &Q) -> anyhow::Result<A>
where
    Q: Serialize,
    A: DeserializeOwned,
{
    let mut connection = BufReader::new(TcpStream::connect(at).await?);
    let question = serde_json::to_string(question)? + "\n";
    connection.write_all(question.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_line(&mut answer).await?;
    serde_json::from_str(&answer).with_context(|| format!("answered {answer:?}"))
}

/// Answers questions for as long as it is polled. Whoever connects and asks nothing keeps nobody waiting.
pub(crate) async fn serve<Q, A, F>(
    listener: TcpListener,
    answer: impl Fn(Q) -> F + Send + Sync + 'static,
) where
    Q: DeserializeOwned + Send,
    A: Serialize + Send,
    F: Future<Output = A> + Send,
{
    let answer = Arc::new(answer);
    while let Ok((connection, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            // Whoever asks may be gone.
            let _ = serve_one(connection, &*answer).await;
        });
    }
}

async fn serve_one<Q, A, F>(connection: TcpStream, answer: &impl Fn(Q) -> F) -> anyhow::Result<()>
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Future<Output = A>,
{
    let mut connection = BufReader::new(connection);
    let mut question = String::new();
    connection.read_line(&mut question).await?;
    let answer = answer(serde_json::from_str(&question)?).await;
    let answer = serde_json::to_string(&answer)? + "\n";
    connection.write_all(answer.as_bytes()).await?;
    Ok(())
}
