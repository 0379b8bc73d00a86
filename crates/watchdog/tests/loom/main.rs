//! The lock-free parts, explored by loom: every order in which threads can meet, and every value that the memory model
//! lets a load see.
//!
//! ```text
//! cargo test -p watchdog --test loom
//! ```
//!
//! This file includes the files of the crate as they are, and gives them another `sync` (loom's types) and another `os` (a futex made
//! of loom's own lock). So the code that is explored is the code that runs, no `--cfg loom` is needed, and the models run with
//! every ordinary `cargo test`.
//!
//! Time stands still here: a look at the deadlines takes place at 10 and a sleep ends at 20. A sleep that should have ended, and
//! does not, is a deadlock, which loom reports. So each test of the form "the timer goes on until it has seen ..." fails
//! when a wake-up is lost.
//!
//! Each model was tried against planted mistakes. Found by at least one model, each of them:
//!
//! - `sleep`: either fence missing, or that of the armer only AcqRel; `until` not reset by `begin`, or reset after the look; asked before the
//!   deadline is stored; the bell rung before `wanted` is lowered, or not at all, or without waking; `wanted` not lowered, not read
//!   again, or reset after the look; dozing without a look at the bell; either end of the bell Relaxed;
//! - `slot`: `set`, the claim of `at`, `release` or `give_up` Relaxed; `at` not compared by the claim; a put-back that
//!   overwrites, that undoes a disarm, that forgets its own deadline; a payload taken during the call; an orphan forgotten; a deadline
//!   left in a vacant slot;
//! - `slab`: no count in the free list (ABA); either end of the free list, or `used`, Relaxed; `used` before the chunk; `used` by load and store;
//! - `list`: an append that loses one, a node published Relaxed, a lost race that adds twice;
//! - `gauge`: either fence missing, the number not raised before the words are changed, or not looked at again;
//! - `latch`: published Relaxed; the one at work taken for done.
//!
//! Not found, and harmless: `fill` Relaxed (see there).

use loom::model::Builder;
use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as Count, Ordering::SeqCst};

/// What `src/sync.rs` is in production.
mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{
        AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
    };
    pub(crate) use loom::thread::yield_now;

    /// So that the second alarm needs a new chunk.
    pub(crate) const FIRST_CHUNK: u32 = 1;

    /// See `src/sync.rs`.
    pub(crate) fn overwrite(word: &AtomicU64, value: u64, ordering: Ordering) {
        word.swap(value, ordering);
    }
}

/// What `src/os` is in production: a futex. Sleeps have no end here but a wake-up.
mod os {
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};

    loom::lazy_static! {
        static ref BED: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32, _until: u64) {
        let guard = BED.0.lock().unwrap();
        if word.load(Ordering::Relaxed) == expected {
            drop(BED.1.wait(guard).unwrap());
        }
    }

    pub(crate) fn wake(_word: &AtomicU32) {
        let _guard = BED.0.lock().unwrap();
        BED.1.notify_one();
    }
}

#[path = "../../src/gauge.rs"]
#[allow(dead_code)]
mod gauge;
#[path = "../../src/latch.rs"]
#[allow(dead_code)]
mod latch;
#[path = "../../src/list.rs"]
mod list;
#[path = "../../src/schedule.rs"]
#[allow(dead_code)]
mod schedule;
#[path = "../../src/slab.rs"]
mod slab;
#[path = "../../src/sleep.rs"]
#[allow(dead_code)]
mod sleep;
#[path = "../../src/slot.rs"]
#[allow(dead_code)]
mod slot;

mod parts;
mod timer;

use schedule::Schedule;
use slot::{Payload, Slot};

/// When the timer looks, and when its sleep is over.
const LOOK: u64 = 10;
const WAKE: u64 = 20;

fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// A payload that counts its calls and its ends. Loom sees to it that no call overlaps with the end.
struct Bell {
    body: sync::UnsafeCell<u32>,
    /// What the armer changes before it arms.
    world: Arc<AtomicU32>,
    /// What a call does, and when it wants to be called next.
    act: Box<dyn Fn() -> u64 + Send + Sync>,
    log: Arc<Log>,
}

// SAFETY: loom reports if a thread writes `body` while another is in it.
unsafe impl Sync for Bell {}

#[derive(Default)]
struct Log {
    calls: Count,
    /// Calls that saw the changed world.
    informed: Count,
    ends: Count,
}

impl Log {
    fn calls(&self) -> u32 {
        self.calls.load(SeqCst)
    }
}

impl Payload for Bell {
    fn due(&self, _now: u64) -> u64 {
        // SAFETY: loom checks that nobody writes meanwhile.
        self.body.with(|p| unsafe { *p });
        self.log.calls.fetch_add(1, SeqCst);
        self.log
            .informed
            .fetch_add(self.world.load(Relaxed), SeqCst);
        (self.act)()
    }

    fn discard(self) {}
}

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: loom checks that nobody else has it meanwhile.
        self.body.with_mut(|p| unsafe { *p = 1 });
        self.log.ends.fetch_add(1, SeqCst);
    }
}

/// A schedule and the world its payloads look at.
struct Model {
    schedule: Schedule<Bell>,
    world: Arc<AtomicU32>,
}

impl Model {
    fn new() -> Arc<Model> {
        Arc::new(Model {
            schedule: Schedule::new(),
            world: Arc::new(AtomicU32::new(0)),
        })
    }

    /// An alarm whose calls want to be called `again`.
    fn insert(&self, again: u64) -> (Slot<Bell>, Arc<Log>) {
        let log = Arc::new(Log::default());
        (self.insert_with(&log, move || again), log)
    }

    fn insert_with(
        &self,
        log: &Arc<Log>,
        act: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Slot<Bell> {
        let bell = Bell {
            body: sync::UnsafeCell::new(0),
            world: self.world.clone(),
            act: Box::new(act),
            log: log.clone(),
        };
        self.schedule.insert(bell).expect("there is room")
    }

    /// The timer thread, until `enough`.
    fn run(&self, enough: impl Fn() -> bool) {
        loop {
            let next = self.schedule.round(LOOK);
            if enough() {
                return;
            }
            self.schedule.sleep(next, || WAKE);
        }
    }
}
