//! The same on a server.

use backstay_saga::Settled;
use backstay_store::postgres::PostgresOptions;
use backstay_store::postgres::tokio_postgres::{NoTls, connect};
use tokio::task::spawn_blocking;

use crate::run::{Ran, backstay};
use crate::sagas::{Charge, Order, engine_on, order};

/// SAG-10: instances in a schema of a Postgres server are seen and decided about while an engine runs. A
/// schema that is not there is told, and not made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_operated() {
    let Some(url) = test_servers::postgres() else {
        return;
    };
    let schema = test_servers::own_name();
    let options = PostgresOptions::new().pool(4).schema(&schema);
    let store = options.connect(&url).await.unwrap();

    let saga = order(1);
    let engine = engine_on(store.into(), Charge::LoseReply, &saga).await;
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    let run = async |words: &[&str]| {
        let mut command = backstay();
        command
            .args(["--store", &url, "--schema", &schema, "saga"])
            .args(words);
        let ran: Ran = spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
            .into();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
        ran.out
    };
    let by = ["--who", "eva", "--why", "no booking"];
    let yes = ["signal", "order", "7", "approved", "--value", "\"yes\""];
    run(&[&yes[..], &by].concat()).await;
    let settled = handle.settled().await.unwrap();
    assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
    assert!(
        run(&["list", "--parked"])
            .await
            .contains("the bank did not answer")
    );
    run(&[&["undo", "order", "7"][..], &by].concat()).await;
    let told = run(&["watch", "order", "7", "--for", "1m"]).await;
    assert!(told.ends_with("order 7  end     Undone\n"), "{told}");

    drop((handle, engine));
    let (client, connection) = connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    // Mistyped.
    let wrong = format!("{schema}x");
    let mut command = backstay();
    command.args(["--store", &url, "--schema", &wrong, "saga", "list"]);
    let ran = spawn_blocking(move || command.output().unwrap()).await;
    let ran: Ran = ran.unwrap().into();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let none = format!(", schema {wrong}: there is no store in the schema \"{wrong}\"\n");
    assert!(ran.err.ends_with(&none), "{ran:?}");
    let made = "SELECT FROM pg_namespace WHERE nspname = $1";
    assert!(client.query(made, &[&wrong]).await.unwrap().is_empty());
    let drop_it = format!("DROP SCHEMA {schema} CASCADE");
    client.batch_execute(&drop_it).await.unwrap();
}
