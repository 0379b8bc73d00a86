//! The clock of a watch: cheap, and never early.
//!
//! Each watched resume reads a clock, and is over in 50 to 100 ns. `CLOCK_MONOTONIC_COARSE` is a load of what the kernel noted at its
//! last tick: 3 ns, where the exact clock takes 24 and the time-stamp counter 10 (`Ticks::about_now`, which calls with limits use: they cost more, and are to be exact). It lags behind by the tick that is under way, and by
//! what the last one has left over, for the kernel notes whole ticks only, and by as much as the last one was late. (Measured, ticks of
//! 4 ms: 6.2 ms, in more than half of all readings more than 4. Of two processors with four busy threads, 8.3 ms in one reading of
//! fourteen thousand.) So three ticks are added: a limit ends up to three ticks late, and not early. Limits so short that this would
//! show are worth the exact clock.
//!
//! What could go wrong: a hypervisor that withholds a tick from the processor that keeps the time, while another one runs. A limit
//! of 50 ms or more, counted from that moment, comes early by as much as that tick was late beyond this (the third tick gives it 4 ms).
//!
//! The kernel's function for it is called directly, at the address that the C library would call it at: 2 ns of the 5.
//!
//! Dropped: no clock at all, but a number that the timer thread dates when it first sees it. It saves these 3 ns, and the timer
//! thread would have to wake up for a look every few milliseconds while any coroutine runs.

use std::ffi::c_int;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use watchdog::Ticks;

/// Limits shorter than this, in nanoseconds, are worth the exact clock.
const SHORT: u64 = 50_000_000;

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

/// `clock_gettime`: the kernel's own, once it has been looked up.
static CLOCK_GETTIME: AtomicPtr<()> = AtomicPtr::new(libc::clock_gettime as *mut ());

/// Looks for the kernel's function. Called when a watch is made, not when a coroutine is resumed.
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

/// The time from which limits count, the shortest of which is `shortest`: not before the present, and up to three ticks later where that
/// is cheaper.
#[inline]
pub fn start(shortest: u64) -> u64 {
    if shortest < SHORT {
        return Ticks::now().as_nanos();
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
        return Ticks::now().as_nanos();
    }
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64 + lag()
}

/// More than the coarse clock lags behind: three ticks.
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
    let lag = 3 * t.tv_nsec as u64;
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
    fn a_start_is_exact_or_three_ticks_after_the_coarse_clock() {
        for i in 0..1000 {
            if i == 500 {
                prepare();
            }
            let (exact, least) = (Ticks::now().as_nanos(), coarse() + lag());
            assert!(start(0) >= exact);
            assert!(start(SHORT) >= least);
            assert!(start(SHORT) <= coarse() + lag());
        }
    }
}
