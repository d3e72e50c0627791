use backstay_call::{Event, EventKind, Listener};
use backstay_telemetry::MetricsListener;

use crate::hear::scrape;
use crate::samples::samples;
use crate::story;

/// TEL-3: the metrics of a pipeline, word for word.
#[test]
fn a_story_is_counted_with_names_and_labels() {
    let page = scrape(|| story::tell(MetricsListener::new()));
    let mut counted: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("backstay_") && !line.contains("_bucket"))
        .collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            r#"backstay_attempt_duration_count{pipeline="payments",outcome="error"} 4"#,
            r#"backstay_attempt_duration_count{pipeline="payments",outcome="ok"} 4"#,
            r#"backstay_attempt_duration_sum{pipeline="payments",outcome="error"} 0"#,
            r#"backstay_attempt_duration_sum{pipeline="payments",outcome="ok"} 0.75"#,
            r#"backstay_attempts{pipeline="payments",outcome="error",hedge="false"} 4"#,
            r#"backstay_attempts{pipeline="payments",outcome="ok",hedge="false"} 4"#,
            r#"backstay_breaker_phase{pipeline="payments"} 0"#,
            r#"backstay_breaker_transitions{pipeline="payments",to="closed",cause="probes_succeeded"} 1"#,
            r#"backstay_breaker_transitions{pipeline="payments",to="half_open",cause="open_time_over"} 1"#,
            r#"backstay_breaker_transitions{pipeline="payments",to="open",cause="consecutive_failures"} 1"#,
            r#"backstay_call_duration_count{pipeline="payments",outcome="error"} 4"#,
            r#"backstay_call_duration_count{pipeline="payments",outcome="ok"} 4"#,
            r#"backstay_call_duration_sum{pipeline="payments",outcome="error"} 0"#,
            r#"backstay_call_duration_sum{pipeline="payments",outcome="ok"} 0.8"#,
            r#"backstay_calls{pipeline="payments",outcome="error",stop="effect"} 3"#,
            r#"backstay_calls{pipeline="payments",outcome="error",stop="rejected"} 1"#,
            r#"backstay_calls{pipeline="payments",outcome="ok",stop="succeeded"} 4"#,
            r#"backstay_rejections{pipeline="payments",by="breaker"} 1"#,
            r#"backstay_retries{pipeline="payments"} 1"#,
            r#"backstay_retry_wait_count{pipeline="payments"} 1"#,
            r#"backstay_retry_wait_sum{pipeline="payments"} 0.05"#,
        ]
    );
}

/// TEL-3: each kind of event is counted, but for beginnings, whose ends are.
#[test]
fn every_kind_of_event_is_counted() {
    for kind in samples() {
        let page = scrape(|| MetricsListener::new().on_event(&Event::new("payments", kind)));
        let begins = matches!(kind, EventKind::Queued | EventKind::AttemptStarted { .. });
        assert_eq!(page.contains("=\"payments\""), !begins, "{kind:?}\n{page}");
    }
}

/// TEL-3: every metric says what it means.
#[test]
fn every_metric_is_described() {
    let page = scrape(|| {
        MetricsListener::describe();
        for kind in samples() {
            MetricsListener::new().on_event(&Event::new("payments", kind));
        }
    });
    for line in page.lines() {
        if let Some(metric) = line.strip_prefix("# TYPE ") {
            let name = metric.split(' ').next().unwrap_or_default();
            assert!(page.contains(&format!("# HELP {name} ")), "{name}\n{page}");
        }
    }
}
