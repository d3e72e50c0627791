use std::future::{pending, ready};
use std::path::PathBuf;

use super::super::verdict::judge;
use super::*;
use crate::arms::select;
use crate::cli::{ArmList, Common};
use crate::report::{ArmReport, FaultSpan, Goodput};

/// A run in which every rule holds.
fn good() -> Measured {
    let arm = |name, during, recovery_s| ArmReport {
        name,
        goodput: Goodput {
            before: Some(300.0),
            during: Some(during),
            after: Some(300.0),
        },
        recovery_s,
        amplification: 1.0,
        amplification_during: Some(1.0),
        slowed: 1,
        ..ArmReport::default()
    };
    Measured {
        offered_per_s: Some(300.0),
        capacity_per_s: Some(400.0),
        capacity_left_per_s: Some(200.0),
        generator_lag_p99_ms: Some(1.0),
        fault: Some(FaultSpan {
            from_s: 10.0,
            until_s: 20.0,
            factor: 0.5,
        }),
        length_s: 70.0,
        arms: vec![
            arm(NONE, 10.0, Some(10.0)),
            arm(ARTICLE_RETRY, 15.0, None),
            arm(BACKSTAY, 190.0, Some(0.3)),
            ArmReport {
                amplification_during: Some(1.1),
                ..arm(BUDGET_ONLY, 13.0, Some(13.0))
            },
        ],
        ..Measured::default()
    }
}

/// Breaks one thing in a good run.
type Spoil = fn(&mut Measured);

fn verdict(spoil: impl FnOnce(&mut Measured)) -> (Verdict, Vec<String>) {
    let mut measured = good();
    spoil(&mut measured);
    let (verdict, reasons, _) = judge(&rules(), &measured, None);
    (verdict, reasons)
}

#[test]
fn a_run_that_keeps_every_promise_passes() {
    let (verdict, reasons) = verdict(|_| {});
    assert_eq!(verdict, Verdict::Pass);
    assert_eq!(reasons.len(), 4);
}

#[test]
fn each_broken_promise_fails_the_run() {
    let spoils: [Spoil; 6] = [
        |run| run.arms[2].goodput.during = Some(179.0),
        |run| run.arms[2].recovery_s = Some(1.1),
        |run| run.arms[2].recovery_s = None,
        |run| run.arms[2].amplification = 1.11,
        |run| run.arms[2].amplification_during = Some(1.11),
        |run| run.arms[3].amplification_during = Some(1.3),
    ];
    for spoil in spoils {
        let (verdict, reasons) = verdict(spoil);
        assert_eq!((verdict, reasons.len()), (Verdict::Fail, 1), "{reasons:?}");
    }
}

#[test]
fn a_run_that_proves_nothing_is_invalid() {
    let spoils: [(Spoil, &str); 7] = [
        (
            |run| run.arms[1].recovery_s = Some(30.0),
            "article-retry never recovers",
        ),
        (|run| run.arms[2].slowed = 0, "0 in backstay"),
        (|run| run.generator_lag_p99_ms = Some(5.1), "5.1 ms"),
        (
            |run| run.arms[0].goodput.before = Some(200.0),
            "200/s of 300/s",
        ),
        (|run| run.length_s = 39.0, "19 s"),
        (
            |run| drop(run.arms.remove(1)),
            "arm article-retry takes part: it did not",
        ),
        (
            |run| drop(run.arms.remove(2)),
            "arm backstay takes part: it did not",
        ),
    ];
    for (spoil, reason) in spoils {
        let (verdict, reasons) = verdict(spoil);
        assert_eq!(verdict, Verdict::Invalid);
        assert!(
            reasons.iter().any(|given| given.contains(reason)),
            "{reason}: {reasons:?}"
        );
    }
}

#[test]
fn the_headline_says_who_is_down_and_who_is_back() {
    let text = headline(&good());
    assert!(text.starts_with("The fault ended 50 s ago."), "{text}");
    assert!(
        text.contains("article-retry kept 15/s during it and was not back in 50 s"),
        "{text}"
    );
    assert!(
        text.contains("backstay kept 190/s during it and was back after 0.3 s"),
        "{text}"
    );
}

fn settings(arms: &str) -> Overload {
    let common = Common {
        seed: 1,
        load: 0.75,
        out: PathBuf::new(),
        metrics: None,
    };
    Overload {
        arms: ArmList(select(arms).unwrap()),
        factor: 0.5,
        seconds: 1,
        common,
    }
}

const SHORT: Phases = Phases {
    calibration: Duration::from_millis(500),
    uncounted: Duration::ZERO,
    warm_up: Duration::from_secs(1),
    fault: Duration::from_secs(1),
};

/// Every arm, real sockets, all phases: what is reported has its shape. No number is judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_run_reports_every_arm() {
    let settings = settings("all");
    let report = run(&settings, SHORT, pending()).await.unwrap();
    assert_eq!(
        report.verdict,
        Verdict::Invalid,
        "too short to prove anything"
    );
    assert!(!report.partial);

    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["experiment"], "overload");
    assert_eq!(json["offered"].as_array().unwrap().len(), 3);
    for key in [
        "offered_per_s",
        "capacity_per_s",
        "capacity_left_per_s",
        "generator_lag_p99_ms",
    ] {
        assert!(json[key].is_number(), "{key}");
    }
    let arms = json["arms"].as_array().unwrap();
    assert_eq!(arms.len(), settings.arms.0.len());
    for arm in arms {
        let name = &arm["name"];
        assert!(arm["calls"].as_u64().unwrap() > 0, "{name}");
        assert!(arm["amplification"].is_number(), "{name}");
        assert!(
            arm["recovery_s"].is_null(),
            "{name}: one second holds no window of five"
        );
        for phase in ["before", "during", "after"] {
            assert!(arm["goodput"][phase].is_number(), "{name}, {phase}");
        }
        for series in ["goodput", "attempts", "p50_ms", "p99_ms"] {
            assert_eq!(
                arm["series"][series].as_array().unwrap().len(),
                3,
                "{name}, {series}"
            );
        }
        for key in ["p50_ms", "p99_ms", "p999_ms"] {
            assert!(arm[key].is_number(), "{name}, {key}");
        }
        assert!(arm["lost_quantiles"].is_array(), "{name}");
        for key in ["wasted", "lost", "slowed"] {
            assert!(arm[key].is_u64(), "{name}, {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_a_partial_report() {
    let report = run(&settings("none"), SHORT, ready(())).await.unwrap();
    assert!(report.partial);
    assert_eq!(report.verdict, Verdict::Invalid);
    assert_eq!(report.reasons, ["interrupted"]);
}
