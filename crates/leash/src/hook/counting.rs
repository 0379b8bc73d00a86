//! Count hooks: where one is needed, and how it comes back.
//!
//! An instruction limit has one on every coroutine. A watch that follows a clock of the user's is *polled*: while its coroutine is being resumed, a count
//! hook there asks that clock. (LuaJIT: one hook for all; it is that of the innermost polled watch.) Where an instruction limit is in force its hook serves for both, for it is called
//! more often.
//!
//! **Setting a count hook anew forgets what has been counted.** So whoever makes that happen again and again, by calls that are stopped or by
//! resumes, would never be asked. For an instruction limit a step is charged; and a poll comes at the next instruction, instead of after a whole count.
//!
//! Owner thread, outside the handler.

use super::OUR_COUNT;
use super::placing::{hooked_at, remove_everywhere, set_on, set_to_wait, take_off};
use crate::coroutines::SavedHook;
use crate::state::{COUNT_STEP, State};
use crate::sys::{self, lua_State};
use std::ffi::c_int;

/// A poll at the next instruction.
const AT_ONCE: u32 = 1;

/// Sets the count hook everywhere, for an instruction limit.
pub fn start_counting(state: &State) {
    state.hooked.set(true);
    let (mask, step) = (sys::LUA_MASKCOUNT, state.count_step());
    // SAFETY: live, initialised coroutines of this state.
    state.for_each_live(|co, entry| unsafe {
        if state.waits_for(entry) {
            set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false); // it counts when it goes on
        } else {
            set_on(state, co, entry, mask, step, false);
        }
    });
}

/// Sets the count hook of a polled watch.
///
/// # Safety
/// `co` is a live coroutine, on its thread.
pub unsafe fn start_polling(state: &State, co: *mut lua_State, every: u32) {
    if state.least_budget().is_some() {
        return; // that of the limit is there
    }
    let every = c_int::try_from(every).unwrap_or(c_int::MAX).max(1);
    let (on, entry) = hooked_at(state, co);
    if let Some(entry) = entry {
        // SAFETY: by the caller.
        unsafe { set_on(state, on, entry, sys::LUA_MASKCOUNT, every, false) };
    }
}

/// The hook has run in `l`, inside a polled watch.
///
/// # Safety
/// `l` runs the hook.
pub unsafe fn go_on_polling(state: &State, l: *mut lua_State, every: u32) {
    // SAFETY: by the caller.
    unsafe {
        let counted = SavedHook::of(l).mask == sys::LUA_MASKCOUNT;
        start_polling(state, l, if counted { every } else { AT_ONCE });
    }
}

/// A watched coroutine has come back, and its frame is closed: our hook goes, unless somebody else needs it.
///
/// # Safety
/// As [`start_polling`].
pub unsafe fn stop_watching(state: &State, co: *mut lua_State) {
    if state.least_budget().is_some() {
        return; // it counts when it goes on
    }
    let (on, entry) = hooked_at(state, co);
    // SAFETY: by the caller; the main state is live.
    unsafe {
        take_off(state, on, entry);
        if sys::HOOK_PER_COROUTINE {
            return;
        }
        if state.polling(co).is_some() {
            start_polling(state, co, AT_ONCE);
        } else if state.waits_for_wards() {
            set_to_wait(state, on, &state.main_entry);
        }
    }
}

/// Takes our hooks away everywhere, but for the count hooks that are still needed.
pub fn only_count(state: &State) {
    remove_everywhere(state);
    if state.least_budget().is_some() {
        state.charge(COUNT_STEP);
        start_counting(state);
        return;
    }
    state.for_each_polled(|co| {
        // SAFETY: it runs, or waits for what it has resumed, so it is live, on this thread.
        unsafe { start_polling(state, co, AT_ONCE) };
    });
}
