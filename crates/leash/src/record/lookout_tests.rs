//! Tests of [`super::lookout`], which loom's tests include as it is.

use super::lookout::{IDLE_LOOKS, IDLE_PAUSE, LATE_PAUSE, Lookout, NEVER};
use crate::sync;
use std::cell::Cell;
use watchdog::Ticks;

fn ms(n: u64) -> Ticks {
    Ticks::from_nanos(1_000_000 * n)
}

/// One that the timer thread has been told of.
fn told(until: Ticks) -> Lookout {
    while !sync::can_fence_others() {
        std::thread::yield_now(); // a timer thread of another test is asking the kernel
    }
    let lookout = Lookout::default();
    assert!(lookout.has_to_be_told(until.as_nanos()));
    lookout.told(until.as_nanos());
    lookout
}

#[test]
fn what_is_later_need_not_be_told() {
    let lookout = told(ms(10));
    assert!(!lookout.has_to_be_told(ms(10).as_nanos()));
    assert!(!lookout.has_to_be_told(ms(20).as_nanos()));
    assert!(lookout.has_to_be_told(ms(9).as_nanos()));
    // It is found when the time has come.
    assert_eq!(lookout.look(ms(5), || ms(20).as_nanos()), ms(10));
    assert_eq!(lookout.look(ms(10), || ms(20).as_nanos()), ms(20));
    assert!(lookout.has_to_be_told(ms(19).as_nanos()));
}

#[test]
fn one_that_waits_for_nothing_has_to_be_told_again() {
    let lookout = told(ms(10));
    let mut now = ms(10);
    for _ in 0..IDLE_LOOKS {
        let next = lookout.look(now, || NEVER);
        assert_eq!(next, now.after(IDLE_PAUSE));
        now = next;
    }
    assert_eq!(lookout.look(now, || NEVER), Ticks::NEVER);
    assert!(lookout.has_to_be_told(ms(100_000).as_nanos()));
}

/// A point in time that is stored just after the timer thread has read: its second look finds it.
#[test]
fn what_comes_during_the_look_is_seen() {
    for read_first in [ms(1000).as_nanos(), NEVER] {
        let lookout = told(ms(10));
        let reads = Cell::new(0);
        let next = lookout.look(ms(10), || {
            reads.set(reads.get() + 1);
            match reads.get() {
                1 => read_first,
                _ => ms(30).as_nanos(),
            }
        });
        assert_eq!(next, ms(30));
        assert!(!lookout.has_to_be_told(ms(30).as_nanos()));
    }
}

/// A late one does not keep the timer thread busy; it looks again soon, also for what comes when that has answered.
#[test]
fn what_is_late_is_looked_at_again_soon() {
    let lookout = told(ms(10));
    let soon = lookout.look(ms(20), || ms(10).as_nanos());
    assert_eq!(soon, ms(20).after(LATE_PAUSE));
    assert_eq!(lookout.look(soon, || ms(30).as_nanos()), ms(30));
    assert!(lookout.has_to_be_told(ms(29).as_nanos()));
}
