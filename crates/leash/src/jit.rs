//! LuaJIT: compiled code that can be stopped.
//!
//! Compiled code does not see hooks. But LuaJIT has a profiler, and in its line mode the recorder puts a guard into each trace (a
//! test of one byte and a jump) that leaves the trace when bit [`PROFILE`] of `hookmask` is set. So a state is **guarded**: line mode
//! is switched on for it, once, when it is attached; and a delivery sets that bit after it has set the hook. The trace ends, the
//! interpreter goes on, and the next instruction meets the hook, which clears the bit again. `docs/luajit.md` argues why that is
//! sound, with the lines of LuaJIT that it rests on.
//!
//! **Who owns the profiler.** A process has one profiler (`profile_state` in `lj_profile.c`), which belongs to the state that started it.
//! Line mode is switched on for any state that asks, before that is looked at. But the bit has a second meaning: LuaJIT
//! may call the owner's callback with the state that has the bit. So a state of our own, the helper, owns the profiler while any state is
//! guarded: its callback does nothing. Where somebody else owns it already, no bit is ever set, and code runs interpreted.
//!
//! **The timer and the handler of the profiler** (`ITIMER_PROF`, `SIGPROF`) are put back as they were each time that LuaJIT has changed them.
//!
//! **Nothing is guessed.** The place of `hookmask` is found ([`crate::hookmask`]); and the first attach of a process tries the whole in a
//! state of its own: an endless compiled loop must end. If it does not, or if LuaJIT is too old, code runs interpreted ([`Jit::Interpreted`]).

#[cfg(feature = "luajit")]
mod exits;
#[cfg(feature = "luajit")]
mod owner;
#[cfg(feature = "luajit")]
mod quarantine;
#[cfg(feature = "luajit")]
pub mod sampling;
#[cfg(feature = "luajit")]
mod trial;

use crate::hookless;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::ffi::CStr;
use watchdog::Ticks;

/// `HOOK_PROFILE` in `lj_obj.h`.
#[cfg(feature = "luajit")]
const PROFILE: u8 = 0x80;

/// How compiled code is made to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jit {
    /// This engine has no compiler.
    #[cfg_attr(not(feature = "luajit"), default)]
    None,
    /// Compiled code is not entered while limits are in force.
    #[cfg_attr(feature = "luajit", default)]
    Interpreted,
    /// Compiled code has guards.
    Guarded,
}

impl Jit {
    /// `"none"`, `"interpreted"` or `"guarded"`.
    pub fn as_str(self) -> &'static CStr {
        match self {
            Jit::None => c"none",
            Jit::Interpreted => c"interpreted",
            Jit::Guarded => c"guarded",
        }
    }
}

/// Makes compiled code of this state stoppable, if that can be done.
///
/// # Safety
/// The state is attached and runs on this thread, which is not in a signal handler.
pub unsafe fn guard(state: &State) {
    #[cfg(feature = "luajit")]
    // SAFETY: by the caller.
    unsafe {
        owner::guard(state);
    }
    #[cfg(not(feature = "luajit"))]
    let _ = state;
}

/// The state is being detached (`alive`), or is gone.
///
/// # Safety
/// As [`guard`].
pub unsafe fn unguard(state: &State, alive: bool) {
    #[cfg(feature = "luajit")]
    // SAFETY: by the caller.
    unsafe {
        owner::unguard(state, alive);
    }
    #[cfg(not(feature = "luajit"))]
    let _ = (state, alive);
}

/// `lua_sethook` for a delivery. **Signal context**; owner thread.
///
/// # Safety
/// `co` is a live, initialised coroutine of this state.
pub unsafe fn set_hook(
    state: &State,
    co: *mut lua_State,
    hook: sys::Hook,
    mask: std::ffi::c_int,
    count: std::ffi::c_int,
) {
    // SAFETY: by the caller.
    unsafe {
        unmark(state);
        sys::set_hook(co, Some(hook), mask, count);
        mark(state);
    }
}

/// Compiled code is to be left. **Signal context**; owner thread.
pub fn mark(state: &State) {
    #[cfg(feature = "luajit")]
    owner::mark(state);
    #[cfg(not(feature = "luajit"))]
    let _ = state;
}

/// Takes the bit away: before anything else is done with the hook, for LuaJIT is not to see both at once. Whether it was there.
pub fn unmark(state: &State) -> bool {
    #[cfg(feature = "luajit")]
    if let Some(mask) = hookless::hookmask(state) {
        // SAFETY: found behind the main state, which is live. Owner thread.
        let was = unsafe { mask.read_volatile() };
        let marked = was & PROFILE != 0;
        if marked {
            // SAFETY: as above.
            unsafe { mask.write_volatile(was & !PROFILE) };
        }
        return marked;
    }
    let _ = (state, hookless::hookmask);
    false
}

/// A delivery has been answered. A protected call that was begun between the two puts the bit back if it fails, for LuaJIT saves it with the
/// state of the hooks (`hook_save`, `hook_restore`), and compiled code would leave at each guard from then on: so looks are taken later.
pub fn sweep(state: &State) {
    if state.jit.get() == Jit::Guarded {
        state.record().sweep();
        state.record().arm(Ticks::now()); // the timer thread sees what is due first
    }
}

/// The script of this state wants to start the profiler: it gets it from the helper, unless another script has it.
///
/// # Safety
/// As [`guard`]; `callback` as in [`sampling::start`].
#[cfg(feature = "luajit")]
pub unsafe fn lend(state: &State, mode: &CStr, callback: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { owner::lend(state, mode, callback) }
}

/// The script of this state has stopped the profiler, or failed to start it.
///
/// # Safety
/// As [`guard`].
#[cfg(feature = "luajit")]
pub unsafe fn take_back(state: &State, l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { owner::take_back(state, l) };
}

/// Sees that the bit can be set, if nobody listens. On the timer thread.
pub fn reclaim() {
    #[cfg(feature = "luajit")]
    owner::reclaim();
}

/// Whether this thread is trying whether [`crate::guards`] works.
#[cfg(feature = "luajit")]
pub fn is_trying() -> bool {
    trial::is_of_guards()
}

/// Takes the sample that is due, if the script of this state has the profiler. **Signal context**; owner thread.
#[cfg(feature = "luajit")]
pub fn take_sample(state: &State) {
    sampling::take(state);
}

/// In the child of a fork.
pub fn after_fork() {
    #[cfg(feature = "luajit")]
    owner::after_fork();
}
