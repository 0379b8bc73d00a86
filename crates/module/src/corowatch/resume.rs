//! `corowatch.resume` and what `wrap` returns: all that has to be fast.
//!
//! Compared with `coroutine.resume` these read a clock and keep a frame; in return they leave out what is not needed when there is
//! nothing to pass on, which is most of the time. What is passed on, is by the same calls.

use super::{DISPATCH, callbacks, guest, key, message};
use crate::compat;
use crate::watch::doom;
use leash::sys::{self, lua_State};
use leash::{Guest, Resumed};
use std::ffi::{CStr, c_int};

/// More results than this need a look at the stack: a C function has `LUA_MINSTACK` free slots.
const FEW: c_int = sys::LUA_MINSTACK - 2;

/// `corowatch.resume(co, ...)`, as `coroutine.resume`, under the watch of `co` if it has one.
pub unsafe extern "C-unwind" fn resume(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua, with the stack it is promised. What raises, raises over plain data.
    unsafe {
        let co = sys::lua_tothread(l, 1);
        if co.is_null() {
            return sys::luaL_argerror(l, 1, c"coroutine expected".as_ptr());
        }
        let nargs = sys::lua_gettop(l) - 1;
        go(l, co, 1, nargs)
    }
}

/// The function that a watched `wrap` returns. Its coroutine is the upvalue. It returns the results of `resume`, as the original
/// does.
pub unsafe extern "C-unwind" fn wrapped(l: *mut lua_State) -> c_int {
    // SAFETY: as `resume`.
    unsafe {
        let index = sys::lua_upvalueindex(1);
        let co = sys::lua_tothread(l, index);
        let nargs = sys::lua_gettop(l);
        go(l, co, index, nargs)
    }
}

/// Resumes `co`, which is at `index`, with the topmost `nargs` values.
#[inline(always)] // 1 ns
unsafe fn go(l: *mut lua_State, co: *mut lua_State, index: c_int, nargs: c_int) -> c_int {
    // SAFETY: as `resume`; `co` is a coroutine of the same state.
    unsafe {
        // The allocator that tells of the guest is in force since the module was opened.
        let guest = guest(l);
        let polled = guest.asks_before_resume() && follows_users_clock(l, guest, index);
        let looks_fine = if compat::RESUME_CHECKS {
            co != l // which `lua_resume` would find as well, but its message would be on the same stack
        } else {
            sys::lua_status(co) == sys::LUA_YIELD
        };
        if !looks_fine && let Some(why) = not_resumable(l, co) {
            return if guest.is_killed(co) {
                say_why(l, guest, co)
            } else {
                failed(l, why)
            };
        }
        if nargs > 0 {
            if guest.is_killed(co) {
                return say_why(l, guest, co); // what is moved to it now would stay there
            }
            if sys::lua_checkstack(co, nargs) == 0 {
                return failed(l, c"too many arguments to resume");
            }
            sys::lua_xmove(l, co, nargs);
        }
        let resumed = if polled {
            guest.resume_polled(l, co, nargs)
        } else {
            guest.resume(l, co, nargs)
        };
        if compat::KEEPS_CYCLES && !matches!(resumed, Resumed::Status(sys::LUA_YIELD, _)) {
            callbacks::let_go(l, guest, co, index, resumed);
        }
        match resumed {
            Resumed::Status(sys::LUA_OK | sys::LUA_YIELD, 0) => {
                sys::lua_pushboolean(l, 1);
                1
            }
            Resumed::Status(sys::LUA_OK | sys::LUA_YIELD, nres) => {
                if nres > FEW && sys::lua_checkstack(l, nres + 1) == 0 {
                    sys::lua_settop(co, -nres - 1);
                    return failed(l, c"too many results to resume");
                }
                sys::lua_pushboolean(l, 1);
                sys::lua_xmove(co, l, nres);
                nres + 1
            }
            Resumed::Status(..) => {
                sys::lua_pushboolean(l, 0);
                sys::lua_xmove(co, l, 1);
                2
            }
            Resumed::Killed => say_why(l, guest, co),
        }
    }
}

/// Why a coroutine that has not yielded cannot be resumed, in the words of `coroutine.resume`.
///
/// # Safety
/// `co` is a live coroutine of the state of `l`.
#[cold]
unsafe fn not_resumable(l: *mut lua_State, co: *mut lua_State) -> Option<&'static CStr> {
    // SAFETY: by the caller.
    unsafe {
        let mut ar = std::mem::zeroed();
        match sys::lua_status(co) {
            sys::LUA_OK if co == l => Some(compat::RUNNING),
            sys::LUA_OK if sys::lua_getstack(co, 0, &mut ar) != 0 => Some(compat::NORMAL),
            sys::LUA_OK if sys::lua_gettop(co) > 0 => None,
            _ => Some(c"cannot resume dead coroutine"),
        }
    }
}

/// `false` and the reason.
///
/// # Safety
/// As a `lua_CFunction`.
unsafe fn failed(l: *mut lua_State, why: &'static CStr) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushboolean(l, 0);
        sys::lua_pushstring(l, why.as_ptr());
    }
    2
}

/// Asks the glue by which clock the limits of the coroutine at `index` go.
///
/// # Safety
/// As a `lua_CFunction`. May raise.
#[cold]
unsafe fn follows_users_clock(l: *mut lua_State, guest: Guest, index: c_int) -> bool {
    // SAFETY: by the caller. Three slots are free beyond the arguments.
    unsafe {
        let co = sys::lua_tothread(l, index);
        let follows = guest.watch_of(co).is_some() && guest.ward_of(co).is_none();
        if !follows || guest.is_killed(co) || co == guest.main() {
            return false;
        }
        // What cannot be resumed has a resume that goes on, whose clock is not to be touched.
        if sys::lua_status(co) != sys::LUA_YIELD && not_resumable(l, co).is_some() {
            return false;
        }
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&DISPATCH));
        sys::lua_pushstring(l, c"start".as_ptr());
        sys::lua_pushvalue(l, index);
        sys::lua_call(l, 2, 1);
        let polled = sys::lua_toboolean(l, -1) != 0;
        sys::lua_settop(l, -2);
        polled
    }
}

/// `false` and the message of a coroutine that was killed.
///
/// # Safety
/// As a `lua_CFunction`.
#[cold]
unsafe fn say_why(l: *mut lua_State, guest: Guest, co: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        if guest.is_doomed(co) {
            return doom::say_why(l, guest, co);
        }
        sys::lua_pushboolean(l, 0);
        message::push_last(l, guest, co);
    }
    2
}
