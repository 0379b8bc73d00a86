//! Quantities on the command line: durations, sizes and counts.
//!
//! A limit that means something else than its author thinks is worse than an error, so nothing is rounded or clamped:
//! numbers are read as exact decimals (`0.1` is one tenth, not the binary fraction next to it) and multiplied by their unit
//! in integers. What cannot be represented exactly, or at all, is refused, with the forms that are accepted.
//!
//! Considered and dropped: `str::parse::<f64>`. It reads `nan`, `inf` and `1e400`, and forgets digits without a word.

mod count;
mod duration;
mod size;

pub use count::parse_count;
pub use duration::{MAX_DURATION, parse_duration};
pub use size::parse_size;

/// Why a quantity was refused. The text is one line and is followed by the accepted forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing, or only spaces.
    #[error("it is empty")]
    Empty,
    /// A minus sign in front.
    #[error("it is negative")]
    Negative,
    /// Not a decimal number at the beginning.
    #[error("it is not a number")]
    NotANumber,
    /// A number, but something unknown behind it.
    #[error("'{0}' is not a unit")]
    UnknownUnit(String),
    /// More than the limit can be.
    #[error("it is too large, the most is {0}")]
    TooLarge(&'static str),
    /// Not a multiple of the smallest amount that can be measured.
    #[error("it is not a whole number of {0}")]
    TooFine(&'static str),
}

/// A non-negative decimal number, exactly: `digits` times ten to the power of `exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decimal {
    digits: u128,
    exponent: i32,
}

/// Why a multiple of a decimal is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inexact {
    TooLarge,
    TooFine,
}

impl Decimal {
    /// `self * unit` as an integer, if it is one and fits.
    fn times(self, unit: u64) -> Result<u128, Inexact> {
        let Decimal {
            mut digits,
            mut exponent,
        } = self;
        let mut unit = u128::from(unit);
        if digits == 0 {
            return Ok(0);
        }
        // Cancel the tens of the denominator, one by one, or a two and a five; what cannot be cancelled is a fraction.
        while exponent < 0 {
            if digits.is_multiple_of(10) {
                digits /= 10;
            } else if unit.is_multiple_of(10) {
                unit /= 10;
            } else if digits.is_multiple_of(5) && unit.is_multiple_of(2) {
                (digits, unit) = (digits / 5, unit / 2);
            } else if digits.is_multiple_of(2) && unit.is_multiple_of(5) {
                (digits, unit) = (digits / 2, unit / 5);
            } else {
                return Err(Inexact::TooFine);
            }
            exponent += 1;
        }
        let mut value = digits.checked_mul(unit).ok_or(Inexact::TooLarge)?;
        while exponent > 0 {
            value = value.checked_mul(10).ok_or(Inexact::TooLarge)?;
            exponent -= 1;
        }
        Ok(value)
    }
}

/// Reads a number at the beginning of `text`: digits with `_` between them, a fraction, an exponent. Returns what follows it.
fn number(text: &str) -> Result<(Decimal, &str), Problem> {
    if text.trim().is_empty() {
        return Err(Problem::Empty);
    }
    if text.starts_with('-') {
        return Err(Problem::Negative);
    }
    let mut reader = Reader {
        rest: text,
        digits: 0,
        exponent: 0,
        seen: false,
        dropped: false,
    };
    reader.digits(false);
    if let Some(rest) = reader.rest.strip_prefix('.')
        && rest.starts_with(|c: char| c.is_ascii_digit())
    {
        reader.rest = rest;
        reader.digits(true);
    }
    if !reader.seen {
        return Err(Problem::NotANumber);
    }
    let exponent = reader.exponent.saturating_add(reader.power());
    Ok((
        Decimal {
            digits: reader.digits,
            exponent,
        },
        reader.rest,
    ))
}

/// The state of reading one number.
struct Reader<'a> {
    rest: &'a str,
    digits: u128,
    exponent: i32,
    /// Has there been a digit?
    seen: bool,
    /// Has a digit been left out because `digits` is full?
    dropped: bool,
}

impl Reader<'_> {
    /// Reads digits; `_` may stand between two of them.
    fn digits(&mut self, fraction: bool) {
        let digit = |s: &str| s.bytes().next().filter(u8::is_ascii_digit);
        loop {
            if let Some(d) = digit(self.rest) {
                self.push(d - b'0', fraction);
                self.rest = &self.rest[1..];
            } else if self.seen && self.rest.starts_with('_') && digit(&self.rest[1..]).is_some() {
                self.rest = &self.rest[1..];
            } else {
                return;
            }
        }
    }

    /// Appends one digit. A number with more digits than a `u128` has is too large or too fine for any limit: a dropped
    /// digit leaves a 1 in the last place, which keeps it so.
    fn push(&mut self, d: u8, fraction: bool) {
        self.seen = true;
        let appended = self
            .digits
            .checked_mul(10)
            .and_then(|n| n.checked_add(u128::from(d)));
        match appended {
            Some(digits) if !self.dropped => {
                self.digits = digits;
                self.exponent -= i32::from(fraction);
            }
            _ => {
                self.dropped = true;
                if d != 0 {
                    self.digits |= 1;
                }
                self.exponent = self.exponent.saturating_add(i32::from(!fraction));
            }
        }
    }

    /// Reads `e`, a sign and digits, if they are there; the power of ten that they mean.
    fn power(&mut self) -> i32 {
        let Some(rest) = self.rest.strip_prefix(['e', 'E']) else {
            return 0;
        };
        let (negative, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix('+').unwrap_or(rest)),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        if end == 0 {
            return 0;
        }
        self.rest = &rest[end..];
        // An exponent that does not fit is as good as the largest: no limit is that large or that small.
        let power = rest[..end].parse::<i32>().unwrap_or(i32::MAX / 2);
        if negative { -power } else { power }
    }
}

/// Reads a whole quantity: a number, then one of `units` (the empty name is the unit of a bare number).
fn quantity(
    text: &str,
    units: &[(&str, u64)],
    smallest: &'static str,
    max: u128,
    most: &'static str,
) -> Result<u128, Problem> {
    let (number, unit) = number(text)?;
    let (_, factor) = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .ok_or_else(|| Problem::UnknownUnit(unit.escape_debug().to_string()))?;
    match number.times(*factor) {
        Ok(value) if value <= max => Ok(value),
        Ok(_) | Err(Inexact::TooLarge) => Err(Problem::TooLarge(most)),
        Err(Inexact::TooFine) => Err(Problem::TooFine(smallest)),
    }
}

#[cfg(test)]
mod tests;
