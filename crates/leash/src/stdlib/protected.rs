//! `pcall` and `xpcall`, which look up when what they have called is over. Not on LuaJIT, which does without ([`crate::hookless`]).
//!
//! Where hooks are off, in finalizers and in hooks of the script, a delivery switches them on; a protected call that fails switches them off again before any hook has run. So a finalizer that did nothing but
//! call what fails slowly was stopped by chance alone, when a delivery landed between two calls: `pcall(math.abs, s)` in a loop, where `s` was three million digits and a letter, ended up to 16 s late.
//!
//! **The originals do it all**: they are called as if Lua had called them, so results, messages and what can be yielded across are theirs. They may have been left by a yield; then they are continued without
//! us. But where hooks are off nothing can yield.

use super::stock::{Stock, original};
use crate::sys::{self, lua_CFunction, lua_State};
use crate::{hook, hookless};
use std::ffi::c_int;

/// `pcall(f, ...)`
///
/// # Safety
/// Called by Lua, as a C function, in the place of the original.
pub unsafe extern "C-unwind" fn pcall(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { protected(l, |stock| stock.pcall) }
}

/// `xpcall(f, handler, ...)`
///
/// # Safety
/// As [`pcall`].
pub unsafe extern "C-unwind" fn xpcall(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { protected(l, |stock| stock.xpcall) }
}

/// **longjmp**: leaves by one where the original yields, or is given wrong arguments. Nothing is owned here.
#[inline(always)]
unsafe fn protected(l: *mut lua_State, which: fn(&Stock) -> Option<lua_CFunction>) -> c_int {
    // SAFETY: by the callers.
    unsafe {
        let results = original(l, which);
        if sys::lua_gethook(l).is_some_and(hook::is_our_hook) {
            hookless::after_a_protected_call(l);
        }
        results
    }
}
