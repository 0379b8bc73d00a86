//! How a function that is active was called: more than `lua_getstack` tells, for [`crate::info`], by the same walk over the frames.

use super::{Kind, PLACES, Stack};
use crate::sys::lua_State;
use std::ffi::c_int;

/// A function that is active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Where its frame is, in slots from the first of the stack.
    pub slot: usize,
    /// C code has called it: a C function, or LuaJIT itself, as a message handler, finalizer, or hook.
    pub is_called_by_c: bool,
    /// So is what runs above it.
    pub is_below_c: bool,
}

/// As [`crate::pcalls::seen`].
///
/// # Safety
/// As there.
pub unsafe fn seen(l: *mut lua_State, level: c_int) -> Option<Seen> {
    let places = (*PLACES.get()?)?;
    // SAFETY: by the caller. The walk is that of `lua_getstack`: it does not count the second frame of a vararg function, nor those in which the coroutine itself stands for the function.
    unsafe {
        let stack = Stack::of(l, places)?;
        let (mut frame, mut level, mut is_below_c) = (stack.top, level, false);
        loop {
            let called = match frame.kind() {
                Kind::Vararg => stack.previous(frame)?,
                _ => frame,
            };
            let is_called_by_c = called.kind() == Kind::C;
            if frame.function() != l.addr() {
                if level == 0 {
                    return Some(Seen {
                        slot: stack.slot(frame),
                        is_called_by_c,
                        is_below_c,
                    });
                }
                level -= 1;
            }
            is_below_c = is_called_by_c;
            frame = stack.previous(called)?;
        }
    }
}
