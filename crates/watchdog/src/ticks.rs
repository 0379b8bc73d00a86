//! Points in time.
//!
//! `std::time::Instant` cannot be stored in an atomic, so this crate counts nanoseconds of the monotonic clock in a `u64`,
//! which lasts for 584 years of uptime. The greatest value means "never", and all arithmetic stops there or at zero: no
//! operation here panics or wraps.

use crate::os;
use crate::slot;
use crate::tsc;
use std::time::Duration;

/// A point on CLOCK_MONOTONIC, in nanoseconds.
///
/// The clock does not jump when the time of day is set, and stands still while the machine is suspended. Ticks have a
/// meaning only in the process (and its forked children) on the machine where they were taken.
///
/// ```
/// use std::time::Duration;
/// use watchdog::Ticks;
///
/// let start = Ticks::now();
/// let deadline = start.after(Duration::from_millis(5));
/// assert!(start < deadline && deadline < Ticks::NEVER);
/// assert_eq!(deadline.since(start), Duration::from_millis(5));
/// assert_eq!(start.since(deadline), Duration::ZERO);
/// assert_eq!(start.after(Duration::MAX), Ticks::NEVER);
/// ```
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Ticks(u64);

impl Ticks {
    /// Later than every point that comes.
    pub const NEVER: Ticks = Ticks(slot::NEVER);

    /// The present. About 20 ns, normally without a system call; async-signal-safe.
    pub fn now() -> Ticks {
        Ticks(os::now())
    }

    /// The present, give or take a microsecond: so it may be ahead of what [`now`](Ticks::now) tells next. Where the kernel goes by the processor's time-stamp counter, it is that, set by the exact clock every ten
    /// milliseconds, in half the time that [`now`](Ticks::now) takes; elsewhere, and before the first [`Alarm`](crate::Alarm), it is `now`. Async-signal-safe.
    ///
    /// ```
    /// use std::time::Duration;
    /// use watchdog::Ticks;
    ///
    /// let before = Ticks::now();
    /// let present = Ticks::about_now();
    /// assert!(present.after(Duration::from_millis(1)) >= before);
    /// assert!(present <= Ticks::now().after(Duration::from_millis(1)));
    /// ```
    #[inline]
    pub fn about_now() -> Ticks {
        Ticks(tsc::present())
    }

    /// The present as of the last tick of the kernel: behind [`now`](Ticks::now) by up to ten milliseconds, never ahead of it. About 4 ns.
    ///
    /// ```
    /// use std::time::Duration;
    /// use watchdog::Ticks;
    ///
    /// let before = Ticks::now();
    /// let recent = Ticks::recent();
    /// assert!(recent <= Ticks::now());
    /// assert!(recent.after(Duration::from_millis(100)) >= before);
    /// ```
    pub fn recent() -> Ticks {
        Ticks(os::recent())
    }

    /// That many nanoseconds after the clock's zero; `u64::MAX` is [`Ticks::NEVER`].
    pub const fn from_nanos(nanos: u64) -> Ticks {
        Ticks(nanos)
    }

    /// Nanoseconds since the clock's zero; `u64::MAX` for [`Ticks::NEVER`].
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point `d` later, or [`Ticks::NEVER`] if that is beyond what can be counted.
    pub fn after(self, d: Duration) -> Ticks {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Ticks(self.0.saturating_add(nanos))
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    pub fn since(self, earlier: Ticks) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
