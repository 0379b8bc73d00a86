//! The errors of `mtint`: strings that contain a name, by which they are told apart.
//!
//! The table `mtint.error` has each name under its last word: `mtint.error.interrupted == "mtint.error.interrupted"`. The original's
//! documentation speaks of `mtint.error.interrupt` as well; that is a name here too, and since it is the beginning of the other, whoever
//! looks for it finds the same error.

use crate::table::set_string;
use crate::text::Text;
use leash::sys::{self, lua_State};
use std::ffi::{CStr, c_int};

pub const NOT_SUPPORTED: &CStr = c"mtint.error.not_supported";
pub const OUT_OF_MEMORY: &CStr = c"mtint.error.out_of_memory";
const UNKNOWN_OBJECT: &CStr = c"mtint.error.unknown_object";

/// Keys and values of the table. `interrupted` is raised by `handlers`; `object_exists` and `object_closed` by nobody, as in
/// the original, where programs may ask for them.
const ALL: [(&CStr, &CStr); 7] = [
    (c"interrupted", c"mtint.error.interrupted"),
    (c"interrupt", c"mtint.error.interrupt"),
    (c"not_supported", NOT_SUPPORTED),
    (c"unknown_object", UNKNOWN_OBJECT),
    (c"object_exists", c"mtint.error.object_exists"),
    (c"object_closed", c"mtint.error.object_closed"),
    (c"out_of_memory", OUT_OF_MEMORY),
];

/// Pushes the table `mtint.error`.
///
/// # Safety
/// In a C function, with three free slots. May raise.
pub unsafe fn publish(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_createtable(l, 0, ALL.len() as c_int);
        for (key, value) in ALL {
            set_string(l, key, value);
        }
    }
}

/// Raises `name: details`, with the position of the caller. Does not return; the `c_int` is for `return raise(..)`.
///
/// # Safety
/// In a C function that Lua has called. Raises.
pub unsafe fn raise(l: *mut lua_State, name: &CStr, details: Text) -> c_int {
    // SAFETY: by the caller; `Text` has no destructor.
    unsafe { sys::luaL_error(l, c"%s: %s".as_ptr(), name.as_ptr(), details.as_ptr()) }
}

/// Raises that an id is unknown. Does not return.
///
/// # Safety
/// As [`raise`].
pub unsafe fn unknown(l: *mut lua_State, id: u64) -> c_int {
    let details = Text::of(format_args!("interruptible id {id}"));
    // SAFETY: by the caller.
    unsafe { raise(l, UNKNOWN_OBJECT, details) }
}
