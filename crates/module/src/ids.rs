//! What can be done with an integer, from any thread: `leash.id`, `state_id`, `interrupt`, `kill`, `traceback`.
//!
//! Messages go to other states, so they are copied: into memory of our own, before anything of Lua is called again.

use crate::args;
use crate::attach::guest;
use crate::compat::push_whole;
use leash::sys::{self, lua_State};
use leash::{Guest, How, Untraced};
use std::ffi::{c_char, c_int};
use std::time::Duration;

/// How long `leash.traceback` waits, unless told otherwise.
const PATIENCE: f64 = 1.0;

unsafe fn push_id(l: *mut lua_State, id: Option<u64>) -> c_int {
    // SAFETY: in a C function called by Lua.
    unsafe {
        match id {
            Some(id) => push_whole(l, id),
            None => return sys::luaL_error(l, c"there are too many ids".as_ptr()),
        }
    }
    1
}

/// `leash.id([co])`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn id(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller; nothing here owns anything.
    unsafe {
        let co = args::coroutine(l, 1);
        let guest = guest(l);
        guest.on_ward(crate::watch::warning::warn, crate::watch::doom::push);
        push_id(l, guest.id(co))
    }
}

/// `leash.state_id()`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn state_id(l: *mut lua_State) -> c_int {
    // SAFETY: as `id`.
    unsafe { push_id(l, guest(l).state_id()) }
}

/// The message at `index`, if there is one: where it is, as long as it is on the stack.
unsafe fn message<'a>(l: *mut lua_State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: in a C function called by Lua. Raises `bad argument` for what is no string.
    unsafe {
        if sys::lua_isnoneornil(l, index) != 0 {
            return None;
        }
        let mut len = 0;
        let start = sys::luaL_checklstring(l, index, &mut len);
        Some(std::slice::from_raw_parts(start.cast(), len))
    }
}

fn text(message: &[u8]) -> String {
    String::from_utf8_lossy(message).into_owned()
}

/// `leash.interrupt(id [, message])`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn interrupt(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. The copy of the message belongs to the engine before Lua is called again.
    unsafe {
        let id = args::id(l, 1);
        let exists = match message(l, 2) {
            None => leash::interrupt(id, How::Once),
            Some(message) => leash::interrupt_with(id, text(message)),
        };
        sys::lua_pushboolean(l, exists.into());
    }
    1
}

/// `leash.kill(id [, message])`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn kill(l: *mut lua_State) -> c_int {
    // SAFETY: as `interrupt`.
    unsafe {
        let id = args::id(l, 1);
        let message = message(l, 2);
        let exists = leash::kill(id, message.map(text));
        sys::lua_pushboolean(l, exists.into());
    }
    1
}

/// `leash.traceback(id [, timeout])`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn traceback(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. The text is dropped before anything is raised.
    unsafe {
        let id = args::id(l, 1);
        let seconds = match sys::lua_isnoneornil(l, 2) {
            0 => sys::luaL_checknumber(l, 2),
            _ => PATIENCE,
        };
        if seconds.is_nan() || seconds < 0.0 {
            return sys::luaL_argerror(l, 2, c"seconds expected, 0 or more".as_ptr());
        }
        let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        sys::luaL_checkstack(l, 6, std::ptr::null());
        sys::lua_pushcfunction(l, push_text);
        let (status, found) = {
            let own = Guest::of(l).and_then(|guest| guest.traceback(l, id));
            let trace = own.map_or_else(|| leash::traceback(id, timeout), Ok);
            let text = match &trace {
                Ok(text) => text.as_bytes(),
                Err(Untraced::Gone) => b"gone",
                Err(Untraced::Timeout) => b"timeout",
            };
            sys::lua_pushlightuserdata(l, (&raw const text).cast_mut().cast());
            (sys::lua_pcall(l, 1, 1, 0), trace.is_ok())
        };
        if status != sys::LUA_OK {
            sys::lua_error(l); // there is no memory for it
        }
        if !found {
            sys::lua_pushnil(l);
            sys::lua_insert(l, -2);
            return 2;
        }
    }
    1
}

/// Pushes the text whose address is the argument.
unsafe extern "C-unwind" fn push_text(l: *mut lua_State) -> c_int {
    // SAFETY: called above alone, in protected mode; the text lives there.
    unsafe {
        let text = *sys::lua_touserdata(l, 1).cast::<&[u8]>();
        sys::lua_pushlstring(l, text.as_ptr().cast::<c_char>(), text.len());
    }
    1
}
