//! LuaJIT: the profiler is given up only a while after it was taken.
//!
//! To start the profiler installs LuaJIT's handler of `SIGPROF`, for the moment until it is put back ([`super::owner`]). Where the host raises that signal itself, a thread may be
//! in that handler, and lose its processor before the handler has looked who is profiled. It goes on whenever it likes, and follows a null pointer if nobody is: so
//! crashed a process that attached and closed a state (the trial, say) while another thread raised `SIGPROF`. As long as the helper has the profiler, such a handler does no harm: it
//! sets a bit of a state that runs nothing.
//!
//! So when the last state goes, the helper keeps the profiler until [`REST`] is over, and the timer thread takes it away then. Meanwhile a state that is not attached cannot profile.
//!
//! Where the profiler goes from hand to hand, because a script starts or stops it, nobody has it for some microseconds. For those it is enough that no such handler is likely to be
//! about: the script waits for [`PAUSE`], or a loop that starts and stops crashes a process that raises `SIGPROF` within a tenth of a second.

use super::owner;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;
use watchdog::{Alarm, Ticks, Watch};

/// So long a thread that is ready to run does not wait for its processor, unless the machine is past helping.
const REST: Duration = Duration::from_millis(500);

/// And so long only a few do: at the end of it a handler would have to go on within some microseconds to do harm.
const PAUSE: Duration = Duration::from_millis(10);

/// When LuaJIT's handler was last put away.
static LAST: AtomicU64 = AtomicU64::new(0);

/// LuaJIT's handler may have been in force until now.
pub fn begins() {
    // Relaxed, as below: the lock of [`owner`] is held.
    LAST.store(Ticks::now().as_nanos(), Ordering::Relaxed);
}

/// Until when the profiler has to have an owner.
fn end() -> Ticks {
    Ticks::from_nanos(LAST.load(Ordering::Relaxed)).after(REST)
}

/// Whether that is over.
pub fn is_over() -> bool {
    end() <= Ticks::now()
}

/// How long a script still has to wait.
fn left_of_the_pause() -> Duration {
    let last = Ticks::from_nanos(LAST.load(Ordering::Relaxed));
    last.after(PAUSE).since(Ticks::now())
}

/// Whether a script has waited long enough.
pub fn pause_is_over() -> bool {
    left_of_the_pause().is_zero()
}

/// Waits for that. By the clock: `std::thread::sleep` goes on with what is left, which under a thousand signals a millisecond did not become less.
pub fn wait_for_the_pause() {
    loop {
        let left = left_of_the_pause();
        if left.is_zero() {
            return;
        }
        let left = libc::timespec {
            tv_sec: 0, // less than a second
            tv_nsec: left.subsec_nanos() as libc::c_long,
        };
        // SAFETY: valid for reading; what would be left is not asked for.
        unsafe { libc::nanosleep(&left, ptr::null_mut()) };
    }
}

/// Has [`owner::give_up`] called then. With the lock of [`owner`]. False if it cannot be: there is no timer thread.
pub fn at_its_end_give_up() -> bool {
    // Made once, and kept. Not a `OnceLock`: a fork while it is being filled would leave the child waiting.
    static ALARM: AtomicPtr<Alarm> = AtomicPtr::new(ptr::null_mut());
    let mut alarm = ALARM.load(Ordering::Relaxed);
    if alarm.is_null() {
        let Ok(new) = Alarm::new(Arc::new(End)) else {
            return false;
        };
        alarm = Box::into_raw(Box::new(new));
        ALARM.store(alarm, Ordering::Relaxed);
    }
    // SAFETY: leaked above; used with the lock of [`owner`] alone.
    unsafe { (*alarm).arm(end()) };
    true
}

struct End;

impl Watch for End {
    fn due(&self, _: Ticks) -> Ticks {
        match owner::give_up() {
            true => Ticks::NEVER,
            false => end(), // it has been taken and left meanwhile
        }
    }
}
