//! The place where a watch is created.
//!
//! The message of a kill tells it, as a traceback. A server watches each of its requests at the same place, and making half a kilobyte of
//! text each time, to find that it is known, would take longer than all else, and leave as much garbage. So a place is first reduced
//! to a number, from the lines that are running, which allocates nothing; the text is made for the first coroutine of a place only.
//!
//! What could go wrong: two places with the same number. The hash is of 64 bits with a secret of the process. A stack that is deeper than a
//! traceback shows is not reduced: there the text is made each time.

use leash::info;
use leash::sys::{self, lua_Debug, lua_State};
use std::ffi::{CStr, c_int};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// Seen from a function of the core: who called the function of the glue that has called it.
const CALLER: c_int = 2;

/// So many levels a traceback shows at least.
const SHOWN: c_int = 20;

fn hasher() -> impl Hasher {
    static SECRET: OnceLock<RandomState> = OnceLock::new();
    SECRET.get_or_init(RandomState::new).build_hasher()
}

/// The number of the place where the running function of the core was asked for a watch; none if the stack is too deep.
///
/// # Safety
/// As a `lua_CFunction` that the glue has called.
pub unsafe fn key(l: *mut lua_State) -> Option<u64> {
    let mut hasher = hasher();
    // SAFETY: `lua_getstack` fills `ar` for `lua_getinfo`, which with these letters fills fields and pushes nothing.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        for level in CALLER..CALLER + SHOWN {
            if sys::lua_getstack(l, level, &mut ar) == 0 {
                return Some(hasher.finish());
            }
            if !info::of(l, level, c"Sl", &mut ar) {
                return None;
            }
            hasher.write(CStr::from_ptr(ar.short_src.as_ptr()).to_bytes());
            hasher.write_i32(ar.linedefined);
            hasher.write_i32(ar.currentline);
        }
    }
    None
}

/// A number for a text.
pub fn key_of(text: &[u8]) -> u64 {
    let mut hasher = hasher();
    hasher.write(text);
    hasher.finish()
}

/// Pushes the text.
///
/// # Safety
/// As [`key`]. May raise. The text lives as long as it is on the stack.
pub unsafe fn push_trace(l: *mut lua_State) -> *const [u8] {
    // SAFETY: by the caller; what is pushed is a string.
    unsafe {
        let mut length = 0;
        sys::luaL_traceback(l, l, std::ptr::null(), CALLER);
        let text = sys::lua_tolstring(l, -1, &mut length);
        std::ptr::slice_from_raw_parts(text.cast(), length)
    }
}
