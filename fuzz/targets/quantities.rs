//! Durations, sizes and counts of the command line. No text makes them panic; what is accepted is what a plain reading says, to the last
//! nanosecond and byte; and what a value is written as means that value.

#![no_main]

use leash_cli::quantity::{MAX_DURATION, parse_count, parse_duration, parse_size};
use libfuzzer_sys::fuzz_target;

/// The number in front, and what is behind it; for numbers that a double reads well enough.
fn plainly(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

fn assert_near(text: &str, got: f64, wanted: f64) {
    let near = (got - wanted).abs() <= 1.0 + wanted.abs() * 1e-9;
    assert!(near, "{text:?} was read as {got}, not {wanted}");
}

fuzz_target!(|text: &str| {
    if let Ok(duration) = parse_duration(text) {
        assert!(duration <= MAX_DURATION, "{text:?}");
        let seconds = match plainly(text) {
            Some((n, "" | "s")) => Some(n),
            Some((n, "us")) => Some(n / 1e6),
            Some((n, "ms")) => Some(n / 1e3),
            Some((n, "m" | "min")) => Some(n * 60.0),
            Some((n, "h")) => Some(n * 3600.0),
            _ => None,
        };
        if let Some(seconds) = seconds {
            assert_near(text, duration.as_nanos() as f64, seconds * 1e9);
        }
        let nanos = duration.as_nanos();
        let written = format!("{}.{:09}s", nanos / 1_000_000_000, nanos % 1_000_000_000);
        assert_eq!(parse_duration(&written), Ok(duration), "{written}");
    }
    if let Ok(bytes) = parse_size(text) {
        assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        if let Some((n, "")) = plainly(text) {
            assert_near(text, bytes as f64, n);
        }
    }
    if let Ok(count) = parse_count(text) {
        assert_eq!(parse_count(&count.to_string()), Ok(count));
        if let Some((n, "")) = plainly(text) {
            assert_near(text, count as f64, n);
        }
    }
});
