//! When the timer thread has somebody look which coroutines run.
//!
//! A coroutine that must yield in time may be resumed by whoever likes, and then nothing of ours runs at its resume. So the state's own
//! thread is poked every [`PERIOD`] and looks ([`super::sight`]). It is poked only if it has used its processor since the last look:
//! a thread that sleeps in a system call is left alone, and one that has slept for a while is looked at less often.
//!
//! All words are Relaxed: each is a fact of its own, and a look that comes one period late is no harm.

use super::watching::NEVER;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

/// How often a thread that works is looked at.
pub const PERIOD: Duration = Duration::from_millis(10);

/// The same of one that has not worked for [`IDLE`] looks.
const IDLE_PERIOD: Duration = Duration::from_millis(50);
const IDLE: u32 = 20;

/// Less work than this between two looks is none: an answer to a poke costs a few microseconds.
const WORK: u64 = 20_000;

/// See the module's header.
#[derive(Default)]
pub struct Sampling {
    /// The owner's CPU clock, as `ThreadClock::to_bits`; 0: there is nothing to look for.
    clock: AtomicU64,
    /// When the next look is due, as `Ticks`.
    at: AtomicU64,
    /// What the clock said at the last look.
    used: AtomicU64,
    /// Looks in a row at which it had not moved.
    idle: AtomicU32,
    /// Nanoseconds: the earliest limit of those that were seen to run, as the inverse, so that zero says none.
    until: AtomicU64,
}

impl Sampling {
    /// Back to the start, for another state.
    pub fn reset(&self) {
        self.clock.store(0, Ordering::Relaxed);
        self.until.store(0, Ordering::Relaxed);
    }

    /// Owner: there is something to look for, on this thread. True if there was not before: then the timer thread has to be told.
    pub fn start(&self) -> bool {
        let clock = ThreadClock::current().to_bits();
        if self.clock.swap(clock, Ordering::Relaxed) != 0 {
            return false;
        }
        let at = Ticks::now().after(PERIOD);
        self.at.store(at.as_nanos(), Ordering::Relaxed);
        self.idle.store(0, Ordering::Relaxed);
        true
    }

    /// Owner: the state has come to this thread.
    pub fn follow(&self) {
        if self.clock.load(Ordering::Relaxed) != 0 {
            let clock = ThreadClock::current().to_bits();
            self.clock.store(clock, Ordering::Relaxed);
        }
    }

    /// Owner: there is nothing to look for.
    pub fn stop(&self) {
        self.reset();
    }

    /// Owner: the earliest limit of those that were seen.
    pub fn set_until(&self, until: u64) {
        self.until.store(!until, Ordering::Relaxed);
    }

    fn until(&self) -> u64 {
        !self.until.load(Ordering::Relaxed)
    }

    /// When the timer thread has to look at the latest.
    pub fn next_look(&self) -> Ticks {
        if self.clock.load(Ordering::Relaxed) == 0 {
            return Ticks::NEVER;
        }
        Ticks::from_nanos(self.at.load(Ordering::Relaxed).min(self.until()))
    }

    /// Timer thread: is one late that was seen; is a look due; and if neither, when to come again.
    pub fn due(&self, now: Ticks) -> Due {
        let mut due = Due {
            late: false,
            look: false,
            next: Ticks::NEVER,
        };
        let Some(clock) = ThreadClock::from_bits(self.clock.load(Ordering::Relaxed)) else {
            return due;
        };
        let until = self.until();
        if until <= now.as_nanos() {
            due.late = true; // asked for again and again, until it is answered
        } else if until != NEVER {
            due.next = Ticks::from_nanos(until);
        }
        let mut at = Ticks::from_nanos(self.at.load(Ordering::Relaxed));
        if at <= now {
            let used = clock.read().map_or(0, |t| t.as_nanos() as u64);
            let last = self.used.load(Ordering::Relaxed);
            let mut period = PERIOD;
            if used.abs_diff(last) > WORK {
                due.look = true;
                self.used.store(used, Ordering::Relaxed);
                self.idle.store(0, Ordering::Relaxed);
            } else if self.idle.fetch_add(1, Ordering::Relaxed) > IDLE {
                period = IDLE_PERIOD;
            }
            at = now.after(period);
            self.at.store(at.as_nanos(), Ordering::Relaxed);
        }
        due.next = due.next.min(at);
        due
    }
}

/// See [`Sampling::due`].
pub struct Due {
    pub late: bool,
    pub look: bool,
    pub next: Ticks,
}
