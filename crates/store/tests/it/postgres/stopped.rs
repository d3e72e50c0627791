//! STO-3: a process that stands still while it holds the store's lock.

use std::time::Duration;

use backstay_store::postgres::PostgresOptions;
use backstay_store::postgres::tokio_postgres::{Config, config::Host};
use backstay_store::{Batch, Event, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::server::Schema;

/// A way to the server on which nothing more is sent after the store's lock was asked for.
async fn way(to: &Config) -> (u16, watch::Sender<bool>, watch::Receiver<bool>) {
    let [Host::Tcp(host)] = to.get_hosts() else {
        panic!("one host");
    };
    let server = (host.clone(), to.get_ports()[0]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (stops, stopping) = watch::channel(false);
    let (tell, stopped) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.expect("a client");
            let server = TcpStream::connect(server.clone()).await.expect("a server");
            let (mut asks, mut hears) = client.into_split();
            let (mut answers, mut takes) = server.into_split();
            tokio::spawn(async move { copy(&mut answers, &mut hears).await });
            let (mut stopping, tell) = (stopping.clone(), tell.clone());
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = asks.read(&mut bytes).await {
                    takes.write_all(&bytes[..count]).await?;
                    let text = String::from_utf8_lossy(&bytes[..count]);
                    if *stopping.borrow() && text.contains("FOR UPDATE") {
                        tell.send_replace(true);
                        // Until it goes on.
                        let _ = stopping.wait_for(|stops| !stops).await;
                    }
                }
                std::io::Result::Ok(())
            });
        }
    });
    (port, stops, stopped)
}

/// STO-3: others go on long before the statement of theirs that waits for the lock is stopped; and when the process
/// goes on, what it was asked for is done, once.
#[tokio::test]
async fn a_process_that_stands_still_does_not_hold_up_others() {
    let Some(schema) = Schema::new() else { return };
    let config: Config = schema.url.parse().expect("an address");
    let user = config.get_user().expect("a user").to_owned();
    let database = config.get_dbname().unwrap_or("postgres").to_owned();
    let password = config.get_password().unwrap_or_default().to_owned();
    let password = String::from_utf8(password).expect("text");
    let (port, stops, mut stopped) = way(&config).await;
    let url =
        format!("host=127.0.0.1 port={port} user={user} password='{password}' dbname={database}");
    let options = PostgresOptions::new().schema(&schema.name).pool(1);
    let still = options.connect(&url).await.expect("a store");
    let options = PostgresOptions::new().statement_timeout(Duration::from_secs(3));
    let others = schema.open_with(options).await;

    stops.send_replace(true);
    let batch = Batch::new().append("stream", Event::new("happened", ""));
    let asked = tokio::spawn({
        let batch = batch.clone();
        async move { still.commit(batch).await }
    });
    stopped
        .wait_for(|stopped| *stopped)
        .await
        .expect("it holds the lock");
    for _ in 0..3 {
        let commit = others.commit(Batch::new().put("k", "v")).await;
        commit.expect("nobody stands in the way for long");
    }
    stops.send_replace(false);
    let commit = asked.await.expect("no panic").expect("a commit");
    assert_eq!(others.find(batch.id()).await, Ok(Some(commit)));
    let events = others.read("stream", Version::START, 10).await;
    assert_eq!(events.expect("a read").len(), 1);
}
