use super::*;

fn row(subject: &'static str, group: Group, threads: usize, ns: f64) -> Row {
    Row {
        subject,
        group: group.name(),
        threads,
        ns,
        allocs: 0.0,
        spread: 0.0,
    }
}

fn rows() -> Vec<Row> {
    vec![
        row("seatbelt", Group::BreakerClosed, 1, 100.0),
        row("backstay", Group::BreakerClosed, 1, 35.0),
        row("backstay", Group::BreakerClosed, 2, 20.0),
        row("backstay", Group::BreakerClosed, 8, 20.5),
        row("seatbelt (4: one)", Group::Stack, 1, 300.0),
        row("seatbelt (4: other)", Group::Stack, 1, 200.0),
        row("backstay (5: all)", Group::Stack, 1, 170.0),
        row("backstay (5: all)", Group::Stack, 2, 120.0),
        row("backstay (5: all)", Group::Stack, 8, 130.0),
    ]
}

fn verdicts(rows: &[Row]) -> Vec<&'static str> {
    targets(rows).iter().map(Target::verdict).collect()
}

/// Each target is judged by its own rows, at its bound; the peer stands with its fastest.
#[test]
fn targets_are_judged_at_their_bounds() {
    let measured: Vec<_> = targets(&rows()).iter().map(|t| t.measured).collect();
    let ratios = [
        0.0,
        0.35,
        0.85,
        35.0 / 20.0,
        20.0 / 20.5,
        170.0 / 120.0,
        120.0 / 130.0,
    ];
    assert_eq!(measured, ratios.map(Some));
    assert_eq!(
        verdicts(&rows()),
        ["met", "met", "missed", "met", "met", "missed", "missed"],
    );
}

/// One allocation in any row of ours is a miss; a peer's is not.
#[test]
fn only_our_allocations_count() {
    let mut rows = rows();
    rows[0].allocs = 3.0;
    assert_eq!(verdicts(&rows)[0], "met");
    rows[8].allocs = 0.001;
    assert_eq!(verdicts(&rows)[0], "missed");
}

/// Without us there is nothing to judge.
#[test]
fn no_targets_without_our_rows() {
    let mut rows = rows();
    rows.retain(|row| by(row, PEER));
    assert_eq!(targets(&rows), []);
}

/// A filtered run says what it did not measure, and judges the rest.
#[test]
fn a_missing_row_is_not_a_miss() {
    let rows = [row("backstay", Group::Timeout, 1, 10.0)];
    let verdicts = verdicts(&rows);
    assert_eq!(verdicts[0], "met");
    assert!(
        verdicts[1..]
            .iter()
            .all(|verdict| *verdict == "not measured")
    );
}

/// A line holds the verdict, the claim, the ratio and its bound.
#[test]
fn a_line_says_it_all() {
    let line = targets(&rows())[1].to_string();
    assert_eq!(
        line,
        "met           breaker closed: backstay's time by seatbelt's: 0.35 (at most 0.35)",
    );
}
