//! The wrapped allocator: what the state's memory is, and which coroutines it holds.
//!
//! `lua_setallocf` puts this in front of the allocator that the host chose; each call is passed on. On the way it does three
//! things, all on the thread that runs the state:
//!
//! - **counts** the bytes in use, and refuses growth beyond the memory limit (never a shrink: Lua takes for granted that those
//!   succeed). From 5.2 on Lua then collects and asks once more; only the second refusal is final and stops the call. 5.1 and
//!   LuaJIT do not collect there, so the first is.
//! - **sees coroutines come and go** ([`crate::coroutines`]). 5.2 and later name the type of a new object in `osize`. 5.1 does
//!   not: there each block of a coroutine's size is a candidate, and is looked at before it is touched ([`State::is_coroutine`]).
//!   A candidate's block is zeroed, so that no field of a coroutine that Lua has not set up yet holds garbage when a signal lands.
//! - **sees the state go**: the block that holds the main `lua_State` is freed last. From then on nothing may touch it, however it
//!   was closed (a script can do that by `os.exit(true, true)`).
//!
//! What a free costs: two comparisons. What an allocation costs: two comparisons and an addition; the benchmarks show nothing of it.

use crate::request::CHECK;
use crate::scope::Scope;
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{Reason, hook};
use std::ffi::c_void;

/// The allocator function. `ud` is the [`State`].
///
/// # Safety
/// As `lua_Alloc`; called by Lua on the thread that runs the state.
#[inline(never)] // compared by address: it must have one
pub unsafe extern "C" fn allocate(
    ud: *mut c_void,
    block: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    // SAFETY: `ud` was given to `lua_setallocf` with this function and outlives the state (`State::detach` restores the
    // host's allocator before it frees the record, or the state is gone).
    let state = unsafe { &*ud.cast::<State>() };
    state.notice_thread();
    if block.is_null() {
        // SAFETY: as `lua_Alloc`.
        unsafe { create(state, osize, nsize) }
    } else if nsize == 0 {
        // SAFETY: as `lua_Alloc`.
        unsafe { free(state, block, osize) }
    } else {
        // SAFETY: as `lua_Alloc`.
        unsafe { resize(state, block, osize, nsize) }
    }
}

unsafe fn create(state: &State, kind: usize, size: usize) -> *mut c_void {
    if size == 0 || !admit(state, std::ptr::null(), size) {
        return std::ptr::null_mut();
    }
    // SAFETY: passed on as it came.
    let block = unsafe { state.pass_on(std::ptr::null_mut(), kind, size) };
    if block.is_null() {
        return block;
    }
    state.used.set(state.used.get() + size);
    let new_coroutine = if sys::ALLOC_TELLS_TYPE {
        kind == sys::LUA_TTHREAD as usize && !state.learning.get()
    } else {
        size == state.coroutine_size.get()
    };
    if new_coroutine && sys::HOOK_PER_COROUTINE {
        // SAFETY: `size` fresh bytes.
        unsafe { block.cast::<u8>().write_bytes(0, size) };
        let co = block.wrapping_byte_add(state.coroutine_offset.get());
        if !state.coroutines.insert(co.cast()) {
            // SAFETY: the block that was just made.
            unsafe { free(state, block, size) };
            return std::ptr::null_mut();
        }
        state.charge_for_coroutine();
    }
    if state.learning.get() {
        state.remember_block(block as usize, size);
    }
    block
}

unsafe fn free(state: &State, block: *mut c_void, size: usize) -> *mut c_void {
    state.used.set(state.used.get().wrapping_sub(size));
    forget(state, block, size);
    let last = (state.main.get() as usize).wrapping_sub(block as usize) < size;
    if last {
        state.main_is_gone();
    }
    // SAFETY: passed on as it came.
    let result = unsafe { state.pass_on(block, size, 0) };
    if last && state.belongs_to_lua.get() {
        // SAFETY: this was the last call of the state's allocator.
        unsafe { State::free(state) };
    }
    result
}

unsafe fn resize(state: &State, block: *mut c_void, osize: usize, nsize: usize) -> *mut c_void {
    if nsize > osize && !admit(state, block, nsize - osize) {
        return std::ptr::null_mut();
    }
    forget(state, block, osize);
    // SAFETY: passed on as it came.
    let new = unsafe { state.pass_on(block, osize, nsize) };
    if !new.is_null() {
        state
            .used
            .set(state.used.get().wrapping_add(nsize).wrapping_sub(osize));
    }
    new
}

/// A block that may be a coroutine leaves the set before its memory is given away.
#[inline]
fn forget(state: &State, block: *mut c_void, size: usize) {
    if size == state.coroutine_size.get() {
        let co: *mut lua_State = block.wrapping_byte_add(state.coroutine_offset.get()).cast();
        state.coroutines.remove(co);
        state.forget_watched();
    }
}

/// Whether the state may grow by `growth` bytes.
#[inline]
fn admit(state: &State, block: *const c_void, growth: usize) -> bool {
    if state.used.get().saturating_add(growth) <= state.memory_limit.get()
        && !state.refuse_next.get()
    {
        if state
            .last_refusal
            .get()
            .is_some_and(|last| last.0 == growth)
        {
            // The same request again, and granted: the collection in between has helped, and the next refusal is a new one.
            // (Others do not count: a script that catches the refusal of a string buffer, for which nothing is collected,
            // allocates small things before it tries the same again.)
            state.last_refusal.set(None);
        }
        return true;
    }
    refuse(state, block, growth)
}

#[cold]
fn refuse(state: &State, block: *const c_void, growth: usize) -> bool {
    if state.refuse_next.replace(false) {
        return false; // our own: `hook::raise`
    }
    state.refusals.set(state.refusals.get() + 1);
    // The second request of the same size means that the collection in between has not helped enough.
    let this = (growth, state.used.get());
    let last = state.last_refusal.replace(Some(this));
    let asked_twice = last.is_some_and(|l| l.0 == growth && this.1 <= l.1);
    // SAFETY: the state is live, on this thread; asking reads a flag.
    let final_ = asked_twice || !unsafe { sys::collects_when_refused(state.main.get()) };
    if final_ && !state.over_memory.replace(true) {
        let wanted = state.used.get().saturating_add(growth);
        state.for_each_scope(|s: &Scope| {
            if wanted > s.memory_until {
                s.hit(Reason::Memory);
            }
        });
        hook::trace_from_allocator(state, block);
        state.ask_self(CHECK);
    }
    false
}
