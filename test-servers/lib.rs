//! The servers that tests talk to. `cargo xtask test` starts some for all tests and says where they and their programs are.

#![expect(clippy::missing_panics_doc, reason = "what fails here fails a test")]

mod own;
mod proxy;

pub use own::OwnServer;
pub use proxy::{Proxy, Way, Ways};

/// Where the Postgres server of all tests is; none, and a line that says so, where they were told to do without.
pub fn postgres() -> Option<String> {
    variable("POSTGRES", "URL")
}

/// The same of etcd.
pub fn etcd() -> Option<String> {
    variable("ETCD", "URL")
}

/// The same of NATS.
pub fn nats() -> Option<String> {
    variable("NATS", "URL")
}

fn variable(server: &str, what: &str) -> Option<String> {
    if std::env::var_os(format!("BACKSTAY_WITHOUT_{server}")).is_some() {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        eprintln!("skipped: {test} needs {server}");
        return None;
    }
    let value = std::env::var(format!("BACKSTAY_{server}_{what}"));
    Some(value.expect("no servers to test with: run `cargo xtask test`"))
}

/// A name that no other test uses, for a schema, a bucket or a prefix.
pub fn own_name() -> String {
    format!("t_{}", uuid::Uuid::now_v7().simple())
}
