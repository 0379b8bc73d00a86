//! The CPU clock of a thread, read from any other.
//!
//! A limit on CPU time is checked by the timer thread, which reads the clock of the thread it watches when the limit might
//! have been reached. So the watched thread itself never reads a clock, which would be a system call of 400 ns each time.
//!
//! **In the child of a fork** the system begins to count anew. Here the time of the thread that forked goes on: limits that were set before would else be missed by all
//! that it had used. (Its new id is that of the process, which no other thread gets.)
//!
//! What could go wrong: the thread ends, and the system gives its id to another thread of the process; the clock is then that thread's.
//! Watch a thread only while it is known to run what is being watched.

use crate::os;
use crate::sync::{AtomicU64, Ordering};
use std::num::NonZeroU64;
use std::time::Duration;

/// In the child of a fork: what the forking thread had used before it, in nanoseconds.
static BEFORE_FORK: AtomicU64 = AtomicU64::new(0);
/// The clock of that thread; 0: this is no such child.
static FORKED: AtomicU64 = AtomicU64::new(0);

/// In the child of a fork, on its only thread, which had used so much before.
pub(crate) fn renew_in_child(used: Duration) {
    // Relaxed: other threads are started later.
    let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
    BEFORE_FORK.store(used, Ordering::Relaxed);
    FORKED.store(os::thread_clock().get(), Ordering::Relaxed);
}

/// What the thread of this clock had used before the fork.
fn before_fork(clock: impl FnOnce() -> NonZeroU64) -> Duration {
    match FORKED.load(Ordering::Relaxed) {
        0 => Duration::ZERO,
        forked if forked == clock().get() => {
            Duration::from_nanos(BEFORE_FORK.load(Ordering::Relaxed))
        }
        _ => Duration::ZERO,
    }
}

/// CPU time of the calling thread since its start: unlike time on the clock it stands still while the system lets others run.
///
/// A system call of about 400 ns; async-signal-safe, `errno` is kept. Zero on a system that cannot tell. In the child of a fork it goes on from what it was.
///
/// ```
/// let start = watchdog::cpu::own_time();
/// let sum: u64 = (0..std::hint::black_box(100_000)).sum();
/// assert!(watchdog::cpu::own_time() >= start, "{sum}");
/// ```
pub fn own_time() -> Duration {
    os::own_time() + before_fork(os::thread_clock)
}

/// The CPU clock of one thread: the time it has been running, in user code and in the kernel.
///
/// ```
/// use watchdog::cpu::ThreadClock;
///
/// let clock = ThreadClock::current();
/// let here = clock.read().expect("this thread is alive");
/// let there = std::thread::spawn(move || clock.read()).join().unwrap();
/// assert!(there.expect("so it is, seen from there") >= here);
/// ```
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct ThreadClock(NonZeroU64);

impl ThreadClock {
    /// The clock of the calling thread. No system call on Linux.
    pub fn current() -> ThreadClock {
        ThreadClock(os::thread_clock())
    }

    /// CPU time of the thread since its start, in steps of a nanosecond. `None` once the thread has ended, and in the child of a fork,
    /// where the threads of the parent are not.
    ///
    /// A system call of about 400 ns; async-signal-safe, `errno` is kept.
    pub fn read(&self) -> Option<Duration> {
        Some(os::read_thread_clock(self.0)? + before_fork(|| self.0))
    }

    /// A number to keep in an atomic; never zero.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The clock that [`to_bits`](ThreadClock::to_bits) came from; `None` for zero. Any other number makes a clock that reads
    /// as that of an ended thread, or as some clock.
    pub fn from_bits(bits: u64) -> Option<ThreadClock> {
        NonZeroU64::new(bits).map(ThreadClock)
    }
}
