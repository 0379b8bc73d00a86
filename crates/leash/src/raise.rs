//! The error by which the hook ends what runs: one that no message handler sees.
//!
//! `lua_error` inside a hook would call the script's `xpcall` handler with hooks off: an endless handler would be out of
//! reach. So `errfunc` is cleared first. Where its place is not known ([`crate::layout`]), and on LuaJIT, the error is a failed
//! allocation, for which no handler is called (manual of `lua_pcall`).
//!
//! **longjmp**: all of this leaves by one. Nothing that owns anything is alive here.

use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hook, hookless, pcalls, trace};

/// What a stop looks like to a script that catches it: a light userdata of this address.
static SENTINEL: u8 = 0;

/// Ends what `l` runs, up to the next `pcall`, `resume` or boundary, and notes where it was.
///
/// # Safety
/// `l` runs our hook.
pub unsafe fn raise(state: &State, l: *mut lua_State) {
    if state.traceback.borrow().is_empty() {
        let collecting = state.hookless.is_any(); // a finalizer, perhaps
        trace::capture(state, l, collecting, &mut state.traceback.borrow_mut());
    }
    // SAFETY: by the caller.
    unsafe { throw(state, l) };
}

/// Raises the error, and leaves the hook set.
///
/// # Safety
/// `l` runs our hook.
pub unsafe fn throw(state: &State, l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { throw_for(state, l, None) };
}

/// The same, to end the coroutine `dies`, if there is one: the error is then the module's, where it makes one.
///
/// # Safety
/// `l` runs our hook.
pub unsafe fn throw_for(state: &State, l: *mut lua_State, dies: Option<*mut lua_State>) {
    // SAFETY: `l` runs the hook, so it is live and has LUA_MINSTACK free slots. Writing `errfunc`: the place was verified
    // when the state was attached; zero means "no handler", and whoever set a handler restores it on the way out.
    unsafe {
        state.grow_no_more_if_closing_late();
        // From a count on, every instruction. Not without need: from 5.4 on it goes through all frames, 10 ms for 200,000. (The
        // trap of an outer frame that the signal has lost comes back with the next delivery.)
        if sys::lua_gethookmask(l) != sys::MASK_ALL {
            sys::set_hook(l, Some(hook::HOOK), sys::MASK_ALL, 1);
        }
        let errfunc = state.layout.get().errfunc;
        if let Some(offset) = errfunc {
            l.byte_add(offset).cast::<isize>().write_volatile(0);
        }
        let unseen = pcalls::will_be_unseen(state, l);
        let pushed = dies.is_some_and(|co| state.push_doom(l, co, unseen)); // while hooks are still off
        // Where the outermost call has caught it the stack is short, and the module's error may be made.
        pcalls::pass(state, l, dies.is_some() && !pushed);
        if state.hookless.is_any() || hookless::in_finalizer(state) {
            state.record().again_soon();
        }
        let is_object = pushed || errfunc.is_some();
        if is_object && !pushed {
            sys::lua_pushlightuserdata(l, (&raw const SENTINEL).cast_mut().cast());
        }
        hookless::before_an_error(state, l);
        if !is_object {
            fail_an_allocation(state, l);
            sys::lua_pushlightuserdata(l, (&raw const SENTINEL).cast_mut().cast());
        }
        sys::lua_error(l);
    }
}

/// Raises a memory error, unless the allocator is no longer ours: then it returns.
///
/// # Safety
/// As [`throw`].
unsafe fn fail_an_allocation(state: &State, l: *mut lua_State) {
    if !state.allocator_is_ours() {
        return;
    }
    // SAFETY: by the caller. With the collector stopped no step runs inside this allocation (and before 5.4 no collection when
    // it fails); the boundary starts it again.
    unsafe {
        state.stop_collector();
        state.memory.refuse_next(true);
        state.memory.fall(true);
        sys::lua_newuserdata(l, 64);
        state.memory.fall(false);
        state.memory.refuse_next(false);
        sys::lua_settop(l, -2);
    }
}
