use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    let at: jiff::Timestamp = text.parse().expect("a time");
    Timestamp::from_millis(u64::try_from(at.as_millisecond()).expect("after 1970"))
}

fn times(cron: &str, zone: &str) -> Times {
    Times::new("job", cron, zone).expect("good options")
}

/// What comes next, and next, as text.
fn from(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let times = times(cron, zone);
    let due = successors(times.after(at(after)), |due| times.after(*due));
    due.take(count).map(shown).collect()
}

fn shown(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).expect("it is small");
    jiff::Timestamp::from_millisecond(millis)
        .expect("a time")
        .to_string()
}

/// LEA-7: a fixed time that is left out when clocks go forward is due when they have; one that comes twice is due the first time.
#[test]
fn a_fixed_time_is_due_once_a_day() {
    // At 2:00 it is 3:00: 2:30 is due at 3:00, which is 1:00 UTC.
    let spring = from("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 3);
    assert_eq!(
        spring,
        [
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z",
            "2026-03-31T00:30:00Z"
        ]
    );
    // At 3:00 it is 2:00: 2:30 comes at 0:30 and at 1:30 UTC.
    let autumn = from("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 3);
    assert_eq!(
        autumn,
        [
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z",
            "2026-10-27T01:30:00Z"
        ]
    );
    let beside = from("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(beside, ["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]);
    let utc = from("30 2 * * *", "UTC", "2026-03-28T12:00:00Z", 2);
    assert_eq!(utc, ["2026-03-29T02:30:00Z", "2026-03-30T02:30:00Z"]);
}

/// LEA-7: a text that is due again and again is due in both hours that come twice, and in no hour that is left out.
#[test]
fn an_interval_follows_the_hours_there_are() {
    let spring = from("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 4);
    assert_eq!(
        spring,
        [
            "2026-03-29T00:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:30:00Z",
            "2026-03-29T02:00:00Z"
        ]
    );
    let left_out = from("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(left_out, ["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"]);
    let twice = from("0,30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 5);
    assert_eq!(
        twice,
        [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:00:00Z"
        ]
    );
}

/// LEA-7: looking back finds the same times as looking forward, also where clocks are changed.
#[test]
fn both_ways_lead_to_the_same_times() {
    let crons = [
        "30 2 * * *",
        "0 3 * * *",
        "59 1 * * *",
        "0,30 2 * * *",
        "*/7 * * * *",
        "15 1-3 * * *",
        "0 */3 * * *",
        "30 */25 2 * * *",
        "0 0 * * SUN",
        "30 2 29 3 *",
        "0 0 L * *",
    ];
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Cairo",
    ];
    let starts = [
        "2026-03-28T18:00:00Z",
        "2026-10-24T18:00:00Z",
        "2026-03-07T20:00:00Z",
        "2026-10-31T20:00:00Z",
        "2026-04-04T03:00:00Z",
        "2026-10-03T03:00:00Z",
        "2026-04-23T12:00:00Z",
        "2026-10-29T12:00:00Z",
    ];
    for (cron, zone) in crons.iter().flat_map(|cron| zones.map(|zone| (cron, zone))) {
        let times = times(cron, zone);
        for start in starts {
            let (start, end) = (at(start), at(start).plus(Duration::from_secs(36 * 3_600)));
            let forward = successors(times.after(start), |due| times.after(*due));
            let mut forward: Vec<_> = forward.take_while(|due| *due <= end).collect();
            assert!(
                forward.is_sorted_by(|one, next| one < next),
                "{cron} {zone}"
            );
            forward.reverse();
            let back = newest(&times, start, end, u32::MAX);
            let shown = |due: &[Timestamp]| due.iter().copied().map(shown).collect::<Vec<_>>();
            assert_eq!(shown(&back), shown(&forward), "{cron} {zone}");
        }
    }
}

/// LEA-7: what is decided is after all that was decided, is due, and skips nothing that is kept.
#[test]
fn a_decision_goes_forward() {
    proptest!(|(decided in 0_u64..3_000, now in 0_u64..3_000, most in 1_u32..50, kind in 0..3)| {
        let missed = match kind {
            0 => Missed::Skip(Duration::from_secs(u64::from(most) * 60)),
            1 => Missed::Once,
            _ => Missed::All(most),
        };
        is_right(missed, decided, now);
    });
}

/// A job that is due every ten minutes, at minutes after midnight.
fn is_right(missed: Missed, decided: u64, now: u64) {
    let times = times("*/10 * * * *", "UTC");
    let minute = |minute: u64| Timestamp::from_millis(1_795_564_800_000 + 60_000 * minute);
    let all: Vec<_> = (decided + 1..=now).filter(|due| due % 10 == 0).collect();
    match decide(&times, missed, minute(decided), minute(now)) {
        Decision::Wait(next) => {
            assert!(all.is_empty());
            assert_eq!(next, Some(minute(decided / 10 * 10 + 10)));
        }
        Decision::Go { skipped, run } => {
            let newest = *all.last().expect("something is due");
            let late = Duration::from_secs(60 * (now - newest));
            let kept = match missed {
                Missed::Skip(tolerance) if tolerance < late => 0,
                Missed::Skip(_) | Missed::Once => 1,
                Missed::All(most) => all.len().min(usize::try_from(most).expect("it is small")),
            };
            let (left_out, runs) = all.split_at(all.len() - kept);
            assert_eq!(run, runs.first().map(|due| minute(*due)));
            let last = skipped.map(|skipped| skipped.last);
            assert_eq!(last, left_out.last().map(|due| minute(*due)));
            let count = skipped.map_or(0, |skipped| skipped.count);
            assert_eq!(usize::try_from(count).expect("it is small"), left_out.len());
        }
    }
}
