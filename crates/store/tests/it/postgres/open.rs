//! STO-8: how a schema is made and opened.

use backstay_store::Position;
use backstay_store::postgres::{ConnectError, PostgresOptions};
use tokio::task::JoinSet;

use super::server::Schema;

/// STO-8: many who open a new schema at once make its tables once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_open_a_new_schema_at_once() {
    let Some(schema) = Schema::new() else { return };
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let options = PostgresOptions::new().schema(&schema.name).pool(1);
        let url = schema.url.clone();
        opening.spawn(async move { options.connect(&url).await });
    }
    for opened in opening.join_all().await {
        let store = opened.expect("a store");
        assert_eq!(store.head().await, Ok(Position::START));
    }
}

/// STO-8: tables of a newer version are refused and left as they are.
#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open().await);
    schema.run("UPDATE S.state SET schema = 2").await;
    let options = PostgresOptions::new().schema(&schema.name);
    let refused = options.connect(&schema.url).await;
    assert!(
        matches!(refused, Err(ConnectError::Newer { found: 2, known: 1 })),
        "{refused:?}"
    );
}

/// STO-8: where the store must be there none is made, and one that is there is opened.
#[tokio::test]
async fn a_store_that_must_exist_is_not_made() {
    let Some(schema) = Schema::new() else { return };
    let options = || PostgresOptions::new().schema(&schema.name).must_exist();
    for _ in 0..2 {
        let refused = options().connect(&schema.url).await;
        let Err(ConnectError::Missing { schema: missing }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(missing, schema.name);
    }
    drop(schema.open().await);
    let opened = options().connect(&schema.url).await;
    assert_eq!(opened.expect("a store").head().await, Ok(Position::START));
}

/// Options that can't be used are refused before anybody is asked.
#[tokio::test]
async fn options_are_checked() {
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let options = PostgresOptions::new;
    for (options, field) in [
        (options().schema("Upper"), "schema"),
        (options().schema("1st"), "schema"),
        (options().schema("pg_mine"), "schema"),
        (options().schema("a\"; DROP"), "schema"),
        (options().schema("a".repeat(49)), "schema"),
        (options().pool(0), "pool"),
        (
            options().statement_timeout(std::time::Duration::ZERO),
            "statement_timeout",
        ),
    ] {
        let Err(ConnectError::Invalid(invalid)) = options.connect(nowhere).await else {
            panic!("{field} was taken");
        };
        assert!(invalid.to_string().starts_with(field), "{invalid}");
    }
    let unreachable = options().connect(nowhere).await;
    assert!(
        matches!(unreachable, Err(ConnectError::Unreachable(_))),
        "{unreachable:?}"
    );
    let address = options().connect("postgres://host:port").await;
    assert!(
        matches!(address, Err(ConnectError::Address(_))),
        "{address:?}"
    );
}
