//! Bytes into a `luaL_Buffer`: small ones without a call.

use super::matcher::At;
use crate::sys::{self, luaL_Buffer};

/// Adds some bytes.
///
/// # Safety
/// A buffer in use, with nothing above what it has on the stack. They are readable. May raise.
#[inline(always)]
pub unsafe fn add(result: *mut luaL_Buffer, from: At, to: At) {
    // SAFETY: by the caller. The room that a buffer has is told by its fields, which the macros of `lauxlib.h` use as well.
    unsafe {
        let length = to.offset_from_unsigned(from);
        let (room, left) = room(result);
        if length > left {
            sys::luaL_addlstring(result, from.cast(), length);
        } else {
            if length < 16 {
                for i in 0..length {
                    *room.add(i) = *from.add(i);
                }
            } else {
                room.copy_from_nonoverlapping(from, length);
            }
            sys::luaL_addsize(result, length);
        }
    }
}

/// Where the next byte goes in a buffer, and how many have room.
///
/// # Safety
/// A buffer in use.
#[inline(always)]
pub unsafe fn room(result: *mut luaL_Buffer) -> (*mut u8, usize) {
    // SAFETY: by the caller: a buffer in use.
    unsafe {
        #[cfg(any(feature = "lua51", feature = "luajit"))]
        {
            let p = (*result).p;
            let end = (&raw mut (*result).buffer).cast::<std::ffi::c_char>();
            let end = end.add(sys::LUAL_BUFFERSIZE);
            (p.cast(), end.offset_from_unsigned(p))
        }
        #[cfg(not(any(feature = "lua51", feature = "luajit")))]
        {
            let n = (*result).n;
            ((*result).b.add(n).cast(), (*result).size - n)
        }
    }
}
