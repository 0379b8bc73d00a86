//! LuaJIT: a recording that was given up is to be over before compiled code is thrown away.
//!
//! When a hook is called, an error is thrown or the compiler is switched, LuaJIT gives up the trace that it is recording. But it only marks it so
//! (`lj_trace_abort`); the rest is done at the next instruction that runs in Lua (`trace_abort` in `lj_trace.c`). If the recording is one that
//! goes on after a C call ("stitched"), that rest looks for the trace from which it goes on. If all traces have been thrown away meanwhile
//! (`lj_trace_flushall`: `luaJIT_setmode`, `luaJIT_profile_start`), there is none, and a null pointer is followed.
//!
//! So before we have code thrown away, we call a Lua function that does nothing: at its first instruction the recording is over. It is made when the state is
//! attached, and kept in the registry.

use crate::hookless;
use crate::library;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU8, Ordering};

static KEY: u8 = 0;

fn key() -> *mut c_void {
    (&raw const KEY).cast_mut().cast()
}

/// Makes the function. False if there is no memory for it.
///
/// # Safety
/// `l` is a live state on its own thread with free stack, not in a signal handler.
pub unsafe fn plant(state: &State, l: *mut lua_State) -> bool {
    // SAFETY: by the caller; `make` takes nothing.
    let made = unsafe { library::run(l, make) };
    state.can_settle.set(made);
    made
}

/// **longjmp**: raises for want of memory, and nothing here owns anything.
unsafe extern "C-unwind" fn make(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots.
    unsafe {
        sys::lua_pushlightuserdata(l, key());
        if sys::luaL_loadstring(l, c"".as_ptr()) != 0 {
            sys::lua_error(l);
        }
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
    }
    0
}

/// Calls it, if it was made, with hooks off: an interrupt that arrives is not for this function, and its error would be lost.
///
/// # Safety
/// `l` is the coroutine of `state` that runs on this thread, or the main state if none runs, and has two free slots. Not in a finalizer.
pub unsafe fn settle(state: &State, l: *mut lua_State) {
    if !state.can_settle.get() {
        return; // nothing has been guarded, either
    }
    // SAFETY: found behind the main state, which is live. Atomic, for a signal handler changes other bits of the byte.
    let mask = hookless::hookmask(state).map(|mask| unsafe { AtomicU8::from_ptr(mask) });
    // Relaxed: one thread.
    let before = mask.map(|mask| mask.fetch_or(hookless::ACTIVE, Ordering::Relaxed));
    // SAFETY: by the caller.
    unsafe { call(l) };
    if let (Some(mask), Some(before)) = (mask, before)
        && before & hookless::ACTIVE == 0
    {
        mask.fetch_and(!hookless::ACTIVE, Ordering::Relaxed);
    }
}

unsafe fn call(l: *mut lua_State) {
    // SAFETY: by the caller. A light userdata and a function are looked up and called: nothing is allocated. (A light userdata is, in part, where it
    // is the first of its region of memory, `lj_lightud_intern`: this one was used when the function was made.)
    unsafe {
        let top = sys::lua_gettop(l);
        sys::lua_pushlightuserdata(l, key());
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        if sys::lua_type(l, -1) == sys::LUA_TFUNCTION {
            sys::lua_pcall(l, 0, 0, 0);
        }
        sys::lua_settop(l, top);
    }
}
