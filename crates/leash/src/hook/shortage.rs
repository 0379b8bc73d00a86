//! When memory runs short: what is done before the limit, at it, and after.
//!
//! Before: the hook collects ([`collect`]), where Lua would not do so by itself ([`crate::memory`]). At it: the allocator refuses, and Lua raises an error
//! of its own, which no hook sees; so the trace is taken from inside the allocator ([`trace_from_allocator`]). After: such an error
//! may end the call before any hook runs, and then its words are all that tells ([`memory_ran_out`]).

use crate::record::thread_identity;
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hookless, trace};
use std::ffi::{CStr, c_int, c_void};

/// Memory is about to run out ([`crate::memory`]). The one exception to the rule that the hook allocates nothing: finalizers may, and a stop
/// reaches them as it does elsewhere. Not while one runs: programs need not be ready for another one in its midst.
///
/// **longjmp**: a finalizer may raise.
///
/// # Safety
/// `l` runs our hook, and nothing in the callers' frames owns anything.
#[cold]
pub unsafe fn collect(state: &State, l: *mut lua_State) {
    let before = state.memory.used.get();
    state.memory.collect_later(); // should a finalizer raise
    if hookless::may_be_finalizing(state, l) {
        return;
    }
    // SAFETY: by the caller.
    unsafe {
        let runs = sys::gc(l, sys::COLLECTOR_IS_RUNNING) != 0;
        sys::gc(l, sys::LUA_GCCOLLECT);
        if state.memory.used.get() > before / 8 * 7 {
            sys::gc(l, sys::LUA_GCCOLLECT); // what has been finalized goes the second time
        }
        if !runs {
            sys::gc(l, sys::LUA_GCSTOP);
        }
    }
    state.memory.collect_later();
    if !state.is_stopping_anything() {
        hookless::forget(state); // finalizers may have been found with hooks off, and are over
    }
}

/// Notes where the code is at which memory ran out: an uncaught memory error leaves no other trace.
///
/// Not while Lua moves the stack of a coroutine that the trace would look at: 5.4 and 5.5 turn the frames' pointers into offsets
/// before they ask for the new block (`luaD_reallocstack`), and `lua_getinfo` would follow them. `block` is what is to be resized.
///
/// Not on LuaJIT where code may be compiled: compiled code keeps frames in registers, and `L->base` is where the interpreter left it.
pub fn trace_from_allocator(state: &State, block: *const c_void) {
    if cfg!(feature = "luajit") && !state.interpreted.get() {
        return;
    }
    if !state.traceback.borrow().is_empty() || state.pthread.get() != thread_identity() {
        return;
    }
    if let Some(l) = trace::running(state)
        && !trace::is_stack_of_active(state, block)
    {
        trace::capture(state, l, true, &mut state.traceback.borrow_mut());
    }
}

/// Whether a call that ended with `status` was ended by the memory limit, although no hook came to see it: an uncaught memory
/// error. The buffers of 5.3 and later ask the allocator by themselves, and raise a plain error with the same words.
///
/// # Safety
/// As after `lua_pcall`: the error object of a status other than 0 is on the stack of `l`.
pub unsafe fn memory_ran_out(state: &State, l: *mut lua_State, status: c_int) -> bool {
    if status == 0 || !state.memory.has_refused() {
        return false;
    }
    // SAFETY: by the caller. A string is read in place; nothing is converted.
    unsafe {
        status == sys::LUA_ERRMEM
            || sys::lua_type(l, -1) == sys::LUA_TSTRING
                && CStr::from_ptr(sys::lua_tostring(l, -1))
                    .to_bytes()
                    .windows(NOT_ENOUGH.len())
                    .any(|w| w == NOT_ENOUGH)
    }
}

const NOT_ENOUGH: &[u8] = b"not enough memory";
