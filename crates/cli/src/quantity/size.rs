//! Sizes of memory: `64M`, `64MB`, `64MiB`, `1GiB`, `512k`; a bare number is bytes. All units are powers of 1024.

use super::{Problem, quantity};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", K),
    ("kb", K),
    ("kib", K),
    ("m", M),
    ("mb", M),
    ("mib", M),
    ("g", G),
    ("gb", G),
    ("gib", G),
];

/// Reads a size in bytes. The most is what one allocation can be, half of the address space.
///
/// # Errors
/// One line: why it is none, and how to write one.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let bytes = quantity(
        text,
        UNITS,
        "bytes",
        isize::MAX as u128,
        "half of the address space",
    )
    .map_err(|problem: Problem| {
        format!("{problem}; write a size as 64M, 1GiB, 512k or bytes (K, M, G are powers of 1024)")
    })?;
    Ok(bytes as usize) // at most isize::MAX
}
