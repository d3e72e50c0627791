use super::*;

fn read(line: &str) -> Result<Line, Refusal> {
    let words = line.split_whitespace().map(OsString::from);
    parse(words)
}

fn mistake(line: &str) -> String {
    match read(line) {
        Err(Refusal::Mistake(text)) => {
            assert!(!text.contains('\n'), "more than one line: {text}");
            text
        }
        other => panic!("`{line}` was taken as {other:?}"),
    }
}

/// Flags for all commands may stand before and after them.
#[test]
fn common_flags_stand_anywhere() {
    for line in [
        "backstay --store shop.db --group eu saga list --json",
        "backstay saga list --json --group eu --store shop.db",
        "backstay --json saga --store shop.db list --group=eu",
    ] {
        let line = read(line).unwrap();
        assert_eq!(line.common.store().unwrap(), Where::File("shop.db".into()));
        assert_eq!(line.common.group, "eu");
        assert_eq!(line.common.format(), Format::Json);
    }
}

/// A mistake is answered in one line, with what is right.
#[test]
fn a_mistake_is_answered_with_the_choices() {
    let cases = [
        ("backstay", "choose the command: saga, events"),
        (
            "backstay sagas",
            "unknown command `sagas`; choose from: saga, events",
        ),
        (
            "backstay --store x saga",
            "choose the command: list, show, retry, undo, abandon, skip, signal, export, watch, graph",
        ),
        (
            "backstay --store x saga kill",
            "unknown command `kill`; choose from: list, show, retry, undo, abandon, skip, signal, export, watch, graph",
        ),
        (
            "backstay --store x saga list --all",
            "unknown flag `--all`; choose from: --ended, --parked, --needs-upgrade, --unreadable, --limit, --store, --schema, --group, --json",
        ),
        ("backstay --store x saga show order", "missing: <ID>"),
        ("backstay --store x saga show", "missing: <SAGA>, <ID>"),
        ("backstay --store x saga watch order", "missing: <ID>"),
        (
            "backstay --store x saga retry order 7 --who eva",
            "missing: --why <WHY>",
        ),
        (
            "backstay --store x saga list --limit 0",
            "--limit: `0` is not a whole number from 1 to 100000",
        ),
        (
            "backstay --store x saga list --limit -1",
            "--limit: `-1` is not a whole number from 1 to 100000",
        ),
        (
            "backstay --store x --group a/b saga list",
            "--group: `a/b` is not 1 to 64 characters of a-z, A-Z, 0-9, `-`, `_` and `.`",
        ),
        (
            "backstay --store x saga watch --for soon",
            "--for: `soon` is not a time from 1ms to 366 days, such as 30s or 1h 30m",
        ),
        (
            "backstay --store x saga signal order 7 approved --who eva",
            "missing: --why <WHY>",
        ),
        (
            "backstay --store x saga signal order 7 approved --value yes",
            "--value: `yes` is not JSON: expected value at line 1 column 1",
        ),
        (
            "backstay --store x saga graph order 7 --format png",
            "--format: `png` is none of: mermaid, dot",
        ),
        (
            "backstay --store x --schema eu saga list",
            "--schema: a SQLite file has no schemas",
        ),
        (
            "backstay --store mysql://x saga list",
            "--store: there is no store of `mysql://`; give the path of a SQLite file, or postgres://user@host/database",
        ),
    ];
    for (line, answer) in cases {
        assert_eq!(mistake(line), answer, "{line}");
    }
    for two in [
        "--ended --parked",
        "--parked --unreadable",
        "--needs-upgrade --unreadable",
    ] {
        let line = format!("backstay --store x saga list {two}");
        let flag = two.split(' ').next_back().unwrap();
        assert!(mistake(&line).contains(flag), "{line}");
    }
    assert!(
        mistake("backstay --store x saga graph order 7 --json --format dot").contains("--json")
    );
}

/// Help is no mistake.
#[test]
fn help_is_not_a_mistake() {
    for line in [
        "backstay --help",
        "backstay --version",
        "backstay saga list --help",
    ] {
        assert!(matches!(read(line), Err(Refusal::Shown(_))), "{line}");
    }
}
