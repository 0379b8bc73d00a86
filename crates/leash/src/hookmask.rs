//! LuaJIT: where the global state keeps `hookmask`, found at run time.
//!
//! One byte says which hook events are on (bits 0 to 3, `LUA_MASK*`) and whether a hook is running ([`ACTIVE`]). The main `lua_State`
//! and the global state are one block (`GG_State`, `lj_dispatch.h`), and the distance between them differs between
//! builds. So known masks are set by `lua_sethook`, inside a hook and outside, and the byte behind the main state that follows them is
//! the one. If none does, or more than one, the place is not known, and nothing is ever written.
//!
//! Not the same byte is `dispatchmode`, which follows the mask in another encoding and knows nothing of running hooks.

use crate::hookless::ACTIVE;
use crate::sys::{self, lua_Debug, lua_State};
use std::cell::Cell;
use std::ffi::c_int;

/// How far behind the main state to look: the block is larger in every build, for it ends in a table of more than two hundred pointers.
const REACH: usize = 1024;

/// What is set, one after the other.
const MASKS: [c_int; 6] = [
    sys::LUA_MASKCALL,
    0,
    sys::LUA_MASKRET | sys::LUA_MASKCOUNT,
    sys::LUA_MASKCALL | sys::LUA_MASKCOUNT,
    sys::LUA_MASKRET,
    sys::LUA_MASKCALL | sys::LUA_MASKRET,
];

/// The bytes that have followed so far.
struct Search {
    base: *const u8,
    fits: [bool; REACH],
}

impl Search {
    /// Strikes out what is not `expected` now.
    fn look(&mut self, expected: u8) {
        for (i, fits) in self.fits.iter_mut().enumerate() {
            // SAFETY: `base` is the main state, and REACH bytes of its block are readable. Volatile: Lua changes them.
            *fits &= unsafe { self.base.add(i).read_volatile() } == expected;
        }
    }
}

thread_local! {
    /// The search that goes on on this thread: a hook gets no user data.
    static SEARCH: Cell<*mut Search> = const { Cell::new(std::ptr::null_mut()) };
}

/// Finds the byte, as an offset from the main state.
///
/// **longjmp**: what it calls may raise an error for lack of memory; nothing here owns anything.
///
/// # Safety
/// `main` is the live main state of a LuaJIT state, and `l`, of the same state, is running a C function on this thread (the hook is the same for all).
/// The caller saves and restores the hook.
pub unsafe fn find(l: *mut lua_State, main: *const lua_State) -> Option<usize> {
    let mut search = Search {
        base: main.cast(),
        fits: [true; REACH],
    };
    SEARCH.set(&raw mut search);
    // SAFETY: by the caller.
    unsafe {
        for mask in MASKS {
            sys::lua_sethook(l, Some(on_event), mask, 1_000_000);
            search.look(mask as u8);
            if mask & sys::LUA_MASKCALL != 0 {
                sys::lua_pushcfunction(l, nothing);
                sys::lua_call(l, 0, 0);
            }
        }
        sys::lua_sethook(l, None, 0, 0);
        search.look(0);
    }
    SEARCH.set(std::ptr::null_mut());
    let mut found = (0..REACH).filter(|&i| search.fits[i]);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
    0
}

unsafe extern "C-unwind" fn on_event(l: *mut lua_State, ar: *mut lua_Debug) {
    // SAFETY: set while `find` runs on this thread, in whose frame the search lies; it is not looking at it now.
    unsafe {
        if (*ar).event == sys::LUA_HOOKCALL
            && let Some(search) = SEARCH.get().as_mut()
        {
            search.look(sys::lua_gethookmask(l) as u8 & 0x0f | ACTIVE);
        }
    }
}
