//! The engine's hold on the state that has required us.
//!
//! A state is attached when a module is loaded, for the rest of its life. 5.1 and LuaJIT cannot tell their main state from inside a
//! coroutine, so there a `require` inside a coroutine leaves it, and the first call from the main state that needs it does it.

use crate::handlers;
use crate::text::Text;
use leash::sys::{self, lua_State};
use leash::{AttachError, Guest};

/// What keeps the state from being attached. The engine's error owns memory: it ends here, before anybody raises.
unsafe fn try_attach(l: *mut lua_State, message: &mut Text) -> Option<Guest> {
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

/// The state of `l`, attached. None if that has to wait for a call from the main state. Raises whatever else is wrong.
///
/// # Safety
/// In a C function that Lua has called. May raise.
pub unsafe fn attached(l: *mut lua_State) -> Option<Guest> {
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
pub unsafe fn guest(l: *mut lua_State) -> Guest {
    // SAFETY: by the caller.
    unsafe {
        let Some(guest) = attached(l) else {
            let format =
                c"load this module in the main state first: %s cannot find it from a coroutine";
            sys::luaL_error(l, format.as_ptr(), Text::of(leash::ENGINE).as_ptr());
            unreachable!("luaL_error does not return");
        };
        guest
    }
}
