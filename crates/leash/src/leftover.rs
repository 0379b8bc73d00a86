//! 5.2 and 5.3: the errors of finalizers that a state has on its stack while it is closed.
//!
//! A finalizer that fails when the state is closed leaves its error on the stack of the main state (`GCTM` in `lgc.c`: nobody takes it away), and the next is put behind it without a look
//! whether there is room. Lua relies on the call that follows, which makes the stack grow if need be. So if that is refused, or if there are more errors than a stack may have slots, a
//! million, Lua writes beyond the end of its stack. Sixty megabytes of objects whose finalizer is `error` end the standard interpreters in this way; a memory limit that is used up takes forty of them.
//!
//! So this stack may always grow: it has its own bound. And whenever it has grown, Lua gives back what is too much after the next error (`luaD_shrinkstack` in
//! `luaD_pcall`), which is a call of the allocator at a moment at which nothing but those errors is there: they are taken away.
//!
//! (5.1 ends the whole round of finalizers with the first error, and begins anew; from 5.4 on the error is made a warning. Both take it away.)

use crate::layout::LARGEST_STATE;
use crate::state::State;
use crate::sys::{self, lua_Debug};
use std::ffi::{c_int, c_void};
use std::ptr;

const NEEDED: bool = cfg!(any(feature = "lua52", feature = "lua53"));

/// No value that [`lua_gettop`](sys::lua_gettop) has.
const NOT_CLOSING: c_int = -1;

/// How many values the host has on the stack of a state that is being closed.
pub struct Leftover(std::cell::Cell<c_int>);

impl Leftover {
    /// The state is not being closed.
    pub const fn new() -> Leftover {
        Leftover(std::cell::Cell::new(NOT_CLOSING))
    }

    /// It is from here on.
    ///
    /// # Safety
    /// The state is attached, and runs on this thread.
    pub unsafe fn closing(&self, state: &State) {
        // SAFETY: by the caller.
        unsafe {
            if NEEDED && is_at_base(state) {
                self.0.set(sys::lua_gettop(state.main.get()));
            }
        }
    }

    /// Whether something may be left.
    #[inline(always)]
    pub fn is_any(&self) -> bool {
        NEEDED && self.0.get() != NOT_CLOSING
    }
}

/// Whether this block, which is to grow, is the stack of a main state that is being closed.
#[cold]
pub fn is_stack(state: &State, block: *const c_void) -> bool {
    if !state.leftover.is_any() || block.is_null() || state.main.get().is_null() {
        return false;
    }
    // The stack is the only block of those that grow to whose beginning a `lua_State` has a pointer: the others are the newest object of its list, its upvalues, and calls, which keep their size.
    let size = state.coroutine_size.get() - state.coroutine_offset.get();
    if size > LARGEST_STATE {
        return false; // it is not known
    }
    let words = size / size_of::<usize>();
    let main = state.main.get().cast::<usize>();
    // SAFETY: inside the main state, which is as large as a coroutine.
    (0..words).any(|i| unsafe { main.add(i).read() } == block as usize)
}

/// A block is about to shrink: if it is that stack, and no finalizer runs, what they have left goes.
///
/// # Safety
/// In the allocator of the state, on its thread.
#[cold]
pub unsafe fn clear(state: &State, block: *const c_void) {
    // SAFETY: by the caller; a live main state. To make a stack lower asks for no memory and moves nothing, and who resizes the stack looks for its top afterwards (`correctstack`).
    unsafe {
        if is_stack(state, block) && is_at_base(state) {
            let (main, top) = (state.main.get(), state.leftover.0.get());
            if sys::lua_gettop(main) > top {
                sys::lua_settop(main, top);
            }
        }
    }
}

/// Whether nothing runs in the main state but what the host does.
///
/// # Safety
/// It is live, on this thread.
unsafe fn is_at_base(state: &State) -> bool {
    // SAFETY: by the caller. `lua_Debug` is plain data, of which zero is a value.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        sys::lua_getstack(state.main.get(), 0, ptr::from_mut(&mut ar)) == 0
    }
}
