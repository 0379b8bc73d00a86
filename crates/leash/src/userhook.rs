//! The user's own hook, as somebody sees it who asks while ours may be in its place.
//!
//! A call with limits notes it at the beginning and sets it again after a stop ([`crate::call`]). Where our hook is set, the user's is in the
//! coroutine's entry ([`crate::hook`]), from where it comes back when ours goes.

use crate::coroutines::SavedHook;
use crate::hook;
use crate::state::State;
use crate::sys::{self, lua_State};

/// The user's hook of a coroutine, whether ours is in its place or not.
///
/// # Safety
/// `co` is a live, initialised coroutine of this state, on its thread.
#[inline(always)]
pub unsafe fn get(state: &State, co: *mut lua_State) -> SavedHook {
    // SAFETY: by the caller.
    unsafe {
        match sys::lua_gethook(co) {
            None => SavedHook::default(),
            Some(_) => get_behind(state, co),
        }
    }
}

/// The same; there is a hook.
#[cold]
unsafe fn get_behind(state: &State, co: *mut lua_State) -> SavedHook {
    // SAFETY: by the caller. A signal between these loads would mix two hooks: the function is the first and the last of them.
    let now = unsafe { SavedHook::of(co) };
    // SAFETY: as above.
    if !hook::is_ours(now) && !hook::is_ours(unsafe { SavedHook::of(co) }) {
        return now;
    }
    let (_, entry) = hook::hooked_at(state, co);
    let saved = entry.and_then(|e| e.saved.get());
    saved
        .or(state.main_entry.saved.get())
        .map_or_else(SavedHook::default, |was| hook::merge(state, was, now))
}

/// Sets the user's hook of a coroutine; ours, if it is set, stays.
///
/// # Safety
/// As [`get`].
pub unsafe fn set(state: &State, co: *mut lua_State, users: SavedHook) {
    let (on, entry) = hook::hooked_at(state, co);
    // SAFETY: by the caller.
    unsafe {
        match entry {
            Some(entry) if hook::is_ours(SavedHook::of(on)) => entry.saved.set(Some(users)),
            _ => sys::set_hook(on, users.hook, users.mask, users.count),
        }
    }
}
