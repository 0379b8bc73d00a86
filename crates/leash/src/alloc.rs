//! The wrapped allocator: what the state's memory is, and which coroutines it holds.
//!
//! `lua_setallocf` puts this in front of the allocator that the host chose. Small blocks that Lua gives back are kept for its next requests
//! ([`crate::memory`]); every other call is passed on. On the way it does three things, all on the thread that runs the state:
//!
//! - **counts** the bytes in use, and refuses growth beyond the memory limit ([`crate::memory`]). Never a shrink: Lua takes for granted
//!   that those succeed. So it does where a stop [waits](crate::overdue) for a C function.
//! - **sees coroutines come and go** ([`crate::coroutines`]). 5.2 and later name the type of a new object in `osize`. 5.1 does
//!   not: there each block of a coroutine's size is a candidate, and is looked at before it is touched ([`State::is_coroutine`]).
//!   A candidate's block is zeroed, so that no field of a coroutine that Lua has not set up yet holds garbage when a signal lands.
//! - **sees the state go**: the block that holds the main `lua_State` is freed last. From then on nothing may touch it, however it
//!   was closed (a script can do that by `os.exit(true, true)`). On LuaJIT it has to know before that: [`crate::sentinel`].
//!
//! What it costs: three comparisons and an addition for each allocation, less than is won by what is kept. The functions here are `extern "C"`, out of which no panic gets, so that
//! the last call of each is a jump.

use crate::memory::Answer;
use crate::request::CHECK;
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hook, hookless, leftover, overdue, sentinel, trace};
use std::ffi::c_void;
use std::ptr;

/// The allocator function. `ud` is the [`State`].
///
/// What is usual is short and straight, and ends in a jump to the host's allocator; what is not is called.
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
    // SAFETY: each passes on what came, as `lua_Alloc`.
    unsafe {
        if state.is_elsewhere() {
            return serve_here(state, block, osize, nsize);
        }
        serve(state, block, osize, nsize)
    }
}

/// The state has come to this thread.
#[cold]
#[inline(never)]
unsafe extern "C" fn serve_here(
    state: &State,
    block: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    state.follow_to_this_thread();
    // SAFETY: as `lua_Alloc`.
    unsafe { serve(state, block, osize, nsize) }
}

#[inline(always)]
unsafe fn serve(state: &State, block: *mut c_void, osize: usize, nsize: usize) -> *mut c_void {
    // SAFETY: each passes on what came, as `lua_Alloc`.
    unsafe {
        if nsize == 0 {
            if is_notable(state, block, osize) {
                return free_notable(state, block, osize);
            }
            let used = &state.memory.used;
            used.set(used.get().wrapping_sub(osize));
            return state.memory.release(block, osize);
        }
        if block.is_null() {
            create(state, osize, nsize)
        } else {
            resize(state, block, osize, nsize)
        }
    }
}

#[inline(always)]
unsafe fn create(state: &State, kind: usize, size: usize) -> *mut c_void {
    // SAFETY: passed on as it came.
    unsafe {
        if !state.memory.is_plenty(size) || may_be_coroutine(state, kind, size) {
            return create_notable(state, kind, size);
        }
        let spare = state.memory.spare(size);
        if spare.is_null() {
            return create_new(state, kind, size);
        }
        let used = &state.memory.used;
        used.set(used.get() + size);
        spare
    }
}

// Not inlined, like all below: what is not in `serve` needs no registers to be saved there.
#[inline(never)]
unsafe extern "C" fn create_new(state: &State, kind: usize, size: usize) -> *mut c_void {
    if size >= overdue::LARGE && overdue::is_overdue(state) {
        return ptr::null_mut();
    }
    // SAFETY: passed on as it came.
    let new = unsafe { state.memory.ask_host(ptr::null_mut(), kind, size) };
    if !new.is_null() {
        let used = &state.memory.used;
        used.set(used.get() + size);
    }
    new
}

/// Whether this allocator function is one of ours.
pub fn is_ours(f: sys::lua_Alloc) -> bool {
    let f = f as usize;
    f == allocate as *const () as usize || f == hookless::allocate as *const () as usize
}

/// Whether this block may be a coroutine, or is the one that tells that the state is going, or is none.
#[inline(always)]
fn is_notable(state: &State, block: *mut c_void, size: usize) -> bool {
    size == state.coroutine_size.get() && state.knows_coroutines()
        || state.landmark.get().wrapping_sub(block as usize) < size
        || block.is_null()
}

/// Whether this is to become a coroutine, as far as the allocator is told, or whether all is to be noted.
#[inline(always)]
fn may_be_coroutine(state: &State, kind: usize, size: usize) -> bool {
    if sys::ALLOC_TELLS_TYPE {
        kind == sys::LUA_TTHREAD as usize
    } else {
        sys::HOOK_PER_COROUTINE && size == state.coroutine_size.get() || state.learning.get()
    }
}

#[cold]
#[inline(never)]
unsafe extern "C" fn create_notable(state: &State, kind: usize, size: usize) -> *mut c_void {
    if !state.memory.is_plenty(size) && !admit(state, ptr::null(), size) {
        return ptr::null_mut();
    }
    // SAFETY: passed on as it came.
    let block = unsafe { state.memory.obtain(kind, size) };
    if block.is_null() {
        return block;
    }
    state.memory.used.set(state.memory.used.get() + size);
    if state.learning.get() {
        state.remember_block(block as usize, size);
    } else if sys::HOOK_PER_COROUTINE && may_be_coroutine(state, kind, size) {
        // SAFETY: `size` fresh bytes.
        unsafe { block.cast::<u8>().write_bytes(0, size) };
        let co = block.wrapping_byte_add(state.coroutine_offset.get());
        if !state.coroutines.insert(co.cast()) {
            // SAFETY: the block that was just made.
            unsafe { free_notable(state, block, size) };
            return ptr::null_mut();
        }
        state.charge_for_coroutine();
    }
    block
}

#[cold]
#[inline(never)]
unsafe extern "C" fn free_notable(state: &State, block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        return block; // 5.1 frees what it has not got, and says zero bytes; be sure
    }
    let used = &state.memory.used;
    used.set(used.get().wrapping_sub(size));
    forget(state, block, size);
    let is_landmark = state.landmark.get().wrapping_sub(block as usize) < size;
    if is_landmark && sentinel::goes(state) {
        let (f, ud) = state.memory.base();
        // SAFETY: passed on as it came, to the host's allocator, for ours is no longer in force, and nothing is kept any more.
        return unsafe {
            sentinel::retire(state);
            f(ud, block, size, 0)
        };
    }
    let last = (state.main.get() as usize).wrapping_sub(block as usize) < size;
    if last {
        state.main_is_gone();
    }
    // SAFETY: passed on as it came. The host's allocator may go with the last block.
    let result = unsafe {
        if last {
            state.memory.keep_no_spares();
        }
        state.memory.release(block, size)
    };
    if last && state.belongs_to_lua.get() {
        // SAFETY: this was the last call of the state's allocator.
        unsafe { State::free(state) };
    }
    result
}

#[inline(never)]
unsafe extern "C" fn resize(
    state: &State,
    block: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    let growth = nsize.saturating_sub(osize);
    if growth != 0 && !state.memory.is_plenty(growth) && !admit(state, block, growth) {
        return ptr::null_mut();
    }
    if osize == state.coroutine_size.get() && state.knows_coroutines() {
        forget(state, block, osize);
    }
    if nsize < osize && state.leftover.is_any() {
        // SAFETY: on the state's thread.
        unsafe { leftover::clear(state, block) };
    }
    // SAFETY: passed on as it came.
    let new = unsafe { state.memory.change(block, osize, nsize) };
    if !new.is_null() {
        let used = &state.memory.used;
        used.set(used.get().wrapping_add(nsize).wrapping_sub(osize));
    }
    new
}

/// A block that may be a coroutine leaves the set before its memory is given away.
#[cold]
fn forget(state: &State, block: *mut c_void, size: usize) {
    if size == state.coroutine_size.get() {
        let co: *mut lua_State = block.wrapping_byte_add(state.coroutine_offset.get()).cast();
        state.forget_calls_of(co);
        state.forget_ward(co);
        state.coroutines.remove(co);
        state.forget_watched();
    }
}

/// Whether the state may grow by `growth` bytes, to resize `block`.
#[cold]
fn admit(state: &State, block: *const c_void, growth: usize) -> bool {
    if leftover::is_stack(state, block) {
        return true;
    }
    state.refresh(); // the limit may be that of a call that is no more, or is asleep
    let mut limit = usize::MAX;
    state.for_each_scope(|s| limit = limit.min(s.memory_until.get()));
    // SAFETY: the state is live, on this thread; asking reads a flag.
    let collects = || unsafe { sys::collects_when_refused(state.main.get()) };
    let is_stack = || trace::is_stack_of_active(state, block);
    let is_new = block.is_null();
    let answer = state.memory.ask(growth, limit, is_new, collects, is_stack);
    match answer {
        Answer::Granted => {
            state.memory.look_again_later(growth, limit);
            true
        }
        Answer::GrantedToHook => true,
        Answer::GrantedSoft => {
            state.ask_self(CHECK);
            true
        }
        Answer::Refused => {
            if sys::MAY_ASK_ONCE_FOR_STACK && trace::is_stack_of_active(state, block) {
                state.memory.refused_stack(growth);
                state.ask_self(CHECK);
            }
            false
        }
        Answer::RanOut | Answer::GrantedBeyond => {
            state.memory_ran_out(state.memory.used.get().saturating_add(growth));
            hook::trace_from_allocator(state, block);
            state.ask_self(CHECK);
            answer == Answer::GrantedBeyond
        }
    }
}
