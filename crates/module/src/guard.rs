//! `leash.guard_stdlib([env])`: functions of the libraries `string` and `table`, and basic functions, that can be stopped or look up, in place of the originals.
//!
//! Four tables are looked at: `env`, `env.table`, if there is one, `env.string`, and the one in which strings find their methods (`__index` of their metatable), which code in any environment
//! reaches by `s:find()`. The last two are nearly always the same. Fields that are not the originals are left alone ([`leash::stdlib`]).

use leash::stdlib;
use leash::sys::{self, lua_State};
use std::ffi::c_int;

/// `leash.guard_stdlib([env])`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn guard_stdlib(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe {
        let given = sys::lua_isnoneornil(l, 1) == 0;
        if given {
            sys::luaL_checktype(l, 1, sys::LUA_TTABLE);
            sys::lua_settop(l, 1);
        } else {
            sys::lua_settop(l, 0);
            push_globals(l);
        }
        sys::lua_getfield(l, 1, c"string".as_ptr());
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            stdlib::guard(l, -1);
        } else if given {
            sys::luaL_argerror(l, 1, c"there is no table 'string' in it".as_ptr());
        }
        stdlib::guard(l, 1);
        guard_methods(l);
        sys::lua_getfield(l, 1, c"table".as_ptr());
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            stdlib::guard(l, -1);
        }
        sys::lua_settop(l, 1);
    }
    1
}

/// Those that strings have as methods.
unsafe fn guard_methods(l: *mut lua_State) {
    // SAFETY: by the caller. The metatable is read without metamethods.
    unsafe {
        sys::lua_pushstring(l, c"".as_ptr());
        if sys::lua_getmetatable(l, -1) != 0 {
            sys::lua_pushstring(l, c"__index".as_ptr());
            sys::lua_rawget(l, -2);
            if sys::lua_type(l, -1) == sys::LUA_TTABLE {
                stdlib::guard(l, -1);
            }
        }
    }
}

unsafe fn push_globals(l: *mut lua_State) {
    // SAFETY: one free slot. The registry holds the table, unless somebody with `debug` has taken it away.
    unsafe {
        #[cfg(any(feature = "lua51", feature = "luajit"))]
        sys::lua_pushvalue(l, sys::LUA_GLOBALSINDEX);
        #[cfg(not(any(feature = "lua51", feature = "luajit")))]
        sys::lua_rawgeti(l, sys::LUA_REGISTRYINDEX, sys::LUA_RIDX_GLOBALS as _);
        sys::luaL_checktype(l, -1, sys::LUA_TTABLE);
    }
}
