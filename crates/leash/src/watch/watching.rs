//! What the timer thread knows of the watched coroutines of a state that are being resumed.
//!
//! The owner stores the earliest point in time of all open frames at every resume, by a plain store without a fence, and looks
//! whether the timer thread is going to look before that. It nearly always is: it looks at the point in time that some earlier resume
//! has left, finds the present one, and sleeps until that. Only when no frame has been open for a while does it go to sleep for good;
//! before that it runs a `membarrier`, which puts the fence that the resume has saved where the timer thread is. Where the kernel
//! has none, it goes on looking ten times a second.

use super::sampling::Sampling;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, compiler_fence};
use std::time::Duration;
use watchdog::Ticks;

/// No point in time.
pub const NEVER: u64 = u64::MAX;

/// See the module's header.
pub struct Watching {
    /// The earliest point in time of all open frames. Written by the owner at every resume, without a fence.
    until: AtomicU64,
    /// No later than this the timer thread looks again. Written by both sides.
    looks_at: AtomicU64,
    /// Looks that have found nothing in a row.
    idle: AtomicU32,
    /// Those that are resumed by others.
    pub sampling: Sampling,
}

impl Default for Watching {
    fn default() -> Self {
        Watching {
            until: AtomicU64::new(NEVER),
            looks_at: AtomicU64::new(NEVER),
            idle: AtomicU32::new(0),
            sampling: Sampling::default(),
        }
    }
}

/// How long, and how often, the timer thread goes on looking when no frame is open.
const IDLE_LOOKS: u32 = 4;
const IDLE_PAUSE: Duration = Duration::from_millis(100);

impl Watching {
    /// Back to the start, for another state.
    pub fn reset(&self) {
        self.until.store(NEVER, Ordering::Relaxed);
        self.looks_at.store(NEVER, Ordering::Relaxed);
        self.sampling.reset();
    }

    /// Owner: sets the earliest point in time. True if the timer thread has to be told.
    ///
    /// Relaxed, without a fence: see `due`.
    #[inline]
    pub fn set(&self, until: u64) -> bool {
        self.until.store(until, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        until < self.looks_at.load(Ordering::Relaxed)
    }

    /// Owner: back to an earlier point in time, which the timer thread has been told of.
    #[inline]
    pub fn set_back(&self, until: u64) {
        self.until.store(until, Ordering::Relaxed);
    }

    /// Owner: the timer thread will look at `until`, for it is about to be woken up.
    pub fn looks_again(&self, until: u64) {
        self.idle.store(0, Ordering::Relaxed);
        self.looks_at.store(until, Ordering::Relaxed);
    }

    /// Owner: when the timer thread has to look at the latest, for whoever sets the alarm for something else.
    pub fn next_look(&self) -> Ticks {
        // The timer thread, on its way to sleep, takes `looks_at` away before it has a last look at `until`.
        let looks_at = self.looks_at.load(Ordering::Relaxed);
        Ticks::from_nanos(looks_at.min(self.until.load(Ordering::Relaxed)))
            .min(self.sampling.next_look())
    }

    /// Timer thread: is a frame late, and if not, when to look again.
    pub fn due(&self, now: Ticks) -> (bool, Ticks) {
        if self.looks_at.load(Ordering::Relaxed) == NEVER {
            return (false, Ticks::NEVER);
        }
        let mut until = self.until.load(Ordering::Relaxed);
        let mut next = until;
        if until == NEVER {
            let idle = self.idle.fetch_add(1, Ordering::Relaxed);
            next = now.after(IDLE_PAUSE).as_nanos();
            if idle >= IDLE_LOOKS {
                // Going to sleep. The owner stores `until` and then reads `looks_at`; here it is the other way round. His half
                // of the fence is made by `membarrier`: after it, either he has seen NEVER, and tells us, or we see his store.
                self.looks_at.store(NEVER, Ordering::SeqCst);
                if membarrier() {
                    until = self.until.load(Ordering::SeqCst);
                    next = until;
                }
            }
        } else {
            self.idle.store(0, Ordering::Relaxed);
        }
        self.looks_at.store(next, Ordering::Relaxed);
        if until <= now.as_nanos() {
            return (true, Ticks::NEVER); // asked for again and again, until it is answered
        }
        (false, Ticks::from_nanos(next))
    }
}

/// A full fence on every thread of this process that runs. False where the kernel has no such thing.
fn membarrier() -> bool {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    const PRIVATE_EXPEDITED: c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;
    // SAFETY: the system call has no memory effects.
    let call = |command: c_int| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 };
    if !REGISTERED.load(Ordering::Relaxed) {
        if !call(REGISTER_PRIVATE_EXPEDITED) {
            return false;
        }
        REGISTERED.store(true, Ordering::Relaxed);
    }
    // A child of a fork has to register again.
    call(PRIVATE_EXPEDITED) || call(REGISTER_PRIVATE_EXPEDITED) && call(PRIVATE_EXPEDITED)
}
