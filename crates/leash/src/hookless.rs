//! Finalizers and the script's own hooks: where no hook runs, and how a stop gets in all the same.
//!
//! Lua runs finalizers, and hooks themselves, with hooks off. An endless one would outlive every limit. So a delivery that goes
//! unanswered switches hooks on ([`switch_on`]): `allowhook` in the coroutine, on LuaJIT the bit [`ACTIVE`] of `hookmask`
//! in the global state. Both places are found at run time ([`crate::layout`], [`crate::hookmask`]). Then the next instruction meets the hook.
//!
//! **A finalizer that catches errors** is harder: `pcall` puts `allowhook` back to what it was when it was called, which is off, and
//! the loop around it goes on unseen. The next delivery ends the next `pcall`, and so on for ever. But on its way out `luaD_pcall` first restores
//! `allowhook`, and *then* gives back what the call had made the stack grow by: a call of our allocator, at just the right moment. So a
//! delivery notes in which coroutines it found hooks off ([`Hookless`]); before the error is raised, [`provoke`] makes their stacks grow,
//! and puts an allocator in force that switches hooks on in them whenever it is called ([`allocate`]); it goes again when the hook runs.
//!
//! | engine | what grows | who gives it back, after `allowhook` |
//! |---|---|---|
//! | 5.2 | the stack, by `lua_checkstack` | `luaD_shrinkstack` |
//! | 5.3 to 5.5 | also the list of `CallInfo`, by nested calls | `luaE_shrinkCI` in `luaD_shrinkstack` |
//! | 5.1 | the array of `CallInfo` beyond its limit, which ends in `stack overflow` (our error comes in its place): [`overflow`] | `restore_stack_limit` |
//! | LuaJIT | nothing needs to: a `pcall` that was made with hooks off leaves the bit alone (`FRAME_PCALLH` in `err_unwind`, `lj_err.c`) | |
//!
//! **The next finalizer**, of thousands, begins with hooks off again. The same allocator is in force then, and meets it when it first allocates, on all engines; so only those
//! that never do each need a delivery. (5.1: an error in a finalizer is one in the code that the collector has interrupted, so the next one has to wait for a next call.)
//!
//! A finalizer that runs its endless code in coroutines, one after the other, is met by the same: it must make them, and the
//! allocator is called for each.
//!
//! **A C function that works for long and then fails** takes the delivery back without any error of ours: it lands in that function, `pcall` puts `allowhook` back, and the next one lands in the next call. So
//! the delivery itself puts that allocator in force ([`switch_on`]): `load`, which fails slowly where a long text has its error at the end, gives its buffers back afterwards. A `pcall` gives nothing
//! back; the guarded one ([`crate::stdlib`]) looks up when it has caught something ([`after_a_protected_call`]). (LuaJIT needs neither, see the table.)
//!
//! **Among very many coroutines**, which a finalizer can make, for they are not collected meanwhile, the deliveries that this takes are walks through all of them, each with a rest after it
//! that is four times as long ([`crate::record`]). Where walks took long, an endless finalizer that made a coroutine in each round, and ever more of them in each rest, was ended after 0.2 to 7 s. So a walk notes in which coroutines it has found hooks off
//! ([`suspect`]), and while the thread rests, the next deliveries see to these alone.
//!
//! Only stops do that: a handler that goes on would run inside the user's hook. And instruction limits, for nothing is counted there
//! otherwise: where the count hook has been silent for some time, it is switched on too.

pub mod deep;
mod few;
pub mod overflow;
mod signs;

pub use signs::{
    are_off, in_event, in_finalizer, is_off_besides, is_over, is_unseen, may_be_finalizing,
};

use crate::alloc;
use crate::coroutines::{Entry, SavedHook};
use crate::hook;
use crate::state::State;
use crate::sys::{self, lua_State};
use few::Few;
use signs::{IN_EVENT, IN_FINALIZER};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::Ordering;

/// LuaJIT: `HOOK_ACTIVE` in `lj_obj.h`, as [`crate::hookmask`] has seen it.
pub const ACTIVE: u8 = 0x10;

/// So many slots more than a finalizer needs: `luaD_shrinkstack` of 5.4 wants to see two thirds unused.
const MANY_SLOTS: c_int = 4000;

/// `luaE_shrinkCI` frees every second one of those that are not in use.
const CALLS: c_int = 6;

/// 5.1 and 5.2: bytes of new blocks that code may have which goes on in spite of a stop. It is on its way to the next delivery, and where hooks are off nothing is collected: a finalizer that
/// catches each stop in a coroutine of its own made a million of them, and each delivery goes through all. What grows is not refused, for the stack must (see
/// [`State::grow_no_more_if_closing_late`]). From 5.3 on each refusal would be a full collection; LuaJIT is not refused for what [`crate::memory`] says.
const MOST_NEW: usize = 8 << 20;

/// What is known of coroutines in which hooks are off.
#[derive(Default)]
pub struct Hookless {
    /// Those in which hooks were off when a stop was delivered, and have been switched on.
    known: Few,
    /// Those in which they were off when all were last walked through. Perhaps what runs there ends by itself; they are looked at again soon ([`for_each_suspect`]).
    suspects: Few,
    /// [`allocate`] is in force.
    waiting: Cell<bool>,
    /// It has been put there for an error of ours.
    raised: Cell<bool>,
    /// [`provoke`] is at work.
    provoking: Cell<bool>,
    /// Bytes of new blocks between an error of ours and the next hook, since this stop began.
    made: Cell<usize>,
}

impl Hookless {
    /// Whether any is known.
    pub fn is_any(&self) -> bool {
        !self.known.is_empty()
    }
}

/// A walk through all coroutines begins, which notes [suspects](suspect) anew. **Signal context.**
pub fn suspect_nobody(state: &State) {
    state.hookless.suspects.clear();
    state.record().unseen.store(false, Ordering::Relaxed);
}

/// Notes `co` if it runs, or waits for another, with hooks off. **Signal context.**
///
/// # Safety
/// As [`switch_on`].
pub unsafe fn suspect(state: &State, co: *mut lua_State) {
    // SAFETY: by the caller; the place was found inside the struct, and verified.
    let off = unsafe { allowhook(state, co).is_some_and(|allow| allow.read_volatile() == 0) };
    if off && depth(state, co).is_some() {
        state.hookless.suspects.note(co, |co| depth(state, co));
        state.record().unseen.store(true, Ordering::Relaxed);
    }
}

/// Calls `f` for each that is still there, as [`State::for_each_live`] does for all. **Signal context.**
pub fn for_each_suspect(state: &State, mut f: impl FnMut(*mut lua_State, &Entry)) {
    let main = state.main.get();
    if main.is_null() || !state.allocator_is_ours() || state.coroutines.is_busy() {
        return;
    }
    for co in state.hookless.suspects.each() {
        // Another may be in its place by now, perhaps one that Lua has not set up yet.
        if let Some(entry) = state.entry(co)
            // SAFETY: in the set: see `for_each_live`.
            && (co == main || state.is_coroutine(co) && unsafe { sys::is_initialised(co) })
        {
            f(co, entry);
        }
    }
}

/// The greater the farther in; none: it does not run.
fn depth(state: &State, co: *mut lua_State) -> Option<usize> {
    // While the set of coroutines is being changed, nobody can tell.
    if state.coroutines.is_busy() {
        return Some(0);
    }
    if !is_alive(state, co) {
        return None;
    }
    // SAFETY: it is live. One that waits for another runs, too. Where it was called from is on this thread's stack, which grows downwards.
    match unsafe { state.layout.get().jump_of(co) } {
        Some(0) => None,
        jump => Some(!jump.unwrap_or(usize::MAX)),
    }
}

/// Switches hooks on in `co`. **Signal context**; owner thread.
///
/// # Safety
/// `co` is a live, initialised coroutine of this state.
pub unsafe fn switch_on(state: &State, co: *mut lua_State) {
    // SAFETY: by the caller; both places were found inside the structs, and verified.
    unsafe {
        if let Some(allow) = allowhook(state, co)
            && allow.read_volatile() == 0
        {
            allow.write_volatile(1);
            state.hookless.known.note(co, |co| depth(state, co));
            if state.allocator_is_ours() {
                watch_allocations(state, co);
            }
        }
        if let Some(mask) = hookmask(state) {
            mask.write_volatile(mask.read_volatile() & !ACTIVE);
        }
    }
}

/// The hook of `l` is about to raise an error: from here on hooks are on, also where they were off.
///
/// **longjmp** on 5.1, where this may raise the error itself.
///
/// # Safety
/// `l` runs our hook. If the place of `errfunc` is known, the error object is on top of its stack.
pub unsafe fn before_an_error(state: &State, l: *mut lua_State) {
    // SAFETY: `l` is live. A coroutine that dies by this error keeps `allowhook` as it is now, inside a hook; its `__close`
    // methods would run with hooks off. No Lua code runs before the error is caught.
    unsafe {
        if let Some(allow) = allowhook(state, l) {
            if state.hookless.is_any() && state.allocator_is_ours() {
                // What runs here must not meet the hook.
                allow.write_volatile(0);
                provoke(state, l);
            }
            allow.write_volatile(1);
        }
        if let Some(mask) = hookmask(state) {
            if in_finalizer(state) && state.allocator_is_ours() {
                wait(state, l);
            }
            mask.write_volatile(mask.read_volatile() & !ACTIVE);
        }
    }
}

/// Puts [`allocate`] in force, until the hook runs.
///
/// # Safety
/// As [`before_an_error`].
unsafe fn wait(state: &State, l: *mut lua_State) {
    state.hookless.raised.set(true);
    state.memory.awaited.begin();
    state.memory.hurry(true);
    // SAFETY: by the caller.
    unsafe { watch_allocations(state, l) };
}

/// Puts [`allocate`] in force. **Signal context.**
///
/// # Safety
/// `l` is a live coroutine of this state, on its thread, and the allocator is ours.
unsafe fn watch_allocations(state: &State, l: *mut lua_State) {
    state.hookless.waiting.set(true);
    let ud = ptr::from_ref(state).cast_mut().cast();
    // SAFETY: by the caller. The state's record stays in place while it is attached. Two stores, one of which changes nothing, for our allocators have the same user data: whatever
    // is interrupted reads a pair that belongs together.
    unsafe { sys::lua_setallocf(l, allocate, ud) };
}

/// A protected call that has been made in `l` is over. If a delivery has switched hooks on meanwhile and the call has caught an error, they are off again: once more, then.
///
/// # Safety
/// `l` runs a C function of ours.
#[cfg(not(feature = "luajit"))]
#[cold]
#[inline(never)]
pub unsafe fn after_a_protected_call(l: *mut lua_State) {
    if let Some(state) = hook::state_of(l)
        && state.hookless.known.has(l)
    {
        // SAFETY: by the caller.
        unsafe { switch_on(state, l) };
    }
}

/// See the module's header.
///
/// # Safety
/// As [`before_an_error`].
unsafe fn provoke(state: &State, l: *mut lua_State) {
    // SAFETY: `l` runs our hook, so it has LUA_MINSTACK free slots. A coroutine that waits for another, as those do that are not `l`, may
    // have its stack moved (`debug.getlocal` does that too).
    unsafe {
        state.hookless.provoking.set(true);
        wait(state, l);
        state.memory.exempt(true);
        if cfg!(feature = "lua51") {
            if state.hookless.known.has(l) {
                overflow::raise(state, l);
            }
        } else {
            for co in state.hookless.known.each() {
                // Of `l` the list of `CallInfo` is enough, where that shrinks. It is far less.
                if is_alive(state, co) && (cfg!(feature = "lua52") || co != l) {
                    sys::lua_checkstack(co, MANY_SLOTS);
                }
            }
            sys::lua_pushcfunction(l, call_on);
            sys::lua_pushinteger(l, CALLS as _);
            sys::lua_call(l, 1, 0);
        }
        state.memory.exempt(false);
        state.hookless.provoking.set(false);
    }
}

/// Whether a coroutine that was noted is still there.
fn is_alive(state: &State, co: *mut lua_State) -> bool {
    co == state.main.get() || state.coroutines.get(co).is_some()
}

/// Calls itself so many times.
unsafe extern "C-unwind" fn call_on(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots.
    unsafe {
        let n = sys::lua_tointeger(l, 1);
        if n > 1 {
            sys::lua_pushcfunction(l, call_on);
            sys::lua_pushinteger(l, n - 1);
            sys::lua_call(l, 1, 0);
        }
    }
    0
}

/// The allocator between an error of ours, or a delivery that has found hooks off, and the next hook.
///
/// # Safety
/// As [`alloc::allocate`].
#[inline(never)] // compared by address: it must have one
pub unsafe extern "C" fn allocate(
    ud: *mut c_void,
    block: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    // SAFETY: as in `alloc::allocate`. First this, for the state may be gone afterwards.
    unsafe {
        let state = &*ud.cast::<State>();
        // Giving back comes after the growing, also where that has ended in an error. (`lua_close` of 5.1 gives nothing back then; but there a new block is first made for the message.)
        let shrinks = !block.is_null() && nsize < osize;
        let ends = shrinks || cfg!(feature = "lua51") && block.is_null();
        if ends || !state.hookless.provoking.get() {
            if state.hookless.provoking.replace(false) {
                state.memory.exempt(false); // the growing has ended in an error
            }
            for co in state.hookless.known.each() {
                if is_alive(state, co)
                    && let Some(allow) = allowhook(state, co)
                {
                    allow.write_volatile(1);
                    see_to_hook(state, co);
                }
            }
        }
        switch_on_in_finalizer(state);
        let is_bounded = cfg!(any(feature = "lua51", feature = "lua52"));
        if is_bounded
            && block.is_null()
            && state.hookless.raised.get()
            && !state.hookless.provoking.get()
        {
            let made = state.hookless.made.get().saturating_add(nsize);
            if made > MOST_NEW {
                return ptr::null_mut();
            }
            state.hookless.made.set(made);
        }
        alloc::allocate(ud, block, osize, nsize)
    }
}

/// Our hook is there: what has run with hooks off may have taken it away, by `debug.sethook`.
///
/// # Safety
/// `co` is a live coroutine of this state, on its thread.
unsafe fn see_to_hook(state: &State, co: *mut lua_State) {
    // SAFETY: by the caller. It is what a signal handler does, at any instruction.
    unsafe {
        if !hook::is_ours(SavedHook::of(co))
            && let Some(entry) = state.entry(co)
        {
            hook::set_on(state, co, entry, sys::MASK_ALL, hook::OUR_COUNT, false);
        }
    }
}

/// LuaJIT: the next finalizer runs, in which hooks are off again. (Not in an event of the virtual machine.)
///
/// # Safety
/// The state is attached; this is its thread.
unsafe fn switch_on_in_finalizer(state: &State) {
    if cfg!(feature = "luajit")
        && !state.main.get().is_null()
        && let Some(place) = hookmask(state)
    {
        // SAFETY: found behind the main state, which is not gone.
        unsafe {
            let mask = place.read_volatile();
            if mask & (IN_FINALIZER | IN_EVENT) == IN_FINALIZER {
                place.write_volatile(mask & !ACTIVE);
                see_to_hook(state, state.main.get());
            }
        }
    }
}

/// 5.1: the hook runs for [`overflow`]'s message handler, inside the error that is being raised, and has nothing to do there. **Hook**.
///
/// # Safety
/// As [`overflow::runs_handler`].
#[inline]
pub unsafe fn is_raising(state: &State, l: *mut lua_State, ar: *mut sys::lua_Debug) -> bool {
    // SAFETY: by the caller.
    cfg!(feature = "lua51")
        && state.hookless.waiting.get()
        && unsafe { overflow::runs_handler(l, ar) }
}

/// The hook runs: the usual allocator again, and the usual limit.
#[inline]
pub fn settle(state: &State) {
    state.memory.awaited.end();
    if state.hookless.waiting.replace(false) {
        stop_waiting(state);
    }
}

#[cold]
fn stop_waiting(state: &State) {
    state.hookless.raised.set(false);
    state.hookless.provoking.set(false);
    state.memory.exempt(false);
    state.memory.hurry(false);
    if state.allocator_is_ours() {
        // SAFETY: the state is live (there is no main state otherwise, and then nobody gets here), on its thread.
        unsafe { state.wrap_allocator() };
    }
}

/// Nothing is to be stopped any more.
#[inline]
pub fn forget(state: &State) {
    settle(state);
    state.hookless.known.clear();
    state.hookless.suspects.clear();
    state.hookless.made.set(0);
}

unsafe fn allowhook(state: &State, co: *mut lua_State) -> Option<*mut u8> {
    // SAFETY: found inside a `lua_State`.
    let place = |offset| unsafe { co.cast::<u8>().add(offset) };
    state.layout.get().allowhook.map(place)
}

/// LuaJIT: the byte.
pub fn hookmask(state: &State) -> Option<*mut u8> {
    // SAFETY: found behind the main state, in the same block.
    let place = |offset| unsafe { state.main.get().cast::<u8>().add(offset) };
    state.layout.get().hookmask.map(place)
}

#[cfg(all(test, not(feature = "luajit")))]
mod tests;
