//! `require "leash.ctrlc"`: Ctrl-C stops what runs, in coroutines and compiled code as well.
//!
//! The standard interpreters take SIGINT while a chunk runs: their handler sets a hook on the main state, and puts the default action
//! back, so that a second Ctrl-C ends the process. On PUC Lua no coroutine sees that hook, on LuaJIT no compiled code does. This module
//! adds what is missing, and leaves the rest as it is.
//!
//! **How.** The interpreters install their handler anew for each chunk, which is why ours cannot be one: it would be gone with the next
//! line at the prompt. Instead SIGINT is blocked in the thread that runs the state, and [a thread of ours](taker) waits for it. It looks
//! what the process would have done (the *earlier handler*, [`Before`]), has that done on the state's thread, and [breaks
//! off](leash::Handle::break_off) what the state runs: an error, `interrupted!`, as the interpreter's own, but wherever the code is.
//!
//! **Children** inherit blocked signals, and would not hear Ctrl-C: so `os.execute` and `io.popen` unblock it ([`children`]).
//!
//! Considered and dropped: to look ten times a second whether our handler is still there; a kill that cannot be caught (it would end an
//! interpreter that is written in Lua, instead of the line that runs in it).

mod children;
mod signals;
mod taker;

use crate::attach::guest;
use crate::leash_module::VERSION;
use crate::table::set_string;
use crate::text::Text;
use leash::sys::{self, lua_State};
use std::ffi::c_int;

/// Makes the table of the module, and takes Ctrl-C for this state.
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe fn open(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. The error's text lies on the stack.
    unsafe {
        let guest = guest(l);
        guest.on_break(interrupted);
        children::wrap(l);
        let mut message = Text::of("");
        if let Err(e) = taker::take_for(guest) {
            message = Text::of(e);
        }
        if !message.is_empty() {
            sys::luaL_error(l, c"cannot take Ctrl-C: %s".as_ptr(), message.as_ptr());
        }
        sys::lua_createtable(l, 0, 1);
        set_string(l, c"_VERSION", VERSION);
    }
    1
}

/// In the hook of what runs: raises the interpreter's own error.
unsafe extern "C-unwind" fn interrupted(l: *mut lua_State, _: *mut lua_State) {
    // SAFETY: in a hook, which has free slots. Nothing here owns anything.
    unsafe {
        crate::handlers::push_position(l);
        sys::lua_pushstring(l, c"interrupted!".as_ptr());
        sys::lua_concat(l, 2);
        sys::lua_error(l);
    }
}
