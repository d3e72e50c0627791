use super::super::shown;
use super::*;

const TESTS: &str = "\
/// CALL-14: the budget holds.
#[test]
#[expect(
    clippy::float_cmp,
    // a remark;
    reason = \"exact\"
)]
fn holds() {}

mod more {
    /// CALL-14 over time.
    #[tokio::test(start_paused = true)]
    async fn holds_over_time() {}

    proptest! {
        #[test]
        fn holds_always(calls in 0..10u32) {}
        fn never_run(calls in 0..10u32) {}
    }
}
#[test]
fn other() {}
fn helper() {}
// #[test]
fn switched_off() {}
";

const CASES: &str = "\
/// CALL-14: listed.
pub async fn listed(subject: &dyn Subject) {}
/// CALL-14: not listed.
pub async fn left_out(subject: &dyn Subject) {}
";

fn found(rows: &str) -> Vec<String> {
    let page = format!(
        "# Guarantees\n\n| Rule | Promise | Test | Not promised |\n|---|:-:|---|---|\n{rows}\n"
    );
    let case = "// CALL-15: a call without a key is not retried\nfn main() {}";
    let files = [
        (PAGE, page.as_str()),
        ("a/tests/it.rs", TESTS),
        ("a/ui/case.rs", case),
        ("a/conformance/mod.rs", "conformance!(\n    listed,\n);"),
        ("a/conformance/cases.rs", CASES),
    ];
    shown(&check(&Tree::of(&files)))
}

/// Rows whose tests exist, carry an attribute and name the rule pass.
#[test]
fn rows_with_their_tests_pass() {
    let rows = "\
        | CALL-14 | a \\| b | `a/tests/it.rs::holds`, `a/tests/it.rs::holds_over_time` | |\n\
        | `CALL-14` | c | `a/tests/it.rs::holds_always` | time |\n\
        | CALL-14 | c | `a/conformance/cases.rs::listed` | |\n\
        | CALL-15 | d | `a/ui/case.rs` | |";
    assert_eq!(found(rows), [""; 0]);
}

/// A test that is missing, never run, or about another rule is found, as is a row without one.
#[test]
fn rows_without_their_tests_are_found() {
    let cases = [
        (
            "| CALL-14 | a | `a/conformance/cases.rs::left_out` | |",
            "CALL-14: `a/conformance/cases.rs` has no test `left_out`",
        ),
        (
            "| CALL-14 | a | `a/none.rs::holds` | |",
            "CALL-14: there is no file `a/none.rs`",
        ),
        (
            "| CALL-14 | a | `a/tests/it.rs::hold` | |",
            "CALL-14: `a/tests/it.rs` has no test `hold`",
        ),
        (
            "| CALL-14 | a | `a/tests/it.rs::helper` | |",
            "CALL-14: `a/tests/it.rs` has no test `helper`",
        ),
        (
            "| CALL-14 | a | `a/tests/it.rs::never_run` | |",
            "CALL-14: `a/tests/it.rs` has no test `never_run`",
        ),
        (
            "| CALL-14 | a | `a/tests/it.rs::switched_off` | |",
            "CALL-14: `a/tests/it.rs` has no test `switched_off`",
        ),
        (
            "| CALL-1 | a | `a/tests/it.rs::holds` | |",
            "CALL-1: `a/tests/it.rs` does not mention it",
        ),
        (
            "| CALL-15 | a | `a/tests/it.rs` | |",
            "CALL-15: `a/tests/it.rs` does not mention it",
        ),
        (
            "| CALL-14 | a | `a/tests/it.rs` | |",
            "CALL-14: which test of `a/tests/it.rs`?",
        ),
        ("| CALL-14 | a | later | |", "CALL-14 names no test"),
        (
            "| Calls | a | `a/tests/it.rs::holds` | |",
            "`Calls` is not the name of a rule",
        ),
        (
            "| CALL-14 | `a/tests/it.rs::holds` | |",
            "a row has 4 cells, this one 3",
        ),
    ];
    for (row, what) in cases {
        assert_eq!(
            found(row),
            [format!("docs/guarantees.md:5: {what}")],
            "{row}"
        );
    }
}

/// An empty row neither hides itself nor the row above it.
#[test]
fn an_empty_row_is_found() {
    let rows = "| CALL-14 | a | later | |\n| | | | |";
    assert_eq!(
        found(rows),
        [
            "docs/guarantees.md:5: CALL-14 names no test",
            "docs/guarantees.md:6: `` is not the name of a rule",
        ]
    );
}

/// A second test in the cell is looked at too.
#[test]
fn every_test_of_a_row_counts() {
    let row = "| CALL-14 | a | `a/tests/it.rs::holds` `a/tests/it.rs::gone` | |";
    assert_eq!(
        found(row),
        ["docs/guarantees.md:5: CALL-14: `a/tests/it.rs` has no test `gone`"]
    );
}

/// No page, or a page that promises nothing, is found.
#[test]
fn a_page_without_rows_is_found() {
    assert_eq!(
        shown(&check(&Tree::of(&[]))),
        ["docs/guarantees.md:1: missing"]
    );
    assert_eq!(found(""), ["docs/guarantees.md:1: has no row"]);
}
