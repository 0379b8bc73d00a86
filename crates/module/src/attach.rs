//! The engine's hold on the state that has required us.
//!
//! A state is attached when a module is loaded, for the rest of its life. Where the main state was not found (a script can take it out of
//! the registry), the first call from the main state that needs it does it.
//!
//! A library for 5.1 has all that it needs in LuaJIT, whose API is the same, and would get everything wrong that lies beneath: so it
//! looks who has loaded it. (A library for another version finds that symbols are missing.)

use crate::handlers;
use crate::text::Text;
use leash::sys::{self, lua_State};
use leash::{AttachError, Guest};

/// What keeps the state from being attached. The engine's error owns memory: it ends here, before anybody raises.
unsafe fn try_attach(l: *mut lua_State, message: &mut Text) -> Option<Guest> {
    // SAFETY: by the caller.
    if cfg!(feature = "lua51") && unsafe { is_luajit(l) } {
        *message = Text::of(
            "this leash.so was built for Lua 5.1, and the interpreter is LuaJIT (build it for luajit)",
        );
        return None;
    }
    // SAFETY: by the caller; the library is never unloaded.
    match unsafe { Guest::attach(l) } {
        Ok(guest) => {
            guest.on_interrupt(handlers::interrupted);
            return Some(guest);
        }
        Err(AttachError::Coroutine) => {}
        Err(e) => *message = Text::of(e),
    }
    None
}

/// Whether the process has LuaJIT's functions, and the state its library `jit`.
unsafe fn is_luajit(l: *mut lua_State) -> bool {
    // SAFETY: asks the dynamic linker; then reads fields of the registry without metamethods, in three free slots.
    unsafe {
        if libc::dlsym(libc::RTLD_DEFAULT, c"luaJIT_setmode".as_ptr()).is_null() {
            return false;
        }
        sys::lua_pushstring(l, c"_LOADED".as_ptr());
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        let mut found = false;
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            sys::lua_pushstring(l, c"jit".as_ptr());
            sys::lua_rawget(l, -2);
            found = sys::lua_type(l, -1) == sys::LUA_TTABLE;
            sys::lua_settop(l, -2);
        }
        sys::lua_settop(l, -2);
        found
    }
}

/// The state of `l`, attached. None if that has to wait for a call from the main state. Raises whatever else is wrong.
///
/// # Safety
/// In a C function that Lua has called. May raise.
#[inline]
pub unsafe fn attached(l: *mut lua_State) -> Option<Guest> {
    // SAFETY: by the caller; the library is never unloaded.
    unsafe {
        match Guest::again(l) {
            Some(guest) => {
                guest.on_interrupt(handlers::interrupted);
                Some(guest)
            }
            None => attach(l),
        }
    }
}

/// [`attached`], of a state that is not. (Apart, for its message takes room on the way of every `leash.call`.)
#[cold]
unsafe fn attach(l: *mut lua_State) -> Option<Guest> {
    let mut message = Text::of("");
    // SAFETY: by the caller; `Text` has no destructor.
    unsafe {
        let guest = try_attach(l, &mut message);
        if guest.is_none() && !message.is_empty() {
            let format = c"cannot guard this Lua state: %s".as_ptr();
            sys::luaL_error(l, format, message.as_ptr());
        }
        guest
    }
}

/// The state of `l`, attached. Raises if it is not, and cannot be from here.
///
/// # Safety
/// As [`attached`].
#[inline]
pub unsafe fn guest(l: *mut lua_State) -> Guest {
    // SAFETY: by the caller.
    unsafe {
        match attached(l) {
            Some(guest) => guest,
            None => too_early(l),
        }
    }
}

#[cold]
unsafe fn too_early(l: *mut lua_State) -> ! {
    let format = c"load this module in the main state first: %s cannot find it from a coroutine";
    // SAFETY: by the caller.
    unsafe { sys::luaL_error(l, format.as_ptr(), Text::of(leash::ENGINE).as_ptr()) };
    unreachable!("luaL_error does not return");
}
