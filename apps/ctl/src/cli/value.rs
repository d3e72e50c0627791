//! Values of flags, and what is right where one is wrong.

use std::error::Error;
use std::time::Duration;

use backstay_saga::{By, Json};

const MOST: usize = 100_000;
const YEAR: Duration = Duration::from_secs(366 * 24 * 3_600);

pub(super) fn group(text: &str) -> Result<String, String> {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_right = (1..=64).contains(&text.len()) && text.bytes().all(is_one);
    let wrong = || format!("`{text}` is not 1 to 64 characters of a-z, A-Z, 0-9, `-`, `_` and `.`");
    is_right.then(|| text.to_owned()).ok_or_else(wrong)
}

pub(super) fn limit(text: &str) -> Result<usize, String> {
    let is_right = |limit: &usize| (1..=MOST).contains(limit);
    let wrong = || format!("`{text}` is not a whole number from 1 to {MOST}");
    text.parse().ok().filter(is_right).ok_or_else(wrong)
}

/// Who or why.
pub(super) fn words(text: &str) -> Result<String, String> {
    match By::new(text, text) {
        Ok(_) => Ok(text.to_owned()),
        Err(invalid) => Err(format!("`{text}` {}", invalid.limit)),
    }
}

pub(super) fn json(text: &str) -> Result<Json, String> {
    Json::parse(text).map_err(|error| {
        let reason = error.source().map(ToString::to_string).unwrap_or_default();
        format!("`{text}` is not JSON: {reason}")
    })
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().ok();
    let read = read.and_then(|read| Duration::try_from(read).ok());
    let is_right = |time: &Duration| (Duration::from_millis(1)..=YEAR).contains(time);
    let wrong = || format!("`{text}` is not a time from 1ms to 366 days, such as 30s or 1h 30m");
    read.filter(is_right).ok_or_else(wrong)
}
