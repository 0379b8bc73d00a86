//! What is accepted, what is refused, and with which words.

use std::time::Duration;

use super::{parse_count, parse_duration, parse_size};

fn duration(text: &str) -> Duration {
    parse_duration(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The reason in front of the accepted forms.
fn reason<T: std::fmt::Debug>(result: Result<T, String>) -> String {
    let message = result.expect_err("this must be refused");
    assert!(!message.contains('\n'), "one line: {message}");
    let (reason, forms) = message
        .split_once("; ")
        .expect("a reason and the accepted forms");
    assert!(forms.starts_with("write a "), "{message}");
    reason.to_owned()
}

#[test]
fn durations() {
    assert_eq!(duration("500ms"), Duration::from_millis(500));
    assert_eq!(duration("1.5s"), Duration::from_millis(1500));
    assert_eq!(duration("2m"), Duration::from_secs(120));
    assert_eq!(duration("2min"), Duration::from_secs(120));
    assert_eq!(duration("1h"), Duration::from_secs(3600));
    assert_eq!(duration("0.5h"), Duration::from_secs(1800));
    assert_eq!(duration("250us"), Duration::from_micros(250));
    assert_eq!(duration("3"), Duration::from_secs(3));
    assert_eq!(duration("0.25"), Duration::from_millis(250));
    assert_eq!(duration(".25"), Duration::from_millis(250));
    assert_eq!(duration("1e-3"), Duration::from_millis(1));
    assert_eq!(duration("1e3ms"), Duration::from_secs(1));
    assert_eq!(duration("1_000ms"), Duration::from_secs(1));
    assert_eq!(duration("1S"), Duration::from_secs(1));
    assert_eq!(duration("876000h"), super::MAX_DURATION);
}

#[test]
fn durations_are_exact() {
    assert_eq!(duration("0.1"), Duration::from_nanos(100_000_000));
    assert_eq!(duration("0.000000001"), Duration::from_nanos(1));
    assert_eq!(duration("0.001us"), Duration::from_nanos(1));
    assert_eq!(
        duration("1.000000000000000000000000000000000000000000"),
        Duration::from_secs(1)
    );
    assert_eq!(
        reason(parse_duration("0.0000000001")),
        "it is not a whole number of nanoseconds"
    );
    assert_eq!(
        reason(parse_duration("1e-400")),
        "it is not a whole number of nanoseconds"
    );
    // More digits than fit: the last one still counts.
    assert_eq!(
        reason(parse_duration(
            "1.00000000000000000000000000000000000000000000000000001"
        )),
        "it is not a whole number of nanoseconds"
    );
}

#[test]
fn zero_is_a_limit() {
    for text in ["0", "0s", "0ms", "0.0", "0h", "0e99", "00"] {
        assert_eq!(duration(text), Duration::ZERO, "{text}");
    }
    assert_eq!(parse_size("0"), Ok(0));
    assert_eq!(parse_count("0"), Ok(0));
    assert_eq!(parse_count("0e999999999999"), Ok(0));
}

#[test]
fn sizes() {
    assert_eq!(parse_size("64M"), Ok(64 << 20));
    assert_eq!(parse_size("64MB"), Ok(64 << 20));
    assert_eq!(parse_size("64MiB"), Ok(64 << 20));
    assert_eq!(parse_size("64mib"), Ok(64 << 20));
    assert_eq!(parse_size("1GiB"), Ok(1 << 30));
    assert_eq!(parse_size("1G"), Ok(1 << 30));
    assert_eq!(parse_size("512k"), Ok(512 << 10));
    assert_eq!(parse_size("512K"), Ok(512 << 10));
    assert_eq!(parse_size("1.5k"), Ok(1536));
    assert_eq!(parse_size("9.31322574615478515625e-10G"), Ok(1));
    assert_eq!(parse_size("100b"), Ok(100));
    assert_eq!(parse_size("12345"), Ok(12345));
    assert_eq!(parse_size("1e6"), Ok(1_000_000));
    assert_eq!(
        parse_size(&format!("{}", isize::MAX)),
        Ok(isize::MAX as usize)
    );
    assert_eq!(
        reason(parse_size("0.3k")),
        "it is not a whole number of bytes"
    );
    assert_eq!(
        reason(parse_size("1.5")),
        "it is not a whole number of bytes"
    );
    assert_eq!(reason(parse_size("64T")), "'T' is not a unit");
    assert_eq!(reason(parse_size("64M free")), "'M free' is not a unit");
    assert_eq!(
        reason(parse_size("9223372036854775808")),
        "it is too large, the most is half of the address space"
    );
    assert_eq!(
        reason(parse_size("8589934592G")),
        "it is too large, the most is half of the address space"
    );
}

#[test]
fn counts() {
    assert_eq!(parse_count("1000000"), Ok(1_000_000));
    assert_eq!(parse_count("1_000_000"), Ok(1_000_000));
    assert_eq!(parse_count("1e8"), Ok(100_000_000));
    assert_eq!(parse_count("1E+8"), Ok(100_000_000));
    assert_eq!(parse_count("2.5e3"), Ok(2500));
    assert_eq!(parse_count("1000e-3"), Ok(1));
    assert_eq!(parse_count("9223372036854775807"), Ok(i64::MAX as u64));
    assert_eq!(
        reason(parse_count("9223372036854775808")),
        "it is too large, the most is 9223372036854775807"
    );
    assert_eq!(
        reason(parse_count("2.5")),
        "it is not a whole number of instructions"
    );
    assert_eq!(
        reason(parse_count("1e-3")),
        "it is not a whole number of instructions"
    );
    assert_eq!(reason(parse_count("5k")), "'k' is not a unit");
    assert_eq!(reason(parse_count("5s")), "'s' is not a unit");
}

#[test]
fn what_is_no_quantity_is_refused_everywhere() {
    let parsers: [fn(&str) -> String; 3] = [
        |t| reason(parse_duration(t)),
        |t| reason(parse_size(t)),
        |t| reason(parse_count(t)),
    ];
    for parse in parsers {
        assert_eq!(parse(""), "it is empty");
        assert_eq!(parse("  "), "it is empty");
        assert_eq!(parse("-1"), "it is negative");
        assert_eq!(parse("-0"), "it is negative");
        assert_eq!(parse("-inf"), "it is negative");
        for text in [
            "nan", "NaN", "inf", "infinity", "s", "M", ".", "e5", "_1", "+1", " 1", "0x", "one",
            "٣", ".",
        ] {
            let refused = parse(text);
            assert!(
                refused == "it is not a number" || refused == "'x' is not a unit",
                "{text}: {refused}"
            );
        }
        assert_eq!(parse("1 "), "' ' is not a unit");
        assert_eq!(parse("1\n"), "'\\n' is not a unit");
        for text in [
            "1e400",
            "1e999999999999",
            "99999999999999999999999999999999999999999999999999",
            "1e38",
        ] {
            assert!(
                parse(text).starts_with("it is too large, the most is "),
                "{text}"
            );
        }
        for (text, unit) in [
            ("1x", "x"),
            ("1 s", " s"),
            ("0x10", "x10"),
            ("1__0", "__0"),
            ("1_", "_"),
            ("1.", "."),
            ("1e", "e"),
            ("1.5.5", ".5"),
            ("1,5", ","),
            ("1é", "é"),
            ("1-", "-"),
        ] {
            let refused = parse(text);
            assert!(
                refused.starts_with('\'')
                    && refused.contains(unit)
                    && refused.ends_with("is not a unit"),
                "{text}: {refused}"
            );
        }
    }
}

#[test]
fn durations_have_an_end() {
    assert_eq!(
        reason(parse_duration("876001h")),
        "it is too large, the most is 876000h"
    );
    assert_eq!(reason(parse_duration("1d")), "'d' is not a unit");
    assert_eq!(reason(parse_duration("1ns")), "'ns' is not a unit");
}

#[test]
fn the_accepted_forms_are_named() {
    assert_eq!(
        parse_duration("soon").unwrap_err(),
        "it is not a number; write a duration as 500ms, 1.5s, 2m or 1h (units: us ms s m h)"
    );
    assert_eq!(
        parse_size("much").unwrap_err(),
        "it is not a number; write a size as 64M, 1GiB, 512k or bytes (K, M, G are powers of 1024)"
    );
    assert_eq!(
        parse_count("many").unwrap_err(),
        "it is not a number; write a count as 1000000, 1_000_000 or 1e6"
    );
}
