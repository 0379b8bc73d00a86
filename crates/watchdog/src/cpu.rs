//! The CPU clock of a thread, read from any other.
//!
//! A limit on CPU time is checked by the timer thread, which reads the clock of the thread it watches when the limit might
//! have been reached. So the watched thread itself never reads a clock, which would be a system call of 400 ns each time.
//!
//! What could go wrong: the thread ends, and the system gives its id to another thread of the process; the clock is then that thread's.
//! Watch a thread only while it is known to run what is being watched.

use crate::os;
use std::num::NonZeroU64;
use std::time::Duration;

/// CPU time of the calling thread since its start: unlike time on the clock it stands still while the system lets others run.
///
/// A system call of about 400 ns; async-signal-safe, `errno` is kept. Zero on a system that cannot tell.
///
/// ```
/// let start = watchdog::cpu::own_time();
/// let sum: u64 = (0..std::hint::black_box(100_000)).sum();
/// assert!(watchdog::cpu::own_time() >= start, "{sum}");
/// ```
pub fn own_time() -> Duration {
    os::own_time()
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
        os::read_thread_clock(self.0)
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
