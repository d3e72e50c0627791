//! Runs `conformance/deadline.json`.

use std::time::Duration;

use backstay_core::Pushback;
use backstay_core::deadline::{
    GrpcTimeout, less_margin, parse_attempts, parse_envoy_timeout, parse_grpc_timeout,
    parse_pushback_ms, parse_retry_after_seconds,
};
use serde::Deserialize;

use crate::vectors::play;

#[derive(Deserialize)]
struct Config {
    format: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    header: Option<String>,
    header_hex: Option<String>,
    #[serde(default)]
    left_s: u64,
    #[serde(default)]
    left_ns: u32,
    ns: Option<u64>,
    count: Option<u32>,
}

impl Step {
    fn header(&self) -> Vec<u8> {
        match (&self.header, &self.header_hex) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(hex)) => (0..hex.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal"))
                .collect(),
            _ => panic!("a step has one header"),
        }
    }
}

/// CALL-13, CALL-22, CALL-23: headers are read and written as the vectors say.
#[test]
fn deadline_vectors() {
    let file = include_str!("../../../../conformance/deadline.json");
    play(
        file,
        |config: Config| config.format,
        |format, step: Step| {
            let left = Duration::from_secs(step.left_s) + Duration::from_nanos(step.left_ns.into());
            let expected = step.ns.map(Duration::from_nanos);
            match format.as_str() {
                "grpc-timeout" => assert_eq!(parse_grpc_timeout(&step.header()), expected),
                "envoy-timeout" => assert_eq!(parse_envoy_timeout(&step.header()), expected),
                "retry-after" => assert_eq!(parse_retry_after_seconds(&step.header()), expected),
                "attempts" => assert_eq!(parse_attempts(&step.header()), step.count),
                "pushback" => {
                    let expected = expected.map_or(Pushback::Never, Pushback::After);
                    assert_eq!(parse_pushback_ms(&step.header()), expected);
                }
                "write-grpc-timeout" => {
                    assert_eq!(GrpcTimeout::new(left).as_str().as_bytes(), step.header());
                }
                "less-margin" => assert_eq!(Some(less_margin(left)), expected),
                other => panic!("no format {other}"),
            }
        },
    );
}
