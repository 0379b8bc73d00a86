//! Several runs at a time: as many as there are processors, or twice as many where most of the time is waiting.
//!
//! Most of what the tests run waits for a limit, or computes on one processor. One after the other they leave half of the machine idle. What they show
//! does not depend on how long anything takes, so they may share it; what is measured ([`crate::limits`], [`crate::bench`]) runs alone.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

/// How many runs this machine does at a time.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// How many at a time of such as wait half of their time, for limits: on two processors the suites of an engine take 45 s by this, one for each processor 65.
pub fn that_wait() -> usize {
    2 * processors()
}

/// Does `work` for each item, so many at a time, and returns what it gave, in the items' order. After a failure nothing new is begun; the first of
/// the failures, in the items' order, is the error.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    at_a_time: usize,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    // Relaxed: a number is taken once, whatever the order; and a failure that is seen late has one more run begun.
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else {
                return;
            };
            let result = work(item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.lock().expect("no panic").push((i, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_a_time.clamp(1, items.len().max(1)) {
            scope.spawn(worker);
        }
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn in_their_order_and_at_the_same_time() {
        // Each waits for another.
        let both = Barrier::new(2);
        let doubled = each(&[1, 2, 3, 4], 2, |n| {
            both.wait();
            Ok(n * 2)
        });
        assert_eq!(doubled.expect("no failure"), [2, 4, 6, 8]);
        assert!(each(&[0; 0], 2, |n| Ok(*n)).expect("none").is_empty());
    }

    #[test]
    fn the_first_failure_is_told_and_nothing_begins_after_it() {
        let begun = AtomicUsize::new(0);
        let failed = each(&[1, 2, 3], 1, |n| {
            begun.fetch_add(1, Ordering::Relaxed);
            anyhow::ensure!(*n != 2, "no {n}");
            Ok(())
        });
        assert_eq!(failed.expect_err("one fails").to_string(), "no 2");
        assert_eq!(begun.into_inner(), 2);
    }
}
