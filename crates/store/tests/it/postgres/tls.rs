//! Encrypted connections, to a server of the test's own.

use std::env;
use std::path::Path;
use std::process::Command;

use backstay_store::{Batch, PostgresStore};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use test_servers::OwnServer;

const VARIABLE: &str = "BACKSTAY_STORE_TLS";

fn certificate() -> CertifiedKey<KeyPair> {
    let made = generate_simple_self_signed(["localhost".to_owned()]);
    made.expect("a certificate")
}

fn port(server: &OwnServer) -> &str {
    let (_, rest) = server.url.rsplit_once(':').expect("a port");
    rest.split_once('/').expect("its end").0
}

/// What a process says that connects to this address and trusts these certificates.
fn connected(address: &str, trusted: &Path) -> String {
    let output = Command::new(env::current_exe().expect("this binary"))
        .args(["--exact", "postgres::tls::process", "--nocapture"])
        .env(VARIABLE, address)
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.lines().find_map(|line| line.strip_prefix("tls: "));
    said.expect("it has said it").to_owned()
}

/// What the other process does. In the tests' own process it is nothing.
#[tokio::test]
async fn process() {
    let Ok(address) = env::var(VARIABLE) else {
        return;
    };
    let said = match PostgresStore::connect(&address).await {
        Ok(store) => {
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            let asked = store.commit_with(Batch::new(), |rows| {
                Box::pin(async move {
                    let row = rows.query_one(sql, &[]).await?;
                    row.try_get::<_, bool>(0)
                })
            });
            let asked: Result<_, _> = asked.await;
            format!("{:?}", asked.map(|done| done.output))
        }
        Err(error) => {
            let mut said = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                said.push_str(": ");
                said.push_str(&error.to_string());
                source = error.source();
            }
            said
        }
    };
    // The harness has begun a line.
    println!("\ntls: {}", said.replace('\n', " "));
}

/// With `sslmode=require` connections are encrypted, and only to a server whose certificate is trusted and of its name.
#[test]
fn the_server_is_known_by_its_certificate() {
    let Some(mut server) = OwnServer::postgres() else {
        return;
    };
    let (its, others) = (certificate(), certificate());
    let trusted = server.put("server.crt", &its.cert.pem());
    let key = server.put("server.key", &its.signing_key.serialize_pem());
    let untrusted = server.put("other.crt", &others.cert.pem());
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", trusted.display()),
        format!("ssl_key_file={}", key.display()),
    ];
    server = server.with(&settings);
    server.start_now();
    let port = port(&server);
    let address = |host: &str, mode: &str| {
        format!(
            "hostaddr=127.0.0.1 host={host} port={port} user=postgres dbname=postgres sslmode={mode}"
        )
    };
    let encrypted = connected(&address("localhost", "require"), &trusted);
    assert_eq!(encrypted, "Ok(Some(true))");
    let refused = connected(&address("localhost", "require"), &untrusted);
    assert!(refused.contains("certificate"), "{refused}");
    let refused = connected(&address("db.example", "require"), &trusted);
    assert!(refused.contains("certificate"), "{refused}");
    // What the documents say of all else.
    let plain = connected(&address("localhost", "prefer"), &trusted);
    assert_eq!(plain, "Ok(Some(false))");
}

/// A server without encryption is refused where encryption is asked for.
#[test]
fn encryption_is_not_left_out() {
    let Some(mut server) = OwnServer::postgres() else {
        return;
    };
    let trusted = server.put("server.crt", &certificate().cert.pem());
    server.start_now();
    let port = port(&server);
    let address =
        format!("host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=require");
    let refused = connected(&address, &trusted);
    assert!(refused.contains("TLS"), "{refused}");
}
