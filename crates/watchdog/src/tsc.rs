//! The present by the processor's time-stamp counter ([`Gauge`]), where that can be relied on.
//!
//! It can where the kernel itself uses it as its clock: the kernel has found then that it runs at one rate on all processors and in all states of sleep, and goes on watching
//! that. The kernel says so in a file. That is read once, when the timer thread is started, not when a deadline is set: a
//! process may have shut itself in by then, so that a system call to open a file would be its end. Elsewhere, and until it is known, this is the exact clock.
//!
//! What could go wrong: the thread loses its processor between the two readings of the counter, of which the clock should be the middle. So they must be near each
//! other, or the clock is not set.

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod counted {
    use crate::gauge::Gauge;
    use crate::os;
    use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

    static GAUGE: Gauge = Gauge::over(
        AtomicU32::new(0),
        [
            AtomicU64::new(0),
            AtomicU64::new(0),
            AtomicU64::new(0),
            AtomicU64::new(0),
        ],
    );

    /// Whether the kernel relies on the counter.
    static RELIABLE: AtomicU8 = AtomicU8::new(UNKNOWN);
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;

    /// More counts than it takes to read the clock, unless something has come in between.
    const LONGEST_LOOK: u64 = 10_000;

    fn counter() -> u64 {
        // SAFETY: every processor of this kind has the instruction. A process that is forbidden it could not call the kernel's clock either.
        unsafe { std::arch::x86_64::_rdtsc() }
    }

    #[inline]
    pub(crate) fn present() -> u64 {
        match GAUGE.at(counter()) {
            Some(nanos) => nanos,
            None => exact(),
        }
    }

    /// Reads the exact clock, and sets the other by it.
    #[cold]
    fn exact() -> u64 {
        // Relaxed: nothing belongs to it.
        if RELIABLE.load(Ordering::Relaxed) != YES {
            return os::now();
        }
        let (before, nanos, after) = (counter(), os::now(), counter());
        let took = after.wrapping_sub(before);
        if took < LONGEST_LOOK {
            GAUGE.set(before.wrapping_add(took / 2), nanos);
        }
        nanos
    }

    pub(crate) fn prepare() {
        if RELIABLE.load(Ordering::Relaxed) == UNKNOWN {
            let known = if os::clock_is_tsc() { YES } else { NO };
            RELIABLE.store(known, Ordering::Relaxed);
        }
    }

    pub(crate) fn renew_in_child() {
        GAUGE.forget();
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) use counted::{prepare, present, renew_in_child};

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod exact {
    pub(crate) fn present() -> u64 {
        crate::os::now()
    }

    pub(crate) fn prepare() {}

    pub(crate) fn renew_in_child() {}
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) use exact::{prepare, present, renew_in_child};
