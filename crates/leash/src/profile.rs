//! LuaJIT: `jit.profile` in a guarded state; `jit.on` in one that is not.
//!
//! The script may use the profiler (`jit.profile`, `jit.p`). Two things must not happen then: its `start("f")` would switch the
//! guards to function mode, in which a loop that calls nothing has none; and it could not start at all, since our helper owns the profiler
//! ([`crate::jit`]). So `start` and `stop` of the library are wrapped in guarded states: `start` gets the profiler from the
//! helper, if no other state is guarded, and asks for lines where the script asks for functions, which makes more guards and not fewer; `stop`
//! gives it back.
//!
//! The library is wrapped where `require` finds it: in `package.loaded`, and in `package.preload`, from where it comes when it is first
//! asked for. `jit.on()` is wrapped as well: where compiled code has no guards and a call with limits is open, the compiler stays off.
//! A script that has kept `start` from before the attach, or gets it back by the library `debug`, has the plain one.

use crate::hook::state_of;
use crate::jit::{self, Jit};
use crate::state::State;
use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_int};
use std::ptr;

const NAME: &CStr = c"jit.profile";

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
        if get(l, c"_LOADED") {
            sys::lua_pushstring(l, c"jit".as_ptr());
            sys::lua_rawget(l, -2);
            if sys::lua_type(l, -1) == sys::LUA_TTABLE {
                replace(l, c"on", on);
            }
            sys::lua_settop(l, -2);
            sys::lua_pushstring(l, NAME.as_ptr());
            sys::lua_rawget(l, -2);
            patch(l);
        }
        sys::lua_settop(l, 0);
        if get(l, c"_PRELOAD") {
            replace(l, NAME, open);
        }
    }
    0
}

/// Pushes a table of the registry. False if it is not there.
unsafe fn get(l: *mut lua_State, name: &CStr) -> bool {
    // SAFETY: by the caller: free slots.
    unsafe {
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        sys::lua_type(l, -1) == sys::LUA_TTABLE
    }
}

/// Replaces a function in the table on top of the stack by one that has it as its upvalue.
unsafe fn replace(l: *mut lua_State, name: &CStr, f: sys::lua_CFunction) {
    // SAFETY: by the caller: a table, and free slots.
    unsafe {
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_rawget(l, -3);
        let now = sys::lua_tocfunction(l, -1).map(|f| f as usize);
        if now.is_some_and(|now| now != f as usize) {
            sys::lua_pushcclosure(l, f, 1);
            sys::lua_rawset(l, -3);
        } else {
            sys::lua_settop(l, -3);
        }
    }
}

/// Wraps the functions of the library that is on top of the stack.
unsafe fn patch(l: *mut lua_State) {
    // SAFETY: by the caller: a value, and free slots.
    unsafe {
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            replace(l, c"start", start);
            replace(l, c"stop", stop);
        }
    }
}

/// Calls the function that is wrapped with all arguments; leaves its results, or raises its error after `failed`.
unsafe fn original(l: *mut lua_State, results: c_int, failed: impl FnOnce()) {
    // SAFETY: the upvalue is a function, by `replace`.
    unsafe {
        let arguments = sys::lua_gettop(l);
        sys::lua_pushvalue(l, sys::lua_upvalueindex(1));
        sys::lua_insert(l, 1);
        if sys::lua_pcall(l, arguments, results, 0) != 0 {
            failed();
            sys::lua_error(l);
        }
    }
}

/// In the place of `luaopen_jit_profile`.
unsafe extern "C-unwind" fn open(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that Lua has called.
    unsafe {
        original(l, 1, || {});
        patch(l);
    }
    1
}

/// In the place of `jit.on`.
unsafe extern "C-unwind" fn on(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that Lua has called.
    unsafe {
        let must_be_off =
            |state: &State| state.jit.get() == Jit::Interpreted && state.interpreted.get();
        if sys::lua_type(l, 1) <= sys::LUA_TNIL && state_of(l).is_some_and(must_be_off) {
            return 0;
        }
        // Not through `lua_pcall`: `jit.on(true)` is about the function that calls it, and looks for it one level up.
        match sys::lua_tocfunction(l, sys::lua_upvalueindex(1)) {
            Some(jit_on) => jit_on(l),
            None => 0,
        }
    }
}

/// What LuaJIT passes to the callback. Kept, so that nothing has to be allocated for it, where no error is caught.
const VMSTATES: [&CStr; 5] = [c"N", c"I", c"C", c"G", c"J"];

/// In the place of the script's callback: calls it, and lets no error through, for LuaJIT ends the process then (`jit_profile_callback`
/// in `lib_jit.c`). A stop is delivered again when the callback is over.
unsafe extern "C-unwind" fn sample(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that LuaJIT has called; the upvalue is a function, by `start`.
    unsafe {
        let arguments = sys::lua_gettop(l);
        sys::lua_pushvalue(l, sys::lua_upvalueindex(1));
        sys::lua_insert(l, 1);
        sys::lua_pcall(l, arguments, 0, 0);
    }
    0
}

/// In the place of `jit.profile.start`.
unsafe extern "C-unwind" fn start(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that Lua has called. The state is on this thread.
    unsafe {
        let Some(state) = state_of(l).filter(|s| s.jit.get() == Jit::Guarded) else {
            original(l, 0, || {});
            return 0;
        };
        sys::luaL_optlstring(l, 1, ptr::null(), ptr::null_mut());
        sys::luaL_checktype(l, 2, sys::LUA_TFUNCTION);
        if sys::lua_type(l, 1) == sys::LUA_TSTRING {
            let mode = sys::lua_tostring(l, 1);
            sys::luaL_gsub(l, mode, c"f".as_ptr(), c"l".as_ptr());
            sys::lua_replace(l, 1);
        }
        sys::lua_pushvalue(l, 2);
        for vmstate in VMSTATES {
            sys::lua_pushstring(l, vmstate.as_ptr());
        }
        sys::lua_pushcclosure(l, sample, 1 + VMSTATES.len() as c_int);
        sys::lua_replace(l, 2);
        jit::take_back(state); // starting again means stopping first
        if jit::lend(state) {
            original(l, 0, || jit::take_back(state));
        }
    }
    0
}

/// In the place of `jit.profile.stop`.
unsafe extern "C-unwind" fn stop(l: *mut lua_State) -> c_int {
    // SAFETY: as in `start`.
    unsafe {
        original(l, 0, || {});
        if let Some(state) = state_of(l) {
            jit::take_back(state);
        }
    }
    0
}
