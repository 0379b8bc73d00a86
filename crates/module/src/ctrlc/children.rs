//! Children that hear Ctrl-C.
//!
//! A child process inherits the signals that its maker blocks, across `exec` too. `os.execute` and `io.popen` are the ways to make one in
//! the standard library, so they are replaced: what stands in for them lets SIGINT through for as long as they run. (`os.execute` has
//! the parent ignore it meanwhile, as ever.) A copy of them that was taken before this module was loaded makes children that do
//! not hear Ctrl-C, and so does a C library that calls `posix_spawn` and says nothing of signals. The child of a `fork` is looked
//! after by [`super::taker`].

use super::signals;
use leash::sys::{self, lua_CFunction, lua_State};
use std::ffi::{CStr, c_int};
use std::ptr;

/// Replaces the functions of the standard library, where they are.
///
/// # Safety
/// In a C function, with four free slots. May raise.
pub unsafe fn wrap(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        replace(l, c"os", c"execute", execute);
        replace(l, c"io", c"popen", popen);
    }
}

unsafe fn replace(l: *mut lua_State, library: &CStr, name: &CStr, with: lua_CFunction) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_getglobal(l, library.as_ptr());
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            sys::lua_pushstring(l, name.as_ptr());
            sys::lua_rawget(l, -2);
            // A C function, and not ours already.
            let theirs = sys::lua_tocfunction(l, -1);
            if theirs.is_some_and(|f| f as usize != with as usize) {
                sys::lua_pushcclosure(l, with, 1);
                sys::lua_setfield(l, -2, name.as_ptr());
            } else {
                sys::lua_settop(l, -2);
            }
        }
        sys::lua_settop(l, -2);
    }
}

/// `os.execute([command])`
unsafe extern "C-unwind" fn execute(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua. Wrong arguments are told here, where the function has its name.
    unsafe {
        if sys::lua_isnoneornil(l, 1) == 0 {
            sys::luaL_checklstring(l, 1, ptr::null_mut());
        }
        if heard(l) != 0 {
            sys::lua_error(l);
        }
        sys::lua_gettop(l)
    }
}

/// `io.popen(program [, mode])`
///
/// Whether the mode is looked at is up to the release, so that is left to the original; but its error would name neither the function, which
/// is nowhere to be found by now, nor the place of the call.
unsafe extern "C-unwind" fn popen(l: *mut lua_State) -> c_int {
    // SAFETY: as `execute`. The mode is on the stack while it is read.
    unsafe {
        sys::luaL_checklstring(l, 1, ptr::null_mut());
        let mut odd = false;
        if sys::lua_isnoneornil(l, 2) == 0 {
            let mode = CStr::from_ptr(sys::luaL_checklstring(l, 2, ptr::null_mut()));
            odd = mode != c"r" && mode != c"w";
        }
        let status = heard(l);
        if status == sys::LUA_ERRRUN && odd && sys::lua_type(l, -1) == sys::LUA_TSTRING {
            sys::luaL_argerror(l, 2, c"invalid mode".as_ptr());
        }
        if status != 0 {
            sys::lua_error(l);
        }
        sys::lua_gettop(l)
    }
}

/// Calls the function that is the upvalue, with SIGINT let through: the status of a protected call, and nothing on the stack but what it has left.
unsafe fn heard(l: *mut lua_State) -> c_int {
    // SAFETY: in a C function called by Lua. The call is protected, so SIGINT is blocked again in any case.
    unsafe {
        let nargs = sys::lua_gettop(l);
        sys::lua_pushvalue(l, sys::lua_upvalueindex(1));
        sys::lua_insert(l, 1);
        let was_blocked = signals::block(false);
        let status = sys::lua_pcall(l, nargs, sys::LUA_MULTRET, 0);
        if was_blocked {
            signals::block(true);
        }
        status
    }
}
