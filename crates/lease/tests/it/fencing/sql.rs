//! What needs no database.

use backstay_lease::Fence;
use backstay_lease::fencing::sql::Table;

use super::fence;

/// LEA-8: a token that no database can hold, and none at all, are errors.
#[test]
fn a_token_has_to_fit() {
    let table = Table::new("fences").expect("a name");
    let most = u64::try_from(i64::MAX).expect("it is positive");
    for token in [1, most] {
        assert!(table.raise(&fence(token)).is_ok(), "{token}");
    }
    for token in [0, most + 1, u64::MAX] {
        let invalid = table.raise(&fence(token)).expect_err("it does not fit");
        assert_eq!(
            (invalid.field.as_str(), invalid.value),
            ("fence.token", token.to_string())
        );
    }
}

/// LEA-8: only a count of changed rows lets a transaction go on.
#[test]
fn no_changed_row_is_a_refusal() {
    let (table, fence) = (Table::new("fences").expect("a name"), fence(7));
    let raise = table.raise(&fence).expect("a good token");
    assert_eq!(raise.changed(1_u64), Ok(()));
    assert!(
        raise.changed(-1).is_err(),
        "a driver that does not know has shown nothing"
    );
    let stale = raise.changed(0_usize).expect_err("nothing was changed");
    assert_eq!(
        (stale.name.as_str(), stale.token, stale.highest),
        ("sweeper", 7, None)
    );
    assert_eq!(
        stale.with_highest(9).to_string(),
        "fenced: token 7 of \"sweeper\" is lower than 9"
    );
}

/// LEA-8: a table's name can't be anything else than a name.
#[test]
fn a_table_has_a_plain_name() {
    for name in ["fences", "shop.fences", "f_1"] {
        assert!(Table::new(name).is_ok(), "{name}");
    }
    let long = "f".repeat(64);
    let names = [
        "",
        "a.b.c",
        ".a",
        "a.",
        "1a",
        "A",
        "a b",
        "a;drop",
        "a\"",
        "backstay_fences",
        "main.backstay_x",
        &long,
    ];
    for name in names {
        let invalid = Table::new(name).expect_err(name);
        assert_eq!(invalid.field, "fences.table");
    }
    assert!(Fence::new("any name; it is a parameter", 1).token > 0);
}
