//! Copies of a store on Postgres.

use backstay_store::conformance::START;
use backstay_store::postgres::PostgresOptions;
use backstay_store::{PostgresStore, TestClock};
use test_servers::{Proxy, own_name};

use super::stores::{Of, Stored};
use super::{address, through};

pub(super) async fn connect(url: &str, schema: &str, clock: &TestClock) -> PostgresStore {
    let options = PostgresOptions::new().schema(schema).pool(3);
    let options = options.clock(clock.clone());
    options.connect(url).await.expect("a store")
}

/// Whoever writes and whoever copies have connections of their own; those of the copy go by way of a proxy.
pub(super) async fn stored_at(url: &str, of: Of) -> Stored {
    stored_in(url, &own_name(), &TestClock::at(START), of).await
}

pub(super) async fn stored_in(url: &str, schema: &str, clock: &TestClock, of: Of) -> Stored {
    let proxy = Proxy::to(address(url)).await;
    let writer = connect(url, schema, clock).await.store();
    let reader = connect(&through(&proxy, url), schema, clock).await.store();
    Stored::over(of, writer, reader, clock.clone(), Some(proxy))
}

async fn stored(of: Of) -> Option<Stored> {
    Some(stored_at(&test_servers::postgres()?, of).await)
}

mod keys {
    use super::super::stores::Of;

    backstay_replica::conformance!(match super::stored(Of::Keys).await {
        Some(stored) => stored,
        None => return,
    });
}

mod a_log {
    use super::super::stores::Of;

    backstay_replica::conformance!(
        match super::stored(Of::Log).await {
            Some(stored) => stored,
            None => return,
        };
        a_snapshot_is_whole,
        changes_are_followed,
        what_is_left_out_moves_the_version,
        nothing_new_is_proved,
        an_age_counts_from_before_the_question,
        a_session_goes_on_after_a_cut,
        much_changes_during_a_cut,
        another_history_replaces_this,
        every_age_is_true,
    );
}
