//! Durations: `500ms`, `1.5s`, `2m`, `1h`; a bare number is seconds.

use std::time::Duration;

use super::{Problem, quantity};

/// The longest duration that is accepted, a hundred years of 365 days.
///
/// A deadline is a point in time; with this bound adding one to the clock cannot overflow, on any platform.
pub const MAX_DURATION: Duration = Duration::from_secs(876_000 * 3600);

const UNITS: &[(&str, u64)] = &[
    ("", 1_000_000_000),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("min", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

/// Reads a duration. Zero is a duration: a limit of zero stops at once.
///
/// # Errors
/// One line: why it is none, and how to write one.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanoseconds = quantity(
        text,
        UNITS,
        "nanoseconds",
        MAX_DURATION.as_nanos(),
        "876000h",
    )
    .map_err(|problem: Problem| {
        format!("{problem}; write a duration as 500ms, 1.5s, 2m or 1h (units: us ms s m h)")
    })?;
    // Both parts fit: the seconds are at most MAX_DURATION's.
    Ok(Duration::new(
        (nanoseconds / 1_000_000_000) as u64,
        (nanoseconds % 1_000_000_000) as u32,
    ))
}
