//! Our hook on a coroutine, and the user's beneath it.
//!
//! **The user's own hook** is saved in the coroutine's entry when ours goes in and put back when ours comes out. The handler may
//! land inside the user's own `lua_sethook`: then what it saves is torn, and the rest of that call's stores come after ours. Field by
//! field: what is not ours any more was stored later, and is the user's; what is still ours was stored before, and is in the copy ([`merge`]).
//!
//! A coroutine that is made while ours is set inherits ours, and has nothing saved: it gets what the main state had.
//!
//! The masks say what ours waits for: everything (a stop), the next call (a coroutine that is to be met when it goes on), a count
//! ([`super::counting`]). All of it may run in **signal context**.

use super::HOOK;
use super::oldpc::LastInstruction;
use crate::coroutines::{Entry, SavedHook};
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hookless, jit};
use std::ffi::c_int;

/// The count that goes with `sys::MASK_ALL`.
pub const OUR_COUNT: c_int = 1;

/// Whether a hook that `lua_gethook` returned is the one that Leash sets. For hosts, debuggers and tests that look at hooks.
pub fn is_our_hook(hook: sys::Hook) -> bool {
    hook as usize == HOOK as usize
}

/// Whether our hook is set on `l` and waits for the next call: something may be due. For C functions that work for long.
///
/// # Safety
/// `l` is a live coroutine on its own thread.
pub unsafe fn is_waiting(l: *mut lua_State) -> bool {
    // SAFETY: by the caller. A signal handler may set it at any time; then it is seen the next time. Mostly none is set, and one read tells.
    unsafe {
        sys::lua_gethook(l).is_some_and(is_our_hook)
            && sys::lua_gethookmask(l) & sys::LUA_MASKCALL != 0
    }
}

/// See [`is_our_hook`].
pub fn is_ours(h: SavedHook) -> bool {
    h.hook.is_some_and(is_our_hook)
}

/// Where the hook of a coroutine is, and the entry that keeps the user's.
pub fn hooked_at(state: &State, co: *mut lua_State) -> (*mut lua_State, Option<&Entry>) {
    if sys::HOOK_PER_COROUTINE {
        (co, state.entry(co))
    } else {
        (state.main.get(), Some(&state.main_entry))
    }
}

/// Puts our hook on one coroutine, and what was there into `entry`.
///
/// # Safety
/// `co` is a live, initialised coroutine of this state, on its thread.
pub unsafe fn set_on(
    state: &State,
    co: *mut lua_State,
    entry: &Entry,
    mask: c_int,
    count: c_int,
    switch_on: bool,
) {
    // SAFETY: by the caller.
    unsafe {
        let now = SavedHook::of(co);
        match entry.saved.get() {
            None if is_ours(now) => {} // inherited from the coroutine that made it
            None => entry.saved.set(Some(now)),
            Some(was) => entry.saved.set(Some(merge(state, was, now))),
        }
        let last = LastInstruction::of(state, co);
        if mask == sys::MASK_ALL {
            jit::set_hook(state, co, HOOK, mask, count);
        } else {
            state.our_masks.set(state.our_masks.get() | mask);
            sys::set_hook(co, Some(HOOK), mask, count);
        }
        last.put_back();
        if switch_on {
            hookless::switch_on(state, co);
        }
    }
}

/// [`set_on`] for a coroutine where that has been done a moment ago: only what is not there any more.
///
/// It is `lua_sethook` that takes time: from 5.4 on that goes through all calls that the coroutine is in, 200,000 where its stack has
/// overflowed, which takes some four milliseconds. What Lua has overwritten in one of these calls, the next delivery to all mends. (LuaJIT: all of
/// it, for it also mends what an interrupted `lua_sethook` has left half done.)
///
/// # Safety
/// As [`set_on`].
pub unsafe fn keep_on(state: &State, co: *mut lua_State, entry: &Entry, switch_on: bool) {
    // SAFETY: by the caller.
    unsafe {
        let now = SavedHook::of(co);
        let is_there = is_ours(now) && now.mask == sys::MASK_ALL && now.count == OUR_COUNT;
        if !is_there || cfg!(feature = "luajit") {
            set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, switch_on);
        } else if switch_on {
            hookless::switch_on(state, co);
        }
    }
}

/// The user's hook, from the copy that was made and what is set now. See the header.
pub fn merge(state: &State, was: SavedHook, now: SavedHook) -> SavedHook {
    if !is_ours(now) {
        return now; // set as a whole since
    }
    // What we have not set was set by the user.
    let our_mask = now.mask == sys::MASK_ALL
        || state.our_masks.get() & now.mask != 0
            && [sys::LUA_MASKCOUNT, sys::LUA_MASKCALL].contains(&now.mask);
    // The count is stored before the mask: it may be ours again although the mask is the user's. (His may be the same as ours.)
    let our_count = our_mask || now.count == OUR_COUNT && was.count != 0;
    SavedHook {
        hook: was.hook,
        mask: if our_mask { was.mask } else { now.mask },
        count: if our_count { was.count } else { now.count },
    }
}

/// Puts back what was on this coroutine before.
///
/// # Safety
/// As [`set_on`].
pub unsafe fn take_off(state: &State, co: *mut lua_State, entry: Option<&Entry>) {
    // SAFETY: by the caller.
    unsafe {
        let now = SavedHook::of(co);
        let was = entry.and_then(|e| e.saved.take());
        if !is_ours(now) {
            return; // the user has set or removed a hook since: that stands
        }
        // A coroutine made while ours was set has inherited ours: what it would have inherited is its maker's, for which the
        // main state's stands in.
        let inherited = state.main_entry.saved.get();
        let h = was
            .map(|w| merge(state, w, now))
            .or(inherited)
            .unwrap_or_default();
        sys::set_hook(co, h.hook, h.mask, h.count);
        if sys::HOOK_PER_COROUTINE
            && let Some(entry) = entry.filter(|e| state.waits_for(e))
        {
            set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false);
        }
    }
}

/// Has the hook run when control is back in `co`, or comes to it. **Signal context.** (LuaJIT: when the next function is called.)
///
/// # Safety
/// `co` is a live, initialised coroutine of this state, on its thread.
pub unsafe fn set_to_wait(state: &State, co: *mut lua_State, entry: &Entry) {
    // SAFETY: by the caller.
    unsafe {
        if sys::HOOK_PER_COROUTINE {
            set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false);
        } else if state.least_budget().is_none() {
            set_on(state, co, entry, sys::LUA_MASKCALL, 0, false);
        }
    }
}

/// Sets our hook on a coroutine that is suspended in a call whose time is up: so that is noticed when it is resumed. On LuaJIT the timer thread
/// has that looked at.
///
/// # Safety
/// `co` is a live coroutine, on its thread.
pub unsafe fn wait_for(state: &State, co: *mut lua_State) {
    if sys::HOOK_PER_COROUTINE
        && let Some(entry) = state.entry(co)
    {
        // SAFETY: by the caller.
        unsafe { set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false) };
    }
}

/// Puts back the user's hooks everywhere. Owner thread, when no request is open.
pub fn remove_everywhere(state: &State) {
    state.unanswered.set(0);
    state.lingers.set(0);
    jit::unmark(state);
    // The main state last: its saved hook stands in for others.
    let main = state.main.get();
    state.for_each_live(|co, entry| {
        if co != main {
            // SAFETY: a live, initialised coroutine of this state.
            unsafe { take_off(state, co, Some(entry)) };
        }
    });
    if !state.allocator_is_ours() && state.scope_state.get() != main {
        // SAFETY: a scope is being closed in it.
        unsafe { take_off(state, state.scope_state.get(), None) };
    }
    // SAFETY: live; on this thread.
    unsafe { take_off(state, main, Some(&state.main_entry)) };
    if state.frame.get().is_null() && state.wards.is_empty() {
        state.our_masks.set(0); // none of ours is left anywhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Guest;

    unsafe extern "C-unwind" fn of_the_users(_: *mut lua_State, _: *mut sys::lua_Debug) {}

    #[test]
    fn what_is_kept_on_is_set_again_where_it_is_gone() {
        // SAFETY: a new state, on this thread, closed at the end.
        unsafe {
            let l = sys::luaL_newstate();
            let _guest = Guest::attach(l).unwrap();
            let state = crate::hook::state_of(l).unwrap();
            let entry = &state.main_entry;
            let expect_ours = || {
                let now = SavedHook::of(l);
                assert!(is_ours(now));
                assert_eq!((now.mask, now.count), (sys::MASK_ALL, OUR_COUNT));
            };
            keep_on(state, l, entry, false);
            expect_ours();
            // By the script, as a whole; and by a delivery that landed in the midst of that, so that a part of ours has been overwritten.
            for (hook, mask, count) in [
                (None, 0, 0),
                (Some(of_the_users as sys::Hook), sys::LUA_MASKLINE, 0),
                (Some(HOOK), sys::LUA_MASKLINE, 0),
                (Some(HOOK), sys::MASK_ALL, 7),
            ] {
                sys::set_hook(l, hook, mask, count);
                keep_on(state, l, entry, false);
                expect_ours();
            }
            take_off(state, l, Some(entry));
            sys::lua_close(l);
        }
    }
}
