//! When the timer thread looks at a state next, so that its owner need not tell it.
//!
//! At nearly every call with limits, and at every resume of a watched coroutine, the earliest point in time of a state moves. To arm the alarm each time costs
//! a fence: the owner stores a deadline and looks whether the timer thread sleeps longer, which does it the other way round. Here the owner stores its point in time plainly and looks whether
//! the timer thread is going to **look before that anyway**. It nearly always is: it looks at the point in time that some earlier call has
//! left, finds the present one, and sleeps until that. Only what is earlier is told.
//!
//! The timer thread pays for both. Before it relies on a later look it says so, then has every thread of the process pass a fence (`membarrier`), then reads
//! the points in time once more. After that either it has seen what the owner has stored, or the owner has seen that it has to tell. (A loom model:
//! `tests/loom.rs`, "no deadline is lost to a look".)
//!
//! What could go wrong: **the alarm is armed for later, or taken away, though a look was promised.** So the promise holds for whatever
//! arms it: the owner never arms it later than [`at`](Lookout::at), and what [`Record::due`](super::Record::due) returns is never later. **There is no `membarrier`**: then nothing is ever
//! promised, and the owner tells each time.
//!
//! **While somebody is late** nothing is promised anew, and the thread looks every two milliseconds: so what begins when that has answered may be late by as much. (With a promise, a fence and
//! a word to the thread for each, warnings of watches of 8 ms were missed on a machine with five processes to a processor.)
//!
//! When there is nothing to wait for, the thread looks a few times more, ten times a second, before it gives up: a state that calls again and again has no point
//! in time in between, and to be told takes a system call.

use crate::sync::{self, AtomicU64, Ordering};
use std::time::Duration;
use watchdog::Ticks;

/// No point in time.
pub const NEVER: u64 = u64::MAX;

/// How long, and how often, the timer thread goes on looking when there is nothing to wait for.
pub const IDLE_LOOKS: u64 = 4;
/// See [`IDLE_LOOKS`].
pub const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// The next look at what is late.
pub const LATE_PAUSE: Duration = Duration::from_millis(2);

/// See the module's header.
pub struct Lookout {
    /// No later than this the timer thread looks again; [`NEVER`]: it has to be told. Written by both sides.
    looks_at: AtomicU64,
    /// Looks that have found nothing in a row.
    idle: AtomicU64,
}

impl Default for Lookout {
    fn default() -> Self {
        Lookout {
            looks_at: AtomicU64::new(NEVER),
            idle: AtomicU64::new(0),
        }
    }
}

impl Lookout {
    /// Nothing is promised any more. Owner thread; for another state, or in the child of a fork.
    pub fn reset(&self) {
        // A look that is under way does not undo it: it only replaces what it has found.
        sync::overwrite(&self.looks_at, NEVER, Ordering::Relaxed);
    }

    /// Owner thread: whether the timer thread has to be [told](Lookout::told) of this point in time, which has just been stored.
    #[inline(always)]
    pub fn has_to_be_told(&self, until: u64) -> bool {
        sync::fence_of_the_owner();
        until < self.looks_at.load(Ordering::Relaxed)
    }

    /// Owner thread: the alarm is about to be armed, for this point in time or an earlier one.
    pub fn told(&self, until: u64) {
        if sync::fences_others() {
            self.idle.store(0, Ordering::Relaxed);
            // Release: with what has been stored before. (The alarm, which is armed next, is a release of its own.)
            sync::overwrite(&self.looks_at, until, Ordering::Release);
        }
    }

    /// No later than this the alarm has to be armed by whoever arms it for something else.
    pub fn at(&self) -> Ticks {
        Ticks::from_nanos(self.looks_at.load(Ordering::Relaxed))
    }

    /// Timer thread: it looks at the state now; when does it have to look next? `until` reads the earliest point in time.
    pub fn look(&self, now: Ticks, until: impl Fn() -> u64) -> Ticks {
        let promised = self.looks_at.load(Ordering::Relaxed);
        if promised == NEVER || promised > now.as_nanos() {
            // Nobody relies on it; or it looks for another reason, and the time is still to come.
            return Ticks::from_nanos(promised);
        }
        let pause = now.after(IDLE_PAUSE).as_nanos();
        let soon = now.after(LATE_PAUSE).as_nanos();
        let look_at = |until| if until > now.as_nanos() { until } else { soon };
        let next = match until() {
            // Somebody is late, is asked until he answers, and goes on then: no later look is promised meanwhile, but there will be one soon.
            until if until <= now.as_nanos() => return Ticks::from_nanos(soon),
            NEVER if self.idle.load(Ordering::Relaxed) >= IDLE_LOOKS => NEVER,
            NEVER => {
                self.idle.fetch_add(1, Ordering::Relaxed);
                pause
            }
            until => {
                self.idle.store(0, Ordering::Relaxed);
                look_at(until)
            }
        };
        if !self.replace(promised, next) {
            return Ticks::from_nanos(next); // the owner has told of something earlier, and arms the alarm
        }
        if !sync::fence_others() {
            self.replace(next, NEVER); // from now on it tells; one look more for what it has not
            return Ticks::from_nanos(pause.min(next));
        }
        // Now either the owner has seen `next`, or this sees what it has stored.
        let until = look_at(until());
        if until >= next {
            return Ticks::from_nanos(next);
        }
        self.replace(next, until);
        Ticks::from_nanos(until)
    }

    /// False if the owner has been here meanwhile.
    fn replace(&self, old: u64, new: u64) -> bool {
        let (done, seen) = (Ordering::SeqCst, Ordering::Relaxed);
        self.looks_at.compare_exchange(old, new, done, seen).is_ok()
    }
}
