use backstay_store::Timestamp;

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn time(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(time) => format!("{time:.3}"),
        // After the year 9999.
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All times have one width, and what is no date is still shown.
    #[test]
    fn times_are_of_one_width() {
        let shown = |millis| time(Timestamp::from_millis(millis));
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown(1_800_000_000_120), "2027-01-15T08:00:00.120Z");
        assert_eq!(shown(u64::MAX), format!("{} ms", u64::MAX));
    }
}
