//! Callbacks go with their coroutines.
//!
//! Tables with weak keys hold them, by coroutine. On 5.1 and LuaJIT such a table keeps a value whatever becomes of the key, and so a key to which its own value refers: a callback
//! that knows its coroutine, as an upvalue, would keep both for ever. So when one of our resumes sees a coroutine end, its callback is taken out of the table. One
//! that is dropped while it is suspended, or that others resume, is not seen to end (`docs/corowatch.md`).

use super::key;
use crate::watch::warning;
use leash::sys::{self, lua_State};
use leash::{Guest, Resumed};
use std::ffi::c_int;

/// Registry key of the table of the glue: the address.
static CALLBACKS: u8 = 0;

/// Keeps the table that is on top of the stack, and pops it.
///
/// # Safety
/// In a C function. May raise.
pub unsafe fn open(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&CALLBACKS)) };
}

/// A resume of the coroutine `co`, at `index`, has ended so, and not by a yield. If the coroutine has ended as well, nothing is kept for it any more. (It has not where there was no
/// room on the C stack to resume it.)
///
/// # Safety
/// In a C function, with four free slots. `index` is not relative to the top.
#[cold]
pub unsafe fn let_go(
    l: *mut lua_State,
    guest: Guest,
    co: *mut lua_State,
    index: c_int,
    resumed: Resumed,
) {
    // SAFETY: by the caller.
    unsafe {
        let ended = match resumed {
            Resumed::Status(sys::LUA_OK, _) | Resumed::Killed => true,
            Resumed::Status(..) => sys::lua_status(co) > sys::LUA_YIELD,
        };
        if !ended || guest.watch_of(co).is_none() {
            return;
        }
        let top = sys::lua_gettop(l);
        if guest.ward_of(co).is_some() {
            warning::push_functions(l);
        } else {
            sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&CALLBACKS));
        }
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            sys::lua_pushvalue(l, index);
            sys::lua_rawget(l, -2);
            // Only a field that is there is set: a new one would need memory.
            if sys::lua_type(l, -1) != sys::LUA_TNIL {
                sys::lua_pushvalue(l, index);
                sys::lua_pushnil(l);
                sys::lua_rawset(l, -4);
            }
        }
        sys::lua_settop(l, top);
    }
}
