//! The data structures by themselves, without a timer thread and without signals: small enough for miri (`cargo xtask miri`), which sees a wrong
//! pointer where a test sees nothing. (The orders in which threads can meet are loom's business: `tests/loom`.)

#[path = "../src/list.rs"]
mod list;
#[path = "../src/slab.rs"]
mod slab;
#[path = "../src/slot.rs"]
#[allow(dead_code)]
mod slot;
#[path = "../src/sync.rs"]
#[allow(dead_code, unused_imports)]
mod sync;

use slot::{Fired, NEVER, Payload};
use std::collections::HashSet;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::{ptr, thread};

/// Counts its calls and its ends.
struct Counted(Arc<(AtomicU32, AtomicU32)>);

impl Payload for Counted {
    fn due(&self, now: u64) -> u64 {
        self.0.0.fetch_add(1, SeqCst);
        now + 10
    }

    fn discard(self) {}
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.1.fetch_add(1, SeqCst);
    }
}

#[test]
fn slots_are_filled_fired_and_given_back() {
    let slab = slab::Slab::<Counted>::new();
    let counts = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let slots: Vec<_> = (0..150)
        .map(|n| {
            let slot = slab.take().unwrap();
            slot.fill(Counted(counts.clone()));
            slot.set(n % 2 * 1000 + 1);
            slot
        })
        .collect();
    let distinct: HashSet<u32> = slots.iter().map(|s| s.index).collect();
    assert_eq!(distinct.len(), 150);
    let next = slab.scan(10, |slot, seen| match slot.fire(seen, 10) {
        Fired::Next(next) => next,
        Fired::Vacated(_) => NEVER,
    });
    assert_eq!((next, counts.0.load(SeqCst)), (20, 75));
    for slot in slots {
        assert!(slot.give_up().is_some());
        slab.recycle(slot);
    }
    assert_eq!(counts.1.load(SeqCst), 150);
    assert!(
        slab.take().unwrap().index < 150,
        "a new one although there are old ones"
    );
}

#[test]
fn threads_take_and_recycle() {
    let slab = slab::Slab::<Counted>::new();
    let counts = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let rounds = if cfg!(miri) { 20 } else { 5000 };
    let owned = Mutex::new(HashSet::new());
    thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                for _ in 0..rounds {
                    let slot = slab.take().unwrap();
                    assert!(owned.lock().unwrap().insert(slot.index), "two owners");
                    slot.fill(Counted(counts.clone()));
                    slot.set(5);
                    assert!(slot.give_up().is_some());
                    owned.lock().unwrap().remove(&slot.index);
                    slab.recycle(slot);
                }
            });
        }
    });
    assert_eq!(counts.1.load(SeqCst), 3 * rounds);
}

static CALLS: AtomicU32 = AtomicU32::new(0);

#[inline(never)] // compared by address: it must have one
fn one() {
    CALLS.fetch_add(1, SeqCst);
}

#[inline(never)]
fn hundred() {
    CALLS.fetch_add(100, SeqCst);
}

#[test]
fn a_list_holds_each_function_once() {
    let list = list::List::over(AtomicPtr::new(ptr::null_mut()));
    thread::scope(|s| {
        for f in [one, hundred, one as fn()] {
            let list = &list;
            s.spawn(move || list.add(f));
        }
    });
    list.call();
    assert_eq!(CALLS.load(SeqCst), 101);
}
