//! The parts on their own: the slab, the list of functions, the latch, the clock.

use crate::gauge::{Gauge, WORTH};
use crate::latch::Latch;
use crate::list::List;
use crate::slab::Slab;
use crate::slot::NEVER;
use crate::{LOOK, explore, sync};
use loom::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64};
use loom::thread;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as Count, Ordering::SeqCst};

/// The free list: one thread is about to take the first slot while another takes two and returns the first (ABA).
#[test]
fn a_slot_has_one_owner() {
    explore(None, || {
        let slab = Arc::new(Slab::<u32>::new());
        let (a, b) = (slab.take().unwrap(), slab.take().unwrap());
        slab.recycle(a);
        slab.recycle(b);
        let other = thread::spawn({
            let slab = slab.clone();
            move || slab.take().unwrap().index
        });
        let first = slab.take().unwrap();
        let second = slab.take().unwrap().index;
        slab.recycle(first);
        let third = other.join().unwrap();
        let fourth = slab.take().unwrap().index;
        assert!(
            second != third && third != fourth && fourth != second,
            "{second} {third} {fourth}"
        );
    });
}

/// The next owner of a slot finds it as its last owner left it.
#[test]
fn a_returned_slot_is_clean() {
    explore(None, || {
        let slab = Arc::new(Slab::<u32>::new());
        let a = slab.take().unwrap();
        a.fill(1);
        let other = thread::spawn({
            let slab = slab.clone();
            move || {
                assert_eq!(a.give_up(), Some(1));
                slab.recycle(a);
            }
        });
        let b = slab.take().unwrap();
        b.fill(2);
        assert_eq!(b.give_up(), Some(2));
        other.join().unwrap();
    });
}

/// The slab grows from two threads while a third looks through it.
#[test]
fn a_slab_grows_under_a_scan() {
    explore(Some(3), || {
        let slab = Arc::new(Slab::<u32>::new());
        let take = |slab: &Arc<Slab<u32>>| {
            let slab = slab.clone();
            thread::spawn(move || {
                let slot = slab.take().unwrap();
                slot.set(7);
                slot.index
            })
        };
        let (a, b) = (take(&slab), take(&slab));
        let seen = Count::new(0);
        slab.scan(LOOK, |_, at| {
            assert_eq!(at, 7);
            seen.fetch_add(1, SeqCst);
            NEVER
        });
        assert!(seen.load(SeqCst) <= 2);
        assert_ne!(a.join().unwrap(), b.join().unwrap());
        let seen = Count::new(0);
        slab.scan(LOOK, |_, _| {
            seen.fetch_add(1, SeqCst);
            NEVER
        });
        assert_eq!(seen.load(SeqCst), 2);
    });
}

static FIRST: Count = Count::new(0);
static SECOND: Count = Count::new(0);

/// Not inlined: a function that is compiled twice has two addresses.
#[inline(never)]
fn first() {
    FIRST.fetch_add(1, SeqCst);
}

#[inline(never)]
fn second() {
    SECOND.fetch_add(100, SeqCst);
}

/// Two threads add functions, one of them twice, while a third calls them.
#[test]
fn a_list_keeps_every_function_once() {
    explore(Some(3), || {
        let list = Arc::new(List::over(AtomicPtr::new(ptr::null_mut())));
        let add = |f: fn()| {
            let list = list.clone();
            thread::spawn(move || {
                list.add(f);
                list.add(first);
            })
        };
        let (a, b) = (add(first), add(second));
        list.call();
        a.join().unwrap();
        b.join().unwrap();
        FIRST.store(0, SeqCst);
        SECOND.store(0, SeqCst);
        list.call();
        assert_eq!((FIRST.load(SeqCst), SECOND.load(SeqCst)), (1, 100));
    });
}

/// What the thread in the latch changes.
struct Work(sync::UnsafeCell<u32>);

// SAFETY: loom reports if a thread changes it while another is there.
unsafe impl Sync for Work {}

/// A latch lets one thread in at a time, tries again after a failure, and publishes what was done.
#[test]
fn a_latch_is_done_once() {
    explore(None, || {
        let latch = Arc::new(Latch::over(AtomicU8::new(0)));
        let work = Arc::new(Work(sync::UnsafeCell::new(0)));
        let enter = |fails: bool| {
            let (latch, work) = (latch.clone(), work.clone());
            let mut fails = fails;
            move || {
                let done = latch.get_or_try(|| {
                    // SAFETY: loom checks that nobody else is here.
                    work.0.with_mut(|p| unsafe { *p += 1 });
                    if std::mem::take(&mut fails) {
                        Err(())
                    } else {
                        Ok(())
                    }
                });
                // SAFETY: loom checks that nobody writes.
                done.map(|()| work.0.with(|p| unsafe { *p }))
            }
        };
        let other = thread::spawn(enter(true));
        let mine = enter(false)();
        let theirs = other.join().unwrap();
        assert!(mine.is_ok_and(|n| n == 1 || n == 2));
        // Theirs failed, unless mine was done when it came.
        assert!(theirs.is_err() || theirs == Ok(1));
    });
}

/// A clock that is read while another sets it: the time that it tells is right, if it tells any. Just before what it is set to it goes by what it was set to before; just after, by that.
#[test]
fn a_clock_is_read_while_it_is_set() {
    for nanos in [3 * WORTH - 100, 3 * WORTH + 100] {
        explore(None, move || {
            let gauge = clock();
            let reader = thread::spawn({
                let gauge = gauge.clone();
                move || {
                    let told = gauge.at(nanos * COUNTS);
                    assert!(told.is_none_or(|told| told.abs_diff(nanos) < 5), "{told:?}");
                }
            });
            set(&gauge, 3 * WORTH);
            reader.join().unwrap();
        });
    }
}

/// A clock that two set at the same time is right afterwards, as long as one of them says.
#[test]
fn a_clock_is_set_by_two() {
    explore(None, || {
        let gauge = clock();
        let other = thread::spawn({
            let gauge = gauge.clone();
            move || set(&gauge, 3 * WORTH)
        });
        set(&gauge, 3 * WORTH + WORTH / 2);
        other.join().unwrap();
        let nanos = 4 * WORTH - 100;
        let told = gauge.at(nanos * COUNTS);
        assert!(
            told.is_some_and(|told| told.abs_diff(nanos) < 5),
            "{told:?}"
        );
    });
}

/// Counts in a nanosecond.
const COUNTS: u64 = 3;

fn set(gauge: &Gauge, nanos: u64) {
    gauge.set(nanos * COUNTS, nanos);
}

/// A clock that has been set twice, so it knows how fast it runs.
fn clock() -> Arc<Gauge> {
    let words = [0; 4].map(AtomicU64::new);
    let gauge = Gauge::over(AtomicU32::new(0), words);
    set(&gauge, WORTH);
    set(&gauge, 2 * WORTH);
    Arc::new(gauge)
}
