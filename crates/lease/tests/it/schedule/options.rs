//! What is refused when it is built.

use std::time::Duration;

use backstay_lease::Invalid;
use backstay_lease::schedule::{Job, Missed, Schedule};
use backstay_store::MemoryStore;

fn job(name: &str, cron: &str) -> Job {
    Job::new(name, cron, |_| async {})
}

fn build(name: &str, jobs: impl IntoIterator<Item = Job>) -> Result<Schedule, Invalid> {
    let builder = Schedule::builder(MemoryStore::new().into_store(), name);
    let jobs = jobs.into_iter();
    jobs.fold(builder, backstay_lease::schedule::ScheduleBuilder::job)
        .build()
}

/// LEA-7: a bad cron text or zone, and a policy out of its range, say field, value and limit.
#[test]
fn a_bad_option_says_which() {
    let good = || job("nightly", "0 3 * * *");
    for cron in [
        "",
        "0 3 * *",
        "60 3 * * *",
        "0 24 * * *",
        "x",
        "0 3 * * * * * *",
        "0 3 31 2 *",
    ] {
        let invalid = build("s", [job("nightly", cron)]).expect_err(cron);
        assert_eq!(invalid.field, "job nightly.cron");
        assert_eq!(invalid.value, format!("{cron:?}"));
    }
    let cases = [
        (good().zone("Mars/Olympus"), "job nightly.zone"),
        (good().zone(""), "job nightly.zone"),
        (
            good().missed(Missed::Skip(Duration::ZERO)),
            "job nightly.missed",
        ),
        (good().missed(Missed::All(0)), "job nightly.missed"),
        (good().missed(Missed::All(1_001)), "job nightly.missed"),
        (job("", "0 3 * * *"), "job"),
        (job("a/b", "0 3 * * *"), "job"),
        (job(&"a".repeat(101), "0 3 * * *"), "job"),
    ];
    for (job, field) in cases {
        let shown = format!("{job:?}");
        assert_eq!(build("s", [job]).expect_err(&shown).field, field);
    }
    assert_eq!(build("s", [good(), good()]).expect_err("two").field, "job");
    assert_eq!(build("s", []).expect_err("none").field, "schedule, jobs");
    assert_eq!(
        build("a/b", [good()]).expect_err("a name").field,
        "schedule"
    );
    for cron in [
        "0 3 * * *",
        "*/10 * * * * *",
        "@daily",
        "0 3 L * *",
        "0 9 * * MON-FRI",
    ] {
        build("s", [job("nightly", cron).zone("Europe/Berlin")]).expect(cron);
    }
}
