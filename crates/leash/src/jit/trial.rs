//! LuaJIT: whether guards work in this build, found out by trying.
//!
//! The first attach of a process stops an endless compiled loop in a state of its own, first with one guard for each trace
//! ([`crate::guards`]), and if that does not work or cannot be confirmed, with guards on each line. If neither does, code runs interpreted
//! from then on ([`Jit::Interpreted`]). It takes about a millisecond.

use super::{Jit, exits};
use crate::guards;
use crate::limits::{Limits, Reason};
use crate::sys::{self, lua_State};
use crate::vm::{Vm, attach_state};
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// What the trial has shown.
static TRIAL: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const UNDER_WAY: u8 = 1;
const GOOD: u8 = 2;
const BAD: u8 = 3;

/// What a trial is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trying {
    /// There is none on this thread.
    Nothing,
    /// One guard for each trace.
    Thin,
    /// Guards on each line.
    Lines,
}

thread_local! {
    /// This thread is making the trial.
    static TRYING: Cell<Trying> = const { Cell::new(Trying::Nothing) };
}

/// Whether the whole works in this build of LuaJIT. The first call finds out.
pub fn is_passed() -> bool {
    if TRYING.get() != Trying::Nothing {
        return true;
    }
    loop {
        match TRIAL.compare_exchange(UNKNOWN, UNDER_WAY, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                let mut result = trial(Trying::Thin);
                if !(result == Some(true) && guards::is_confirmed()) && guards::forget() {
                    result = trial(Trying::Lines);
                }
                if result == Some(true) {
                    result = exits::repair();
                }
                let known = result.map_or(UNKNOWN, |good| if good { GOOD } else { BAD });
                TRIAL.store(known, Ordering::Release);
                if result.is_none() {
                    return false;
                }
            }
            Err(UNDER_WAY) => std::thread::yield_now(),
            Err(result) => return result == GOOD,
        }
    }
}

/// Whether this thread is trying [`crate::guards`].
pub fn is_of_guards() -> bool {
    TRYING.get() == Trying::Thin
}

/// In the child of a fork: whoever was at it is not there.
pub fn after_fork() {
    // Relaxed: one thread.
    if TRIAL.load(Ordering::Relaxed) == UNDER_WAY {
        TRIAL.store(UNKNOWN, Ordering::Relaxed);
    }
}

/// Whether an endless compiled loop in a state of its own is stopped. (It is not quite endless: if the trial fails it must end.) None if
/// that cannot be tried now, for want of memory or since somebody else uses the profiler.
fn trial(what: Trying) -> Option<bool> {
    TRYING.set(what);
    let first = usize::try_from(*guards::TRIAL_LINES.start()).unwrap_or(1);
    let code = "\n".repeat(first - 1) + LOOP;
    let code = CString::new(code).unwrap_or_default();
    let question = c"return require('jit.util').traceinfo(1) ~= nil";
    let stopped = |vm: &Vm, l, micros| {
        let limits = Limits::new().timeout(Duration::from_micros(micros));
        // SAFETY: a function is on the stack.
        matches!(unsafe { vm.call(l, 0, 0, 0, &limits) }, Err(stop) if stop.reason == Reason::Timeout)
    };
    // SAFETY: a state of our own, on this thread, closed before we return. `load` leaves a function or a message.
    let result = unsafe {
        in_new_state(|l, vm| {
            let guarded = vm.state().jit.get() == Jit::Guarded;
            let load = |code: &CStr| sys::luaL_loadstring(l, code.as_ptr()) == 0;
            let try_it = || {
                let mut good = false;
                // On a busy machine the first may stop the loop before it is compiled.
                for micros in [300, 3000, 30_000, 300_000] {
                    if good || !guarded || !load(&code) || !stopped(vm, l, micros) {
                        break;
                    }
                    good = load(question)
                        && sys::lua_pcall(l, 0, 1, 0) == 0
                        && sys::lua_toboolean(l, -1) != 0;
                    sys::lua_settop(l, 0);
                }
                good
            };
            let mut good = try_it();
            if what == Trying::Thin && good && guards::is_confirmed() {
                // That was with a guard at the beginning; now where it belongs.
                guards::learn(l);
                good = load(c"jit.flush()") && sys::lua_pcall(l, 0, 0, 0) == 0 && try_it();
            }
            guarded.then_some(good)
        })
    };
    TRYING.set(Trying::Nothing);
    result
}

/// On the lines [`guards::TRIAL_LINES`].
const LOOP: &str = "local n = 0\nfor i = 1, 1e9 do\n n = n + i\nend return n";

/// Calls `f` with a new state that is attached.
///
/// # Safety
/// `f` leaves the state open, and raises no error.
unsafe fn in_new_state(f: impl FnOnce(*mut lua_State, &Vm) -> Option<bool>) -> Option<bool> {
    // SAFETY: the state is on this thread, detached and closed before we return.
    unsafe {
        let l = sys::luaL_newstate();
        if l.is_null() {
            return None;
        }
        sys::luaL_openlibs(l);
        let result = attach_state(l).ok().and_then(|vm| f(l, &vm));
        sys::lua_close(l);
        result
    }
}
