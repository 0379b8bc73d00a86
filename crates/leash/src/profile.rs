//! LuaJIT: `jit.profile` in a guarded state.
//!
//! The script may use the profiler (`jit.profile`, `jit.p`). Two things must not happen then: its `start("f")` would switch the
//! guards to function mode, in which a loop that calls nothing has none; and it could not start at all, since our helper owns the profiler
//! ([`crate::jit`]). So `start` and `stop` of the library are wrapped in guarded states: `start` gets the profiler from the
//! helper, and asks for lines where the script asks for functions, which makes more guards and not fewer; `stop` gives it back. As
//! ever, one state of a process has the profiler at a time, and who comes second gets no samples.
//!
//! **The callback is ours.** LuaJIT calls it with any state that has the bit, which a delivery sets in other states as well: so it looks with which,
//! and calls the script's function for its own alone.
//!
//! The library is wrapped where `require` finds it: in `package.loaded`, and in `package.preload`, from where it comes when it is first
//! asked for. A script that has kept `start` from before the attach, or gets it back by the library `debug`, has the plain one.

use crate::hook::state_of;
use crate::jit::{self, Jit};
use crate::library;
use crate::sys::{self, lua_State, profiler};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;

const NAME: &CStr = c"jit.profile";

/// Their addresses are keys of the registry: the coroutine that runs the script's callback, and the callback.
static THREAD: u8 = 0;
static CALLBACK: u8 = 1;

/// Wraps the library, if it is there. What fails for lack of memory is left out.
///
/// # Safety
/// `l` is a live state on its own thread with free stack, not in a signal handler.
pub unsafe fn wrap(l: *mut lua_State) {
    // SAFETY: by the caller; `install` takes nothing.
    unsafe {
        if sys::protected(l, install, ptr::null_mut()) != 0 {
            sys::lua_settop(l, -2);
        }
    }
}

/// **longjmp**, as all below: what they call may raise, and nothing here owns anything.
unsafe extern "C-unwind" fn install(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots. Fields are read and written without metamethods.
    unsafe {
        library::loaded(l, NAME);
        patch(l);
        sys::lua_settop(l, 0);
        if library::registered(l, c"_PRELOAD") {
            library::replace(l, NAME, open);
        }
    }
    0
}

/// Wraps the functions of the library that is on top of the stack.
unsafe fn patch(l: *mut lua_State) {
    // SAFETY: by the caller: a value, and free slots.
    unsafe {
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            library::replace(l, c"start", start);
            library::replace(l, c"stop", stop);
        }
    }
}

/// In the place of `luaopen_jit_profile`.
unsafe extern "C-unwind" fn open(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that Lua has called.
    unsafe {
        library::original(l, 1, || {});
        patch(l);
    }
    1
}

/// In the place of `jit.profile.start`: does what that does, with a callback of ours.
unsafe extern "C-unwind" fn start(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that Lua has called. The state is on this thread.
    unsafe {
        let Some(state) = state_of(l).filter(|s| s.jit.get() == Jit::Guarded) else {
            library::original(l, 0, || {});
            return 0;
        };
        let mode = sys::luaL_optlstring(l, 1, c"".as_ptr(), ptr::null_mut());
        sys::luaL_checktype(l, 2, sys::LUA_TFUNCTION);
        let mode = CStr::from_ptr(sys::luaL_gsub(l, mode, c"f".as_ptr(), c"l".as_ptr()));
        jit::take_back(state, l); // starting again means stopping first
        let runs_callback = sys::lua_newthread(l);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, (&raw const THREAD).cast());
        sys::lua_pushvalue(l, 2);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, (&raw const CALLBACK).cast());
        jit::lend(state, || {
            profiler::start(l, mode, sample, runs_callback.cast());
        });
    }
    0
}

/// Calls the script's callback. `data` is the coroutine that it runs in.
///
/// LuaJIT calls this with whatever state has the bit, on that state's thread, and once for each delivery of ours too, then without samples.
unsafe extern "C-unwind" fn sample(
    data: *mut c_void,
    l: *mut lua_State,
    samples: c_int,
    what: c_int,
) {
    // SAFETY: `l` runs here, and LuaJIT holds hooks off. The coroutine is of the state that has the profiler, where it is anchored; it is used only if `l` is
    // of that state, and then this is its thread. (A state that ends stops the profiler.)
    unsafe {
        if samples == 0 || !state_of(l).is_some_and(jit::is_lent_to) {
            return;
        }
        let to: *mut lua_State = data.cast();
        let mut sample = Sample { l, samples, what };
        // An error of the script's function, or for want of memory, has nowhere to go: LuaJIT ends the process then. A stop is delivered again
        // when this is over.
        sys::protected(to, call_back, (&raw mut sample).cast());
        sys::lua_settop(to, 0);
        sys::abort_recording(to);
    }
}

/// What the script's callback is told.
struct Sample {
    l: *mut lua_State,
    samples: c_int,
    what: c_int,
}

/// **longjmp**.
unsafe extern "C-unwind" fn call_back(to: *mut lua_State) -> c_int {
    // SAFETY: a C function with LUA_MINSTACK free slots; the sample outlives the call.
    unsafe {
        let sample = &*sys::lua_touserdata(to, 1).cast::<Sample>();
        sys::lua_rawgetp(to, sys::LUA_REGISTRYINDEX, (&raw const CALLBACK).cast());
        if sys::lua_checkstack(sample.l, 1) == 0 {
            return 0;
        }
        sys::lua_pushthread(sample.l);
        sys::lua_xmove(sample.l, to, 1);
        sys::lua_pushinteger(to, sample.samples as sys::lua_Integer);
        let letter = sample.what as u8;
        sys::lua_pushlstring(to, (&raw const letter).cast(), 1);
        sys::lua_call(to, 3, 0);
    }
    0
}

/// In the place of `jit.profile.stop`.
unsafe extern "C-unwind" fn stop(l: *mut lua_State) -> c_int {
    // SAFETY: as in `start`.
    unsafe {
        library::original(l, 0, || {});
        if let Some(state) = state_of(l) {
            jit::take_back(state, l);
        }
        for key in [&raw const THREAD, &raw const CALLBACK] {
            sys::lua_pushnil(l);
            sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key.cast());
        }
    }
    0
}
