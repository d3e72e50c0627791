//! Command lines and places that are wrong.

use std::fs;

use backstay_store::SqliteStore;
use backstay_store::sqlite::rusqlite::Connection;
use tempfile::tempdir;

use crate::run::{backstay, refused};

/// SAG-10: a mistyped path makes no file, and puts nothing into another's.
#[test]
fn a_store_that_is_not_there_is_not_made() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert_eq!(
        refused(&path("shpo.db"), &["list"]),
        "backstay: FILE: there is no such file"
    );
    assert!(!path("shpo.db").exists());
    assert_eq!(
        refused(folder.path(), &["list"]),
        "backstay: FILE: it is a folder, not a SQLite file"
    );

    fs::write(
        path("notes.txt"),
        "These are notes, and no database. ".repeat(200),
    )
    .unwrap();
    let line = refused(&path("notes.txt"), &["list"]);
    assert!(
        line.starts_with("backstay: FILE: it can't be read as a SQLite file"),
        "{line}"
    );
    fs::write(path("empty.db"), "").unwrap();
    assert_eq!(
        refused(&path("empty.db"), &["list"]),
        "backstay: FILE: it is a file without a store"
    );
    assert_eq!(fs::metadata(path("empty.db")).unwrap().len(), 0);

    let other = Connection::open(path("other.db")).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (id INTEGER)")
        .unwrap();
    drop(other);
    let before = fs::read(path("other.db")).unwrap();
    assert_eq!(
        refused(&path("other.db"), &["list"]),
        "backstay: FILE: it is a file without a store"
    );
    assert_eq!(fs::read(path("other.db")).unwrap(), before);
}

/// SAG-10: a store without sagas is an empty list.
#[tokio::test]
async fn a_store_without_sagas_is_an_empty_list() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    drop(SqliteStore::open(&file).await.unwrap());
    assert_eq!(
        crate::run::done(&file, &["list"]),
        "none in group default\n"
    );
    let listed = crate::run::json(&file, &["list"]);
    assert_eq!(listed["instances"].as_array().unwrap().len(), 0);
}

/// SAG-10: a wrong command line has a status of its own, and one line says what is right.
#[test]
fn a_wrong_command_line_is_told_apart() {
    for (words, what) in [
        (
            &["saga", "list"][..],
            "choose the store: --store <SQLite file | postgres://...>, or BACKSTAY_STORE",
        ),
        (
            &[
                "--store", "x.db", "saga", "retry", "order", "7", "--why", "y",
            ],
            "missing: --who <WHO>",
        ),
        (
            &[
                "--store", "x.db", "saga", "retry", "order", "7", "--who", " ", "--why", "y",
            ],
            "--who: ` ` must have 1 to 1000 bytes",
        ),
        (
            &["--store", "", "saga", "list"],
            "--store: it is empty; give the path of a SQLite file, or postgres://user@host/database",
        ),
        (
            &["saga", "list", "--store"],
            "--store: its value is missing",
        ),
    ] {
        let output = backstay().args(words).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(err, format!("backstay: {what}\n"));
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert!(output.stdout.is_empty());
    }
}

/// SAG-10: a server that can't be reached is told without the password.
#[test]
fn a_server_that_can_not_be_reached_is_told() {
    let url = "postgres://eva:secret@127.0.0.1:1/shop";
    let output = backstay()
        .args(["--store", url, "saga", "list"])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(
        err.starts_with("backstay: postgres://eva@127.0.0.1:1/shop: "),
        "{err}"
    );
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(!err.contains("secret"), "{err}");
}
