//! Counts: `1000000`, `1_000_000`, `1e6`.

use super::{Problem, quantity};

/// Reads a count. The most is what Lua's own integers can hold.
///
/// # Errors
/// One line: why it is none, and how to write one.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let count = quantity(
        text,
        &[("", 1)],
        "instructions",
        i64::MAX as u128,
        "9223372036854775807",
    )
    .map_err(|problem: Problem| format!("{problem}; write a count as 1000000, 1_000_000 or 1e6"))?;
    Ok(count as u64) // at most i64::MAX
}
