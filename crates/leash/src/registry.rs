//! What lies in a state's registry under an address of ours.

use crate::sys::{self, lua_State};
use std::ffi::c_void;

/// Takes it away. Raises nothing and asks for no memory: only what is there is set to nil, which makes no table larger.
///
/// # Safety
/// `l` is live, runs on this thread and has two free stack slots. If something has been put there, `key` was a light userdata of this state: LuaJIT
/// asks for memory when it sees the first of a region.
pub unsafe fn forget(l: *mut lua_State, key: *mut c_void) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushlightuserdata(l, key);
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        let there = sys::lua_type(l, -1) != sys::LUA_TNIL;
        sys::lua_settop(l, -2);
        if there {
            sys::lua_pushlightuserdata(l, key);
            sys::lua_pushnil(l);
            sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
        }
    }
}
