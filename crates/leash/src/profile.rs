//! LuaJIT: `jit.profile` in a guarded state.
//!
//! The script may use the profiler (`jit.profile`, `jit.p`). Two things must not happen then: its `start("f")` would switch the
//! guards to function mode, in which a loop that calls nothing has none; and it could not start at all, since our helper owns the profiler
//! ([`crate::jit`]). So `start` and `stop` of the library are wrapped in guarded states: `start` gets the profiler from the
//! helper, unless the script of another state has it, and asks for lines where the script asks for functions, which makes more guards and not fewer; `stop`
//! gives it back. [`sampling`] takes the samples.
//!
//! The library is wrapped where `require` finds it: in `package.loaded`, and in `package.preload`, from where it comes when it is first
//! asked for. A script that has kept `start` from before the attach, or gets it back by the library `debug`, has the plain one.

use crate::hook::state_of;
use crate::jit::{self, Jit, sampling};
use crate::library;
use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;

const NAME: &CStr = c"jit.profile";

/// Wraps the library, if it is there. False if there is no memory for it.
///
/// # Safety
/// `l` is a live state on its own thread with free stack, not in a signal handler.
pub unsafe fn wrap(l: *mut lua_State) -> bool {
    // SAFETY: by the caller; `install` takes nothing.
    unsafe { library::run(l, install) }
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

/// Its address is the key in the registry of the coroutine in which the script's callback runs.
static CALLBACK: u8 = 0;

fn callback_key() -> *mut c_void {
    (&raw const CALLBACK).cast_mut().cast()
}

/// Makes that coroutine, with what [`sampling`] wants on its stack, from the function at index 2. **longjmp**.
unsafe fn new_callback(l: *mut lua_State) -> *mut lua_State {
    // SAFETY: by the caller: a C function that Lua has called.
    unsafe {
        sys::lua_pushlightuserdata(l, callback_key());
        let co = sys::lua_newthread(l);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
        sys::lua_pushvalue(l, 2);
        for vmstate in sampling::VMSTATES {
            sys::lua_pushstring(l, vmstate.as_ptr());
        }
        sys::lua_xmove(l, co, 1 + sampling::VMSTATES.len() as c_int);
        co
    }
}

/// In the place of `jit.profile.start`.
unsafe extern "C-unwind" fn start(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that Lua has called. The state is on this thread.
    unsafe {
        let Some(state) = state_of(l).filter(|s| s.jit.get() == Jit::Guarded) else {
            library::original(l, 0, || {});
            return 0;
        };
        sys::luaL_optlstring(l, 1, c"".as_ptr(), ptr::null_mut());
        sys::luaL_checktype(l, 2, sys::LUA_TFUNCTION);
        sys::lua_settop(l, 2);
        jit::take_back(state, l); // starting again means stopping first
        let callback = new_callback(l);
        let mode = match sys::lua_type(l, 1) {
            sys::LUA_TSTRING | sys::LUA_TNUMBER => {
                sys::luaL_gsub(l, sys::lua_tostring(l, 1), c"f".as_ptr(), c"l".as_ptr())
            }
            _ => c"".as_ptr(),
        };
        jit::lend(state, CStr::from_ptr(mode), callback);
    }
    0
}

/// In the place of `jit.profile.stop`.
unsafe extern "C-unwind" fn stop(l: *mut lua_State) -> c_int {
    // SAFETY: as in `start`.
    unsafe {
        if let Some(state) = state_of(l) {
            jit::take_back(state, l);
        }
        library::original(l, 0, || {});
        sys::lua_pushlightuserdata(l, callback_key());
        sys::lua_pushnil(l);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
    }
    0
}
