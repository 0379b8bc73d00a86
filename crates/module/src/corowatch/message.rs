//! What is said of a coroutine that its watch has killed.
//!
//! The resume that it was killed in returns this text, and so does each later one. From 5.4 on the error that ends a coroutine is seen besides by whoever
//! closes it (`coroutine.close`), and by its variables that are to be closed: so that error is the text as well. It is made in the hook, where the engine has stopped the
//! collector, by the same means as the [stop](crate::watch::doom) of `leash.watch`, and kept in a table for as long as the error may have to be raised again: until the
//! resume returns.
//!
//! The key is the address of the coroutine. So the resume takes the text out before anything that may raise an error, or it would be said of another
//! coroutine at that address.

use super::{guest, key, seconds};
use leash::Guest;
use leash::sys::{self, lua_State};
use std::ffi::c_int;

/// Registry keys: the addresses.
static KEPT: u8 = 0;
static MAKE: u8 = 1;

/// Makes the table.
///
/// # Safety
/// In a C function, with two free slots. May raise.
pub unsafe fn open(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_createtable(l, 0, 0);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&KEPT));
        sys::lua_pushcfunction(l, make);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&MAKE));
    }
}

/// Makes the text of the coroutine that is the light userdata at index 1, and keeps it.
unsafe extern "C-unwind" fn make(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; the coroutine is the one that is being ended.
    unsafe {
        let co = sys::lua_touserdata(l, 1).cast::<lua_State>();
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&KEPT));
        push(l, guest(l), co);
        sys::lua_pushvalue(l, -1);
        sys::lua_rawsetp(l, -3, co.cast());
    }
    1
}

/// Pushes the text that is kept of `co`. False: there is none, and nothing is pushed.
///
/// # Safety
/// In a hook or C function, with two free slots.
unsafe fn push_kept(l: *mut lua_State, co: *mut lua_State) -> bool {
    // SAFETY: by the caller. Nothing is allocated.
    unsafe {
        let top = sys::lua_gettop(l);
        if sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&KEPT)) == sys::LUA_TTABLE
            && sys::lua_rawgetp(l, -1, co.cast()) == sys::LUA_TSTRING
        {
            sys::lua_remove(l, -2);
            return true;
        }
        sys::lua_settop(l, top);
        false
    }
}

/// In the hook that ends `co`: pushes the text, which `maker` makes; false: what is pushed, if anything, is the error that kept it from being made.
///
/// # Safety
/// In a hook, with three free slots. `maker` is `l`, or idle; the collector rests.
pub unsafe fn push_in_hook(l: *mut lua_State, maker: *mut lua_State, co: *mut lua_State) -> bool {
    // SAFETY: by the caller. `make` is called in protected mode.
    unsafe {
        if push_kept(l, co) {
            return true;
        }
        if sys::lua_rawgetp(maker, sys::LUA_REGISTRYINDEX, key(&MAKE)) != sys::LUA_TFUNCTION {
            sys::lua_settop(maker, -2);
            return false;
        }
        sys::lua_pushlightuserdata(maker, co.cast());
        let made = sys::lua_pcall(maker, 1, 1, 0) == sys::LUA_OK;
        if maker != l {
            sys::lua_xmove(maker, l, 1);
        }
        made
    }
}

/// The resume of `co` has returned: pushes the text, and keeps it no longer.
///
/// # Safety
/// In a C function, with six free slots. May raise.
pub unsafe fn push_last(l: *mut lua_State, guest: Guest, co: *mut lua_State) {
    // SAFETY: by the caller. A field that is there is set to nil: nothing is allocated.
    unsafe {
        if !push_kept(l, co) {
            return push(l, guest, co);
        }
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&KEPT));
        sys::lua_pushnil(l);
        sys::lua_rawsetp(l, -2, co.cast());
        sys::lua_settop(l, -2);
    }
}

/// Pushes the text.
unsafe fn push(l: *mut lua_State, guest: Guest, co: *mut lua_State) {
    // SAFETY: in a C function, with five free slots. The note lives as long as the coroutine, which is referred to.
    unsafe {
        let (watch, note) = (guest.watch_of(co), guest.note_of(co));
        sys::lua_pushstring(
            l,
            c"Coroutine exceeded its allowed running time of ".as_ptr(),
        );
        seconds::push(l, watch.unwrap_or_default().mark);
        sys::lua_pushstring(
            l,
            c" seconds, without yielding\n============== traceback at coroutine creation time ====================\n"
                .as_ptr(),
        );
        let note: &[u8] = note.map_or(b"", |note| &*note);
        sys::lua_pushlstring(l, note.as_ptr().cast(), note.len());
        sys::lua_pushstring(
            l,
            c"\n======================== end of traceback ==============================".as_ptr(),
        );
        sys::lua_concat(l, 5);
    }
}
