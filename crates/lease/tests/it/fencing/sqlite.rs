//! In a SQLite file.

use std::path::Path;

use backstay_lease::fencing::sql::Table;
use backstay_store::sqlite::rusqlite::{Connection, Error, ErrorCode};

use super::{fence, orders};

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a file");
    connection
        .busy_timeout(std::time::Duration::ZERO)
        .expect("a setting");
    connection
}

/// A transaction of one leader, a step at a time.
struct Leader {
    file: Connection,
    token: u64,
    steps: u32,
    passed: bool,
}

/// It must wait for another: it has been rolled back and begins anew when the other one is done.
#[derive(Debug, PartialEq)]
struct Busy;

impl Leader {
    fn new(path: &Path, token: u64) -> Self {
        Self {
            file: open(path),
            token,
            steps: 0,
            passed: true,
        }
    }

    fn step(&mut self, table: &Table, committed: &mut Vec<u64>) -> Result<(), Busy> {
        let step = self.steps;
        self.steps += 1;
        let done = match step {
            0 => self.file.execute_batch("BEGIN"),
            1 => self.write(table),
            _ if self.passed => self
                .file
                .execute_batch("COMMIT")
                .map(|()| committed.push(self.token)),
            _ => self.file.execute_batch("ROLLBACK"),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::DatabaseBusy => {
                if !self.file.is_autocommit() {
                    self.file
                        .execute_batch("ROLLBACK")
                        .expect("it can be rolled back");
                }
                self.steps = 0;
                Err(Busy)
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn write(&mut self, table: &Table) -> Result<(), Error> {
        let fence = fence(self.token);
        let raise = table.raise(&fence).expect("a good token");
        let rows = self
            .file
            .execute(raise.sql(), (raise.name(), raise.token()))?;
        self.passed = raise.changed(rows).is_ok();
        if self.passed {
            let row = (i64::try_from(self.token).expect("it is small"),);
            self.file.execute("INSERT INTO writes VALUES ($1)", row)?;
        }
        Ok(())
    }

    fn end(&mut self, table: &Table, committed: &mut Vec<u64>) {
        while self.steps < 3 {
            self.step(table, committed).expect("nobody else is there");
        }
    }
}

/// LEA-8: in SQLite no lower token commits after a higher one, in every order of two transactions.
#[test]
fn no_lower_token_commits_after_a_higher_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = Table::new("fences").expect("a name");
    for (at, order) in orders().into_iter().enumerate() {
        for known in [false, true] {
            let path = folder.path().join(format!("{at}-{known}.db"));
            let setup = open(&path);
            setup.execute_batch(&table.ddl()).expect("a table");
            setup
                .execute_batch(&table.ddl())
                .expect("it is there already");
            setup
                .execute_batch("CREATE TABLE writes (token INTEGER)")
                .expect("a table");
            let mut committed = Vec::new();
            if known {
                Leader::new(&path, 3).end(&table, &mut committed);
            }
            let (mut old, mut new) = (Leader::new(&path, 33), Leader::new(&path, 34));
            let mut waits = false;
            for is_new in order {
                let leader = if is_new { &mut new } else { &mut old };
                if leader.steps < 3 && !waits {
                    waits = leader.step(&table, &mut committed).is_err();
                } else if leader.steps > 0 {
                    leader.end(&table, &mut committed);
                }
            }
            for leader in [&mut old, &mut new] {
                if leader.steps > 0 {
                    leader.end(&table, &mut committed);
                }
            }
            for leader in [&mut old, &mut new] {
                leader.end(&table, &mut committed);
            }
            assert!(committed.is_sorted(), "{order:?}: {committed:?}");
            assert_eq!(committed.last(), Some(&34), "{order:?}");
            let rows = setup.prepare("SELECT token FROM writes ORDER BY rowid");
            let mut rows = rows.expect("a table");
            let written: Vec<i64> = rows
                .query_map([], |row| row.get(0))
                .expect("rows")
                .collect::<Result<_, _>>()
                .expect("numbers");
            let written: Vec<_> = written.into_iter().map(i64::cast_unsigned).collect();
            assert_eq!(written, committed, "{order:?}");
        }
    }
}

/// LEA-8: in SQLite a table may have a word of SQL for a name.
#[test]
fn a_word_of_sql_is_a_name() {
    let file = Connection::open_in_memory().expect("memory");
    for name in ["order", "main.select", "temp.table"] {
        let table = Table::new(name).expect("a name");
        file.execute_batch(&table.ddl()).expect("a table");
        let fence = fence(7);
        let raise = table.raise(&fence).expect("a good token");
        let rows = file.execute(raise.sql(), (raise.name(), raise.token()));
        assert_eq!(raise.changed(rows.expect("it runs")), Ok(()), "{name}");
        let highest = file.query_row(&table.highest(), [raise.name()], |row| row.get(0));
        assert_eq!(highest, Ok(7), "{name}");
    }
}

/// LEA-8: in SQLite an equal token passes, a lower one is refused and says by what, and other names are not touched.
#[test]
fn equal_passes_and_lower_is_refused() {
    let file = Connection::open_in_memory().expect("memory");
    let table = Table::new("fences").expect("a name");
    file.execute_batch(&table.ddl()).expect("a table");
    let raise = |name: &str, token| {
        let fence = backstay_lease::Fence::new(name, token);
        let raise = table.raise(&fence).expect("a good token");
        let rows = file.execute(raise.sql(), (raise.name(), raise.token()));
        raise.changed(rows.expect("it runs")).map_err(|stale| {
            let highest = file.query_row(&table.highest(), [name], |row| row.get(0));
            stale.with_highest(highest.expect("there is one"))
        })
    };
    assert_eq!(raise("a", 7), Ok(()));
    assert_eq!(raise("a", 7), Ok(()));
    assert_eq!(raise("a", i64::MAX.cast_unsigned()), Ok(()));
    let stale = raise("a", 8).expect_err("it is lower");
    assert_eq!(
        (stale.token, stale.highest),
        (8, Some(i64::MAX.cast_unsigned()))
    );
    assert_eq!(raise("b", 1), Ok(()));
}
