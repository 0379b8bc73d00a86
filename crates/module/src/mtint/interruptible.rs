//! Interruptible objects: an id that stays known while the object lives.
//!
//! A userdata with the id in it. It does not keep the state alive, and does not belong to it: any Lua state can make one for any id.

use super::errors;
use super::held::{self, Hold};
use crate::args;
use crate::compat::push_whole;
use crate::handlers;
use crate::table::{set_functions, set_string};
use crate::text::Text;
use leash::sys::{self, lua_State};
use std::ffi::{CStr, c_int};

const CLASS: &CStr = c"mtint.interruptible";

/// Makes the metatable.
///
/// # Safety
/// In a C function, with four free slots. May raise.
pub unsafe fn make_class(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        if sys::luaL_newmetatable(l, CLASS.as_ptr()) != 0 {
            set_functions(l, &[(c"__gc", collect), (c"__tostring", to_string)]);
            set_string(l, c"__metatable", CLASS);
            sys::lua_createtable(l, 0, 2);
            set_functions(l, &[(c"id", id), (c"interrupt", interrupt)]);
            sys::lua_setfield(l, -2, c"__index".as_ptr());
        }
        sys::lua_settop(l, -2);
    }
}

/// The id of the object at index 1. Raises `bad argument` for anything else.
unsafe fn id_of(l: *mut lua_State) -> *mut u64 {
    // SAFETY: in a C function called by Lua. An object of the class was made by `new`.
    unsafe { sys::luaL_checkudata(l, 1, CLASS.as_ptr()).cast() }
}

/// `mtint.interruptible(id)`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn new(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller; nothing here owns anything. The object is complete before the id is counted, so that what can raise
    // is over by then, and its finalizer counts back what was counted.
    unsafe {
        let id = args::id(l, 1);
        let object = sys::lua_newuserdata(l, size_of::<u64>()).cast::<u64>();
        object.write(0);
        sys::lua_getfield(l, sys::LUA_REGISTRYINDEX, CLASS.as_ptr());
        sys::lua_setmetatable(l, -2);
        match held::hold(id) {
            Hold::Done => object.write(id),
            Hold::Unknown => return errors::unknown(l, id),
            Hold::NoMemory => {
                return errors::raise(l, errors::OUT_OF_MEMORY, Text::of("interruptible object"));
            }
        }
    }
    1
}

/// `interruptible:interrupt([flag])`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn interrupt(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller; nothing here owns anything.
    unsafe {
        let id = id_of(l).read();
        let exists = leash::interrupt(id, handlers::how(l, 2));
        sys::lua_pushboolean(l, exists.into());
    }
    1
}

/// `interruptible:id()`
unsafe extern "C-unwind" fn id(l: *mut lua_State) -> c_int {
    // SAFETY: as `interrupt`.
    unsafe { push_whole(l, id_of(l).read()) };
    1
}

/// `tostring(interruptible)`
unsafe extern "C-unwind" fn to_string(l: *mut lua_State) -> c_int {
    // SAFETY: as `interrupt`; the text lies on the stack.
    unsafe {
        let object = id_of(l);
        let id = Text::of(object.read());
        sys::lua_pushfstring(
            l,
            c"%s: %p (id=%s)".as_ptr(),
            CLASS.as_ptr(),
            object,
            id.as_ptr(),
        );
    }
    1
}

/// The finalizer. An object that is used afterwards, by another finalizer, has the id 0, which names nothing.
unsafe extern "C-unwind" fn collect(l: *mut lua_State) -> c_int {
    // SAFETY: as `interrupt`.
    unsafe { held::release(id_of(l).replace(0)) };
    0
}
