use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One call each 10 ms for so many seconds; `ended` says how each ends from when it is due.
fn calls(seconds: u64, ended: impl Fn(Duration) -> Ended) -> Vec<Entry> {
    (0..seconds * 100)
        .map(|index| ms(index * 10))
        .map(|due| Entry {
            due,
            lag: Some(ms(1)),
            ended: ended(due),
        })
        .collect()
}

#[test]
fn goodput_counts_answers_inside_the_deadline_only() {
    let entries = calls(4, |due| match due.as_secs() {
        0 => Ended::Answered(ms(250)),
        1 => Ended::Answered(ms(251)),
        2 => Ended::Failed,
        _ => Ended::Open,
    });
    assert_eq!(goodput(&entries, &(Duration::ZERO..SECOND)), Some(100.0));
    assert_eq!(goodput(&entries, &(Duration::ZERO..4 * SECOND)), Some(25.0));
    assert_eq!(goodput(&entries, &(SECOND..SECOND)), None);
    assert_eq!((late(&entries), lost(&entries)), (100, 200));
}

#[test]
fn recovery_is_the_start_of_the_first_good_window() {
    let back_at = |back: Duration| {
        let entries = calls(20, |due| {
            if due < back {
                Ended::Failed
            } else {
                Ended::Answered(ms(20))
            }
        });
        recovery(&entries, &(5 * SECOND..20 * SECOND))
    };
    assert_eq!(back_at(Duration::ZERO), Some(Duration::ZERO));
    // Five in a hundred may fail: a window may start a quarter of a second before all is well.
    assert_eq!(back_at(8 * SECOND), Some(ms(2_800)));
    // The last whole window starts at 15 s.
    assert_eq!(back_at(15 * SECOND), Some(ms(9_800)));
    assert_eq!(back_at(16 * SECOND), None);
}

#[test]
fn a_span_shorter_than_the_window_shows_no_recovery() {
    let entries = calls(8, |_| Ended::Answered(ms(20)));
    assert_eq!(recovery(&entries, &(4 * SECOND..8 * SECOND)), None);
}

#[test]
fn a_relapse_does_not_undo_a_recovery_but_a_short_revival_is_none() {
    let entries = calls(20, |due| {
        if due < 4 * SECOND {
            Ended::Answered(ms(20))
        } else {
            Ended::Failed
        }
    });
    assert_eq!(recovery(&entries, &(Duration::ZERO..20 * SECOND)), None);
}

#[test]
fn quantiles_take_lost_calls_as_for_ever() {
    let entries = calls(1, |due| {
        let nth = due.as_millis() / 10;
        if nth < 98 {
            Ended::Answered(ms(u64::try_from(nth).unwrap() + 1))
        } else {
            Ended::Failed
        }
    });
    assert_eq!(quantile(&entries, 0.5), Some(ms(50)));
    assert_eq!(quantile(&entries, 0.98), Some(ms(98)));
    assert_eq!(quantile(&entries, 0.99), None);
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn the_log_keeps_what_it_is_told() {
    let log = Log::new(&[ms(1), ms(2), ms(3)]);
    log.started(1, ms(4));
    log.ended(1, Ended::Answered(ms(30)));
    log.ended(99, Ended::Failed);
    let entries = log.due_in(&(ms(2)..ms(3)));
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].ended, Ended::Answered(ms(30)));
    assert_eq!(lag_p99(&entries), Some(ms(4)));
    assert_eq!(lost(&log.due_in(&(ms(0)..SECOND))), 2);
}
