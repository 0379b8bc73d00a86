//! The clock that is made of the processor's counter: its arithmetic with counts that no processor has, and the real one beside the exact clock.

#[path = "../src/gauge.rs"]
mod gauge;
#[path = "../src/sync.rs"]
#[allow(dead_code, unused_imports)]
mod sync;

mod common;

use gauge::{Gauge, MOST, WORTH};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use watchdog::Ticks;

const MS: u64 = 1_000_000;

fn gauge() -> Gauge {
    Gauge::over(
        AtomicU32::new(0),
        [0; 4].map(|n| -> AtomicU64 { AtomicU64::new(n) }),
    )
}

/// Three counts in a nanosecond.
fn count(nanos: u64) -> u64 {
    1_000_000 + nanos * 3
}

#[test]
fn it_knows_the_time_between_two_settings() {
    let g = gauge();
    let start = 5_000 * MS;
    assert_eq!(g.at(count(start)), None);
    g.set(count(start), start);
    assert_eq!(g.at(count(start)), None); // how fast the counter runs is not known
    g.set(count(start + MS), start + MS); // too soon to tell
    assert_eq!(g.at(count(start + MS)), None);
    let set = start + 7 * MS;
    g.set(count(set), set);
    for after in [0, 1, 1000, MS, WORTH - 10] {
        let told = g.at(count(set + after)).unwrap();
        assert!(told.abs_diff(set + after) <= 2, "{after}: {told}");
    }
    // Too late, and too early: the counter of another processor may be behind.
    assert_eq!(g.at(count(set + WORTH + 10)), None);
    assert_eq!(g.at(count(set) - 1), None);
}

#[test]
fn a_rate_that_changes_is_soon_known() {
    let g = gauge();
    let mut now = 100 * MS;
    let mut counts = 7u64;
    g.set(counts, now);
    for rate in [3, 3, 1, 7, 2, 2, 3] {
        for _ in 0..50 {
            now += MS;
            counts = counts.wrapping_add(MS * rate);
            match g.at(counts) {
                Some(told) => {
                    assert!(told.abs_diff(now) < 3 * WORTH, "{rate}: {told} at {now}")
                }
                None => g.set(counts, now),
            }
        }
        let told = g.at(counts).unwrap_or(now);
        assert!(told.abs_diff(now) < 1000, "{rate}: {told} at {now}");
    }
}

#[test]
fn after_a_pause_it_begins_anew() {
    let g = gauge();
    g.set(count(10 * MS), 10 * MS);
    g.set(count(20 * MS), 20 * MS);
    assert!(g.at(count(25 * MS)).is_some());
    // The machine was suspended: the counter went on, the clock did not; or the other way round.
    let late = 20 * MS + MOST + 1;
    g.set(count(late) * 2, late);
    assert_eq!(g.at(count(late) * 2), None);
    g.set(count(late) * 2 + count(6 * MS), late + 6 * MS);
    assert!(g.at(count(late) * 2 + count(6 * MS)).is_some());
    g.forget();
    assert_eq!(g.at(count(late) * 2 + count(6 * MS)), None);
}

#[test]
fn what_is_no_rate_is_not_believed() {
    for counts in [0, 1, MS / 10, 1_000 * MS, u64::MAX] {
        let g = gauge();
        g.set(5, 10 * MS);
        g.set(5u64.wrapping_add(counts), 20 * MS);
        assert_eq!(g.at(5u64.wrapping_add(counts)), None, "{counts}");
    }
}

#[test]
fn who_meets_a_change_is_told_nothing() {
    let g = gauge();
    g.set(count(10 * MS), 10 * MS);
    g.set(count(20 * MS), 20 * MS);
    let sequence = g.sequence.load(Ordering::Relaxed);
    g.sequence.store(sequence + 1, Ordering::Relaxed); // a signal, or a fork, in the middle of `set`
    assert_eq!(g.at(count(21 * MS)), None);
    g.set(count(30 * MS), 30 * MS); // and does not wait
    g.sequence.store(sequence, Ordering::Relaxed);
    assert!(
        g.at(count(21 * MS))
            .is_some_and(|told| told.abs_diff(21 * MS) <= 2)
    );
}

/// Two hundred thousand readings on each of three threads, whoever sets the clock.
#[test]
fn it_agrees_with_the_exact_clock() {
    const NEAR: Duration = Duration::from_micros(100);
    let _alarm = common::alarm(|_| Ticks::NEVER); // only then is it known what the clock is
    let look = || {
        let (mut cheap, began) = (0u64, Instant::now());
        for _ in 0..200_000 {
            let before = Ticks::now();
            let told = Ticks::about_now();
            let after = Ticks::now();
            assert!(told.after(NEAR) >= before, "{told:?} {before:?}");
            assert!(told <= after.after(NEAR), "{told:?} {after:?}");
            cheap += u64::from(told.as_nanos() != 0);
        }
        (cheap, began.elapsed())
    };
    thread::scope(|s| {
        for t in [0, 1, 2].map(|_| s.spawn(look)) {
            let (n, took) = t.join().unwrap();
            assert_eq!(n, 200_000);
            assert!(took > Duration::from_millis(1), "{took:?}");
        }
    });
}
