//! Options from files.

use std::time::Duration;

use backstay_call::{Config, Policy};

fn error(toml: &str) -> String {
    Config::from_toml("backstay.toml", toml)
        .unwrap_err()
        .to_string()
}

#[test]
fn toml_and_json_say_the_same() {
    let toml = r#"
        [pipelines.stock]
        deadline = "300ms"
        attempt_timeout = "100ms"
        bulkhead = { limit = 20, queue = 10, max_wait = "50ms" }
        retry = { max_attempts = 2, backoff = { kind = "decorrelated", base = "20ms" } }
        budget = { ratio = 0.2, reserve_per_s = 3 }
        breaker = { failure_rate = 0.4, slow_after = "80ms", window = { calls = 200 } }
        hedge = { quantile = 0.95 }
        observe = ["breaker"]
        off = ["budget"]
    "#;
    let json = r#"{"pipelines": {"stock": {
        "deadline": "300ms", "attempt_timeout": "100ms",
        "bulkhead": {"limit": 20, "queue": 10, "max_wait": "50ms"},
        "retry": {"max_attempts": 2, "backoff": {"kind": "decorrelated", "base": "20ms"}},
        "budget": {"ratio": 0.2, "reserve_per_s": 3},
        "breaker": {"failure_rate": 0.4, "slow_after": "80ms", "window": {"calls": 200}},
        "hedge": {"quantile": 0.95},
        "observe": ["breaker"], "off": ["budget"]}}}"#;
    let toml = Config::from_toml("a.toml", toml).unwrap();
    let json = Config::from_json("a.json", json).unwrap();
    let settings = toml.settings("stock").unwrap();
    assert_eq!(settings, json.settings("stock").unwrap());
    assert_eq!(settings.deadline, Duration::from_millis(300));
    assert_eq!(settings.observe, [Policy::Breaker]);
    assert!(toml.pipeline("stock").unwrap().build().is_ok());
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = Config::from_toml("a.toml", "[pipelines.payments]").unwrap();
    let built = config.pipeline("payments").unwrap().build().unwrap();
    assert_eq!(
        built.settings(),
        backstay_call::Pipeline::builder("x")
            .build()
            .unwrap()
            .settings()
    );
}

#[test]
fn errors_name_file_key_value_and_limit() {
    assert_eq!(
        error("[pipelines.stock.retry]\nmax_attempts = 11"),
        "backstay.toml: pipelines.stock.retry.max_attempts = 11: must be in 1..=10"
    );
    assert_eq!(
        error("[pipelines.stock]\ndeadline = \"1s\"\nattempt_timeout = \"2s\""),
        "backstay.toml: pipelines.stock.attempt_timeout = 2s: must be at most deadline = 1s"
    );
    let unknown = error("[pipelines.stock]\ndeadlin = \"1s\"");
    assert!(
        unknown.starts_with("backstay.toml: pipelines.stock.deadlin"),
        "{unknown}"
    );
    assert!(unknown.contains("`deadline`"), "{unknown}");
    let number = error("[pipelines.stock]\ndeadline = 5");
    assert!(
        number.starts_with("backstay.toml: pipelines.stock.deadline"),
        "{number}"
    );
    let syntax = error("[pipelines.stock]\n\ndeadline = = 5");
    assert!(syntax.starts_with("backstay.toml: line 3"), "{syntax}");
    for bad in ["nan", "inf", "0.0", "-0.5", "1.5"] {
        let rate = error(&format!("[pipelines.stock.breaker]\nfailure_rate = {bad}"));
        assert!(
            rate.contains("pipelines.stock.breaker.failure_rate"),
            "{rate}"
        );
    }
}

#[test]
fn a_name_that_is_not_there_is_answered_with_those_that_are() {
    let config = Config::from_toml("a.toml", "[pipelines.stock]\n[pipelines.payments]").unwrap();
    assert_eq!(
        config.pipeline("stocks").unwrap_err().to_string(),
        "a.toml: no pipeline \"stocks\"; it has [\"payments\", \"stock\"]"
    );
}

#[test]
fn files_that_are_no_files_are_errors() {
    let error = Config::read("no/such/file.toml").unwrap_err();
    let reason = std::fs::read_to_string("no/such/file.toml").unwrap_err();
    let text = format!("no/such/file.toml: can't be read: {reason}");
    assert_eq!(error.to_string(), text);
    // What `main` prints.
    assert_eq!(format!("{error:?}"), text);
    let error = Config::read("backstay.yaml").unwrap_err();
    assert_eq!(
        error.to_string(),
        "backstay.yaml: must end in .toml or .json"
    );
}

#[test]
fn nothing_may_follow_the_json() {
    let good = r#"{"pipelines": {"stock": {}}}"#;
    assert!(Config::from_json("a.json", good).is_ok());
    let error = Config::from_json("a.json", &format!("{good}\n{good}")).unwrap_err();
    assert!(error.to_string().starts_with("a.json: line 2"), "{error}");
}
