//! Signs of a finalizer, or of a hook of the script: whether hooks are off, where, and what runs there.
//!
//! LuaJIT keeps bits for all of it. The others have a byte in each coroutine, which does not say why hooks are off, and which a delivery changes; so what deliveries have found counts, too. In doubt a
//! finalizer runs: who asks wants to know whether something may be done that one would not stand.

use super::{allowhook, hookmask};
use crate::state::State;
use crate::sys::{self, lua_State};
use std::ffi::c_char;

/// LuaJIT: `HOOK_VMEVENT`, in the byte of [`super::ACTIVE`].
pub(super) const IN_EVENT: u8 = 0x20;

/// LuaJIT: `HOOK_GC`, in the same byte.
pub(super) const IN_FINALIZER: u8 = 0x40;

/// Whether hooks are off in a coroutine: a hook or a finalizer runs. In doubt, yes.
///
/// # Safety
/// `co` is a live coroutine of this state, on its thread.
pub unsafe fn are_off(state: &State, co: *mut lua_State) -> bool {
    // SAFETY: by the caller; a byte of it.
    unsafe { allowhook(state, co).is_none_or(|allow| allow.read_volatile() == 0) }
}

/// Whether a finalizer runs in `co`, or a hook of the script: no hook sees what it does.
///
/// # Safety
/// As [`are_off`].
pub unsafe fn is_unseen(state: &State, co: *mut lua_State) -> bool {
    // SAFETY: by the caller; a byte of it.
    let off = unsafe { allowhook(state, co).is_some_and(|allow| allow.read_volatile() == 0) };
    off || in_finalizer(state)
}

/// LuaJIT: a callback of the profiler, or of another event of the virtual machine, runs (`HOOK_VMEVENT`). An error on its way to `profile::sample`, which catches it,
/// would end the process.
pub fn in_event(state: &State) -> bool {
    // SAFETY: as below; live, on this thread.
    hookmask(state).is_some_and(|mask| unsafe { mask.read_volatile() } & IN_EVENT != 0)
}

/// LuaJIT: a finalizer runs (`HOOK_GC` in `lj_obj.h`). The compiler cannot be switched then: `luaJIT_setmode` raises an error.
pub fn in_finalizer(state: &State) -> bool {
    // SAFETY: as below; live, on this thread.
    hookmask(state).is_some_and(|mask| unsafe { mask.read_volatile() } & IN_FINALIZER != 0)
}

/// Whether a finalizer may be running, in `l`, which runs our hook, or in a coroutine that waits for it: hooks are off in whatever runs one. (So they are in
/// one that runs a hook of the script.)
///
/// In `l` itself they would be off, had they not been switched on: so what is known of it counts. But that may be of a finalizer that is over, and those of the string buffers of 5.3
/// are seldom short: so not while the collector runs, which rests during each (`GCTM` in `lgc.c`; 5.1 cannot be asked).
pub fn may_be_finalizing(state: &State, l: *mut lua_State) -> bool {
    // SAFETY: `l` is live, on this thread.
    let rests = || cfg!(feature = "lua51") || unsafe { collector_rests(l) };
    let here = in_finalizer(state) || state.hookless.known.has(l) && rests();
    here || is_off_besides(state, l)
}

/// Whether the collector does not run: it has been stopped, or a finalizer runs. 5.1 cannot be asked.
///
/// # Safety
/// `l` is live, on this thread.
unsafe fn collector_rests(l: *mut lua_State) -> bool {
    // SAFETY: by the caller; asking reads a flag. (From 5.4.4 on the answer in a finalizer is -1.)
    unsafe { sys::gc(l, sys::COLLECTOR_IS_RUNNING) <= 0 }
}

/// Whether hooks are off in any coroutine that runs, or waits for one that it has resumed; but for `l`.
pub fn is_off_besides(state: &State, l: *mut lua_State) -> bool {
    let mut finalizes = false;
    state.for_each_live(|co, _| {
        // SAFETY: a live coroutine, on this thread.
        let (allows, jump) = unsafe {
            let place = allowhook(state, co);
            let allows = place.map(|place| place.read_volatile());
            (allows, state.layout.get().jump_of(co))
        };
        // In one that a hook has ended, they have stayed off.
        finalizes |= co != l && allows == Some(0) && jump != Some(0);
    });
    finalizes
}

/// A C function is over in a finalizer; or it is the finalizer, and that is over. **Hook**.
///
/// Nothing is gained by an error there, for code of Lua meets the hook again at its next instruction; and to end each of a hundred thousand finalizers that have just done their work, which every string buffer
/// of 5.4 and later has that was refused memory, took a second. (The next one begins with hooks off, and is met by the next delivery if it lasts. 5.1 cannot tell.)
///
/// # Safety
/// `l` runs our hook, which got `ar`.
#[inline]
pub unsafe fn is_over(state: &State, l: *mut lua_State, ar: *mut sys::lua_Debug) -> bool {
    // SAFETY: by the caller. What is asked for is a static string.
    unsafe {
        !cfg!(feature = "lua51")
            && (*ar).event == sys::LUA_HOOKRET
            && state.hookless.known.has(l)
            && collector_rests(l)
            && sys::lua_getinfo(l, c"S".as_ptr(), ar) != 0
            && (*ar).what.read() == b'C' as c_char
    }
}
