//! The lock-free parts of the engine, explored by loom: every order in which threads can meet. (Those of the timer: `crates/watchdog/tests/loom`, where
//! the way is explained: the files are included as they are, with loom's types in `sync`.)
//!
//! What is modelled is what the files' headers promise: no request is lost between an asker and a hook that is answering; an id whose coroutine is gone reaches
//! nobody; a record has one owner at a time, and its next owner finds what the last one left.
//!
//! Each was tried against planted mistakes. Found: a look at the targets before the answer instead of after it; a pending bit that is not set again; `ask` without a
//! look at the generation; `used` Relaxed at either end; a chunk linked Relaxed; the alarm taken away after the look at what is asked for.
//! (Not found: that look without the fence before it. To loom a load that is SeqCst comes after all stores; a processor keeps a store back.)

use loom::sync::atomic::fence;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, Release, SeqCst},
};

/// What `src/sync.rs` is in production.
mod sync {
    use loom::sync::atomic::fence;
    pub use loom::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

    /// So that the second record needs a new chunk.
    pub const CHUNK: usize = 1;

    /// See `src/sync.rs`.
    pub fn overwrite(word: &AtomicU64, value: u64, ordering: Ordering) {
        word.swap(value, ordering);
    }

    /// In production one of the compiler's alone, and the kernel does the rest at the other end.
    pub fn fence_of_the_owner() {
        fence(Ordering::SeqCst);
    }

    /// See [`fence_of_the_owner`].
    pub fn fence_others() -> bool {
        fence(Ordering::SeqCst);
        true
    }

    pub fn fences_others() -> bool {
        true
    }
}

#[path = "../src/record/lookout.rs"]
#[allow(dead_code)]
mod lookout;
#[path = "../src/request.rs"]
#[allow(dead_code)]
mod request;
#[path = "../src/slab.rs"]
#[allow(dead_code, clippy::modulo_one)] // one record a chunk
mod slab;

use lookout::Lookout;
use request::{CHECK, Request, TARGETS, WATCH};
use slab::Slab;

/// What a target is asked for (`target.rs`).
const ONCE: u64 = 1;

/// A slab that outlives each run of a model. loom counts what it has made itself, not this.
fn new_slab<T: Default + Sync>() -> &'static Slab<T> {
    let null = sync::AtomicPtr::new(std::ptr::null_mut());
    Box::leak(Box::new(Slab::over(null)))
}

/// The last call of a state ends, and takes the alarm away, while somebody asks for something and has the alarm rung (`boundary.rs` against `Record::ask`): afterwards the
/// alarm is armed, for the request has not been answered.
#[test]
fn no_request_is_lost_to_the_end_of_a_call() {
    const NEVER: u64 = u64::MAX;
    const DEADLINE: u64 = 7;
    const NOW: u64 = 0;
    loom::model(|| {
        let record: &'static Request = new_slab::<Request>().take().get();
        record.renew();
        let alarm = Arc::new(sync::AtomicU64::new(DEADLINE));
        // As in `watchdog`: the deadline, then the fence.
        let arm = |alarm: &sync::AtomicU64| {
            sync::overwrite(alarm, NOW, Release);
            fence(SeqCst);
        };
        let asker = {
            let alarm = alarm.clone();
            thread::spawn(move || {
                assert!(record.ask(record.generation(), TARGETS));
                arm(&alarm);
            })
        };
        sync::overwrite(&alarm, NEVER, Release);
        fence(SeqCst);
        if record.flags() != 0 {
            arm(&alarm);
        }
        asker.join().unwrap();
        assert_eq!(alarm.load(SeqCst), NOW);
    });
}

/// A call begins, whose deadline is before that of the one around it, or the only one; just now the timer thread has come to look, as it had promised (`boundary.rs` against
/// `Record::due`): either it is told, or it looks in time. Afterwards it is relied on for the right time. (Found: no second look after the fence; that look before
/// the promise; no fence at either end.)
#[test]
fn no_deadline_is_lost_to_a_look() {
    const NEVER: u64 = u64::MAX;
    for (around, idle) in [(100_000, 0), (NEVER, lookout::IDLE_LOOKS), (NEVER, 0)] {
        loom::model(move || {
            let deadline = Arc::new(sync::AtomicU64::new(around));
            let lookout = Arc::new(Lookout::default());
            let now = watchdog::Ticks::from_nanos(7);
            lookout.told(now.as_nanos());
            let mut now = now;
            for _ in 0..idle {
                now = lookout.look(now, || NEVER); // nothing yet
            }
            let timer = {
                let (lookout, deadline) = (lookout.clone(), deadline.clone());
                thread::spawn(move || lookout.look(now, || deadline.load(Relaxed)).as_nanos())
            };
            let wanted = now.as_nanos() + 500;
            deadline.store(wanted, Relaxed);
            let told = lookout.has_to_be_told(wanted);
            if told {
                lookout.told(wanted);
            }
            let looks_at = timer.join().unwrap();
            let looks_at = if told { looks_at.min(wanted) } else { looks_at };
            assert!(looks_at <= wanted, "looks at {looks_at}");
            assert!(
                lookout.at().as_nanos() >= looks_at,
                "relied on for more than it does"
            );
        });
    }
}

/// A record is given to another state while the timer thread looks for the last one (`Record::reset` against `Record::due`): nothing is promised to that.
/// (Found: a store in the place of the exchange.)
#[test]
fn no_look_is_promised_to_the_next_state() {
    loom::model(|| {
        let lookout = Arc::new(Lookout::default());
        lookout.told(7);
        let timer = {
            let lookout = lookout.clone();
            thread::spawn(move || lookout.look(watchdog::Ticks::from_nanos(7), || 100))
        };
        lookout.reset();
        timer.join().unwrap();
        assert_eq!(lookout.at(), watchdog::Ticks::NEVER);
    });
}

/// A coroutine is interrupted by two threads while the hook of its state answers (`target::interrupt` against `hook::go_on`): afterwards either the
/// handler has been called for it, or the state is still asked to look, and the signal handler finds it.
#[test]
fn no_interrupt_is_lost_to_an_answer() {
    loom::model(|| {
        let records = new_slab::<Request>();
        let place = records.take();
        let record: &'static Request = place.get();
        record.renew();
        let target = Arc::new(Request::default());
        target.renew();
        let interrupt = {
            let target = target.clone();
            move || {
                assert!(target.ask(target.generation(), ONCE));
                assert!(record.ask(record.generation(), TARGETS));
                place.set_pending();
            }
        };
        let other = thread::spawn(interrupt.clone());
        // The hook: the answer comes first, then the look.
        let mut called = 0;
        for _ in 0..2 {
            if target.flags() != 0 && target.answer(ONCE) != 0 {
                called += 1;
            }
            place.clear_pending();
            record.answer(TARGETS);
            if target.flags() != 0 {
                record.ask(record.generation(), TARGETS);
            }
            if record.flags() != 0 {
                place.set_pending();
            }
        }
        other.join().unwrap();
        if target.flags() != 0 {
            assert_eq!(record.flags() & TARGETS, TARGETS, "nobody looks any more");
            let mut found = 0;
            records.for_each_pending(|_| found += 1);
            assert_eq!(found, 1, "the signal handler does not find it");
        } else {
            assert_eq!(called, 1);
        }
    });
}

/// A kill by an id comes while the hook answers another (`target::ask` against `State::answer_more` and `hook::go_on`): afterwards it has been answered, or the state is
/// still asked to look, and the mark that spares the hook that look is there. (Found: the look before the swap. With stores in the place of the
/// swaps, too, though the language orders them: loom takes SeqCst for less.)
#[test]
fn no_kill_is_lost_to_an_answer() {
    loom::model(|| {
        let record: &'static Request = new_slab::<Request>().take().get();
        record.renew();
        let asked = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let targets = [Arc::new(Request::default()), Arc::new(Request::default())];
        targets.iter().for_each(|target| target.renew());
        let kill = |which: usize| {
            let (asked, target) = (asked.clone(), targets[which].clone());
            move || {
                assert!(target.ask(target.generation(), ONCE));
                asked.swap(true, SeqCst);
                assert!(record.ask(record.generation(), TARGETS));
            }
        };
        kill(0)();
        let other = thread::spawn(kill(1));
        let mut killed = 0;
        for _ in 0..2 {
            if record.flags() & TARGETS != 0 && asked.load(SeqCst) {
                loop {
                    asked.swap(false, SeqCst);
                    let Some(target) = targets.iter().find(|t| t.flags() != 0) else {
                        break;
                    };
                    asked.swap(true, SeqCst);
                    target.answer(ONCE);
                    killed += 1;
                }
            }
            record.answer(TARGETS);
            if asked.load(SeqCst) {
                record.ask(record.generation(), TARGETS);
            }
        }
        other.join().unwrap();
        if targets.iter().any(|t| t.flags() != 0) {
            assert!(asked.load(SeqCst), "the hook will not look");
            assert_eq!(record.flags() & TARGETS, TARGETS, "no hook will run");
        } else {
            assert_eq!(killed, 2);
        }
    });
}

/// Calls begin and end on the owner's thread while a watch is asked for (`State::answer` against `Record::due`): the signal handler, which comes after that, finds it.
#[test]
fn what_is_asked_for_besides_stays_marked() {
    loom::model(|| {
        let records = new_slab::<Request>();
        let place = records.take();
        let record: &'static Request = place.get();
        record.renew();
        record.ask(record.generation(), CHECK);
        place.set_pending();
        let timer = thread::spawn(move || {
            assert!(record.ask(record.generation(), WATCH));
            place.set_pending();
        });
        for _ in 0..2 {
            if record.answer(CHECK) & !CHECK == 0 {
                place.clear_pending();
                if record.flags() != 0 {
                    place.set_pending();
                }
            }
        }
        timer.join().unwrap();
        assert_eq!(record.flags(), WATCH);
        let mut found = 0;
        records.for_each_pending(|_| found += 1);
        assert_eq!(found, 1, "the signal handler does not find it");
    });
}

/// An id is looked up while its coroutine goes and another takes its place (`target::find` and `ask` against `release` and `take`).
#[test]
fn an_old_id_reaches_nobody() {
    loom::model(|| {
        let word = Arc::new(Request::default());
        word.renew_with(30, 7);
        let old = word.generation();
        let asker = thread::spawn({
            let word = word.clone();
            move || word.generation() == old && word.ask(old, ONCE)
        });
        word.renew_with(30, 0);
        word.renew_with(30, 9);
        let new = word.generation();
        asker.join().unwrap();
        assert_ne!(new, old);
        assert_eq!(
            word.flags(),
            0,
            "the next owner is asked for what the last one was"
        );
        assert!(word.ask(new, ONCE) && !word.ask(old, ONCE));
    });
}

/// A state is closed and its record serves another, while somebody asks the first to stop.
#[test]
fn an_old_handle_reaches_nobody() {
    loom::model(|| {
        let record = Arc::new(Request::default());
        record.renew();
        let old = record.generation();
        let asker = thread::spawn({
            let record = record.clone();
            move || record.ask(old, request::KILL)
        });
        record.renew();
        let before = record.flags();
        asker.join().unwrap();
        assert_eq!((before, record.flags()), (0, 0));
    });
}

/// Two askers and an answer for one of them: the other's flag stays.
#[test]
fn flags_are_taken_one_by_one() {
    loom::model(|| {
        let record = Arc::new(Request::default());
        record.renew();
        let generation = record.generation();
        let askers = [request::CHECK, request::KILL].map(|flag| {
            let record = record.clone();
            thread::spawn(move || assert!(record.ask(generation, flag)))
        });
        let answered = record.answer(request::CHECK);
        for asker in askers {
            asker.join().unwrap();
        }
        let left = record.flags();
        assert_eq!(left & request::KILL, request::KILL);
        // Either it was there and is answered, or it came later and is there.
        assert_ne!(answered & request::CHECK, left & request::CHECK);
    });
}

/// What a record holds: whether somebody has it, and what he wrote, without any order of its own.
#[derive(Default)]
struct Held {
    /// Not loom's: it must bring no order.
    taken: AtomicBool,
    notes: loom::cell::UnsafeCell<u32>,
}

// SAFETY: loom reports if two threads are at the notes without order.
unsafe impl Sync for Held {}

#[test]
fn a_record_has_one_owner() {
    loom::model(|| {
        let records = new_slab::<Held>();
        let hold = move || {
            let place = records.take();
            let held = place.get();
            assert!(!held.taken.swap(true, SeqCst), "taken twice");
            // SAFETY: loom looks whether that is so.
            held.notes.with_mut(|n| unsafe { *n += 1 });
            place.set_pending();
            held.taken.store(false, SeqCst);
            place.give_back();
        };
        let other = thread::spawn(hold);
        hold();
        other.join().unwrap();
        let mut pending = 0;
        records.for_each_pending(|_| pending += 1);
        assert_eq!(pending, 0, "what is given back is not looked at");
    });
}

/// A thread looks through the slab (a signal handler, a fork) while it grows.
#[test]
fn a_slab_grows_under_a_look() {
    loom::model(|| {
        let records = new_slab::<Request>();
        let first = records.take();
        first.get().renew();
        let other = thread::spawn(move || {
            let second = records.take();
            second.get().renew();
            second.set_pending();
            second.index()
        });
        let mut seen = 0;
        records.for_each_pending(|r| {
            assert_eq!(r.generation(), 1, "pending before it was set up");
            seen += 1;
        });
        assert!(seen <= 1);
        assert_eq!((first.index(), other.join().unwrap()), (0, 1));
        assert!(records.at(1).is_some() && records.at(2).is_none());
    });
}
