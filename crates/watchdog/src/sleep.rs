//! When the timer thread sleeps, and who wakes it.
//!
//! The problem: the timer looks through all deadlines, finds the earliest, and sleeps until then. A thread that arms an
//! earlier one meanwhile must wake it, and a thread that arms a later one must not pay for a system call. Neither
//! may take a lock.
//!
//! ```text
//!   an armer                                the timer
//!     at = deadline                           wanted = NEVER; until = NEVER
//!     ---- fence ----                         ---- fence ----
//!     if deadline < until:                    look at every `at`
//!         wanted = min(wanted, deadline)      until = min(earliest found, wanted)
//!         ring the bell                       sleep until `until`, or the bell; after the bell the last line again
//! ```
//!
//! The two fences are Dekker's: of an armer and a timer that pass them at the same time, at least one sees the other's
//! store. Either the look finds the deadline, or the armer reads an `until` of this round: NEVER or what the timer has
//! settled on; then he either sees that the timer will look early enough, or rings.
//!
//! What must always be true:
//!
//! 1. `until` is written by the timer alone, and at no moment is it earlier than the next look (it may be later than
//!    the deadlines that are in `wanted`). So an armer who does not ring relies on the timer, never on another armer, who
//!    might have been suspended just before he rang.
//! 2. `wanted` is lowered before the bell is rung, and read after the bell was heard.
//! 3. A ring is never lost: it is a word, not an event. Ringing while the timer is awake stores a word and makes no
//!    system call.
//!
//! What could go wrong: a thread that arms in a tight loop could keep the timer looking for ever, if a ring meant "look
//! again", since during a look `until` is NEVER and every armer rings. It does not mean that: a ring says only "sleep
//! shorter", and `wanted` says how long. After it, `until` is earlier and the armer is silent again.
//!
//! What was rejected: letting armers lower `until` itself, which saves a word, and breaks rule 1. `std::thread::park`: its
//! timeouts are relative, a `Thread` handle has to be replaced after a fork, and its unpark is not promised to be safe in
//! a signal handler.

use crate::os;
use crate::slot::NEVER;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, overwrite};

/// The bell: nothing has happened.
const SILENT: u32 = 0;
/// The timer sleeps, or is about to; ringing takes a system call.
const ASLEEP: u32 = 1;
/// Somebody rang.
const RUNG: u32 = 2;

/// See the header.
pub(crate) struct Sleep {
    /// No later than this the timer looks again.
    until: AtomicU64,
    /// The earliest deadline of those who rang since the last look began.
    wanted: AtomicU64,
    bell: AtomicU32,
}

impl Sleep {
    pub(crate) fn new() -> Sleep {
        Sleep {
            until: AtomicU64::new(NEVER),
            wanted: AtomicU64::new(NEVER),
            bell: AtomicU32::new(SILENT),
        }
    }

    /// An armer has stored the deadline `at` and makes sure that the timer knows. True if it had to be told.
    ///
    /// Async-signal-safe, and free of system calls unless the timer sleeps past `at`.
    pub(crate) fn armed(&self, at: u64) -> bool {
        // SeqCst: the armer's half of Dekker. The store of the deadline is before it, the load of `until` after.
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it.
        let ring = at < self.until.load(Ordering::Relaxed);
        if ring {
            self.ring(at);
        }
        ring
    }

    #[cold]
    fn ring(&self, at: u64) {
        // Relaxed: published by the bell.
        self.wanted.fetch_min(at, Ordering::Relaxed);
        // Release: rule 2. Read-modify-write, so that a ring that replaces a ring continues its release sequence.
        if self.bell.swap(RUNG, Ordering::Release) == ASLEEP {
            os::wake(&self.bell);
        }
    }

    /// The timer is about to look: from here on, whoever arms without being seen rings.
    pub(crate) fn begin(&self) {
        // Relaxed, both: the fence orders them. A `wanted` that is lost here was stored before our fence, hence its
        // deadline too, and the look finds it.
        overwrite(&self.wanted, NEVER, Ordering::Relaxed);
        self.until.store(NEVER, Ordering::Relaxed);
        // SeqCst: the timer's half of Dekker.
        fence(Ordering::SeqCst);
    }

    /// The timer has looked, and `earliest` is what it found. Returns when that, or an earlier deadline, has come.
    pub(crate) fn sleep(&self, earliest: u64, now: impl Fn() -> u64) {
        let mut until = earliest;
        loop {
            // Relaxed: a `wanted` that is missed here belongs to a ring that is still to be heard.
            until = until.min(self.wanted.load(Ordering::Relaxed));
            // Relaxed: an armer who still reads the NEVER of `begin` rings for nothing.
            self.until.store(until, Ordering::Relaxed);
            if now() >= until {
                return;
            }
            self.doze(until);
        }
    }

    /// Sleeps until then or until the bell; perhaps shorter.
    fn doze(&self, until: u64) {
        // Relaxed on success: nothing is published; on failure the swap below acquires.
        if self
            .bell
            .compare_exchange(SILENT, ASLEEP, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            os::wait(&self.bell, ASLEEP, until);
        }
        // Acquire: rule 2.
        self.bell.swap(SILENT, Ordering::Acquire);
    }

    /// In the child of a fork(), on its only thread: forgets the sleeper that was left behind.
    pub(crate) fn renew_in_child(&self) {
        // Relaxed: there is no other thread.
        self.until.store(NEVER, Ordering::Relaxed);
        self.wanted.store(NEVER, Ordering::Relaxed);
        self.bell.store(SILENT, Ordering::Relaxed);
    }

    /// In the child of a fork() by the timer thread itself: an armer may have been left behind between his store and his
    /// ring, so the timer looks again when it is done.
    pub(crate) fn look_again(&self) {
        // Relaxed: there is no other thread, and `sleep` reads it before it sleeps.
        self.wanted.store(0, Ordering::Relaxed);
    }
}
