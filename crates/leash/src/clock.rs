//! The clock by which limits begin: cheap where that does not show, and never early.
//!
//! A watched resume takes 50 to 100 ns, a call with limits 120 to 150 more than `pcall`, and each of them reads a clock. `CLOCK_MONOTONIC_COARSE` is a load of what the kernel
//! noted at its last tick: 3 ns, where the exact clock takes 24 (on another machine 11 and 33) and the time-stamp counter 10. It lags behind by up to two ticks: the tick that is
//! under way, and what the last one has left over, for the kernel notes whole ticks only. (Measured, ticks of 4 ms: 6.2 ms, in more
//! than half of all readings more than 4; on a busy machine 6.3.) So two ticks are added: a limit ends up to two ticks late, and not
//! early. Limits so short that this would show are worth the exact clock: those of [watches](WATCH) below 50 ms, and of [calls](CALL), which are expected to be exact, below a second.
//!
//! What could go wrong: a hypervisor that withholds a tick from the processor that keeps the time, while another one runs. A limit
//! so long, counted from that moment, comes early by as much as that tick was late beyond this.
//!
//! The kernel's function for it is called directly, at the address that the C library would call it at: 2 ns of the 5.
//!
//! Dropped: no clock at all, but a number that the timer thread dates when it first sees it. It saves these 3 ns, and the timer
//! thread would have to wake up for a look every few milliseconds while any coroutine runs. And the time-stamp counter, translated by what two readings of the exact clock
//! say of its pace: exact to a microsecond, but it takes 13 ns of the 33, code that mistrusts it after each suspend or migration, and is not to be read everywhere.

use std::ffi::c_int;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use watchdog::Ticks;

/// Limits of watches shorter than this, in nanoseconds, are worth the exact clock.
pub const WATCH: u64 = 50_000_000;
/// Limits of calls shorter than this.
pub const CALL: u64 = 1_000_000_000;

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

/// `clock_gettime`: the kernel's own, once it has been looked up.
static CLOCK_GETTIME: AtomicPtr<()> = AtomicPtr::new(libc::clock_gettime as *mut ());

/// Looks for the kernel's function. Called when a state is attached.
pub fn prepare() {
    static LOOKED: Once = Once::new();
    LOOKED.call_once(|| {
        let name = if cfg!(target_arch = "x86_64") {
            c"__vdso_clock_gettime"
        } else {
            c"__kernel_clock_gettime"
        };
        // SAFETY: names of objects and symbols. The kernel's object is in every process, so it is found, not loaded.
        let f = unsafe {
            let vdso = libc::dlopen(
                c"linux-vdso.so.1".as_ptr(),
                libc::RTLD_LAZY | libc::RTLD_NOLOAD,
            );
            match vdso.is_null() {
                true => vdso,
                false => libc::dlsym(vdso, name.as_ptr()),
            }
        };
        if !f.is_null() {
            CLOCK_GETTIME.store(f.cast(), Ordering::Relaxed);
        }
    });
}

/// The present, in nanoseconds, as closely as it is known: the same number twice, or two that are two ticks apart.
#[derive(Clone, Copy)]
pub struct Present {
    /// It is not before this: when something began, for reports.
    pub earliest: u64,
    /// It is not after this: from here limits count.
    pub latest: u64,
}

/// The present, as limits need it, the shortest of which is `shortest`: exactly if that is below `exact_below`.
#[inline]
pub fn present(shortest: u64, exact_below: u64) -> Present {
    let exactly = || {
        let now = Ticks::now().as_nanos();
        Present {
            earliest: now,
            latest: now,
        }
    };
    if shortest < exact_below {
        return exactly();
    }
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: only functions of this type are stored there. (Never null.) The place is valid for writing.
    let status = unsafe {
        let f = CLOCK_GETTIME.load(Ordering::Relaxed);
        let f: ClockGettime = std::mem::transmute(f);
        f(libc::CLOCK_MONOTONIC_COARSE, &mut t)
    };
    if status != 0 {
        return exactly();
    }
    let tick = t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64;
    Present {
        earliest: tick,
        latest: tick + lag(),
    }
}

/// The most that the coarse clock lags behind: two ticks.
#[inline]
fn lag() -> u64 {
    static LAG: AtomicU64 = AtomicU64::new(0);
    match LAG.load(Ordering::Relaxed) {
        0 => ask_for_lag(&LAG),
        lag => lag,
    }
}

#[cold]
fn ask_for_lag(known: &AtomicU64) -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 10_000_000,
    };
    // SAFETY: valid for writing; a failure leaves a safe value.
    unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut t) };
    let lag = 2 * t.tv_nsec as u64;
    known.store(lag, Ordering::Relaxed);
    lag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coarse() -> u64 {
        let mut t = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: valid for writing.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut t) };
        t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
    }

    #[test]
    fn the_present_is_exact_or_between_the_coarse_clock_and_two_ticks_later() {
        for i in 0..1000 {
            if i == 500 {
                prepare();
            }
            let before = Ticks::now().as_nanos();
            let now = present(CALL - 1, CALL);
            assert!(now.earliest == now.latest && now.earliest >= before);
            for long in [WATCH, CALL] {
                let (before, tick) = (Ticks::now().as_nanos(), coarse());
                let now = present(long, long);
                assert!(now.earliest >= tick && now.earliest <= coarse());
                assert_eq!(now.latest - now.earliest, lag());
                // (Not compared with the exact clock from above: a hypervisor may withhold ticks.)
                assert!(now.earliest <= Ticks::now().as_nanos());
                assert!(now.latest + 1_000_000_000 >= before);
            }
        }
    }
}
