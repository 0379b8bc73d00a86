//! `string.rep`.
//!
//! The length of the result is known, so there is one piece of memory for it: that of a `luaL_Buffer`, or of a userdata where buffers consist of
//! small pieces (5.1, LuaJIT). It is filled from itself, in blocks.

use super::dialect::{self, Size};
use super::matcher::At;
use super::steps;
use super::stock::original;
use crate::sys::{self, lua_State};
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

/// Bytes that are copied at a time.
const BLOCK: usize = 1 << 18;

/// A result of so few bytes is written byte by byte.
const SHORT: usize = 64;

/// What is copied lies at most so far behind, where the cache still has it.
const NEAR: usize = 1 << 14;

/// `string.rep`
pub unsafe extern "C-unwind" fn rep(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything. The strings are arguments, which stay on the stack.
    unsafe {
        let (mut length, mut separator_length) = (0, 0);
        let s: At = sys::luaL_checklstring(l, 1, &mut length).cast();
        let n = dialect::repetitions(l, 2);
        let mut separator: At = ptr::null();
        if dialect::REP_SEPARATES && sys::lua_isnoneornil(l, 3) == 0 {
            separator = sys::luaL_checklstring(l, 3, &mut separator_length).cast();
        }
        if n == 0 || length == 0 && (separator_length == 0 || n == 1) {
            sys::lua_pushlstring(l, c"".as_ptr(), 0);
            return 1;
        }
        let each = length.saturating_add(separator_length);
        // What overflows is too much for every engine.
        let total = n.saturating_mul(each as u64) - separator_length as u64;
        match dialect::size_of_result(n, each, total) {
            Size::Fits => {}
            Size::TooLarge => {
                return sys::luaL_error(l, c"resulting string too large".as_ptr());
            }
            Size::LeftToOriginal => {
                return original(l, |stock| Some(stock.rep));
            }
        }
        if n == 1 {
            sys::lua_settop(l, 1);
            return 1;
        }
        let total = total as usize;
        build(l, total, |to| {
            if length == 1 && separator_length == 0 {
                return fill(l, to, *s, total);
            }
            if total <= SHORT {
                return repeat_short(to, n, (s, length), (separator, separator_length));
            }
            copy(l, to, s, length);
            copy(l, to.add(length), separator, separator_length);
            repeat(l, to, each, total);
        });
    }
    1
}

/// Pushes a string of this length, which `fill` writes.
#[cfg(any(feature = "lua51", feature = "luajit"))]
#[inline(always)]
unsafe fn build(l: *mut lua_State, length: usize, fill: impl FnOnce(*mut u8)) {
    const SMALL: usize = 1024;
    // SAFETY: by the caller. A userdata stays where it is while it is on the stack.
    unsafe {
        if length <= SMALL {
            let mut room = MaybeUninit::<[u8; SMALL]>::uninit();
            fill(room.as_mut_ptr().cast());
            sys::push_bytes(l, room.as_ptr().cast(), length);
        } else {
            let room = sys::lua_newuserdata(l, length).cast();
            fill(room);
            sys::push_bytes(l, room, length);
        }
    }
}

/// Pushes a string of this length, which `fill` writes.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
#[inline(always)]
unsafe fn build(l: *mut lua_State, length: usize, fill: impl FnOnce(*mut u8)) {
    let mut buffer = MaybeUninit::<sys::luaL_Buffer>::uninit();
    // SAFETY: by the caller. The buffer lies still in this frame, and is as it should be after the first call; what it owns is on Lua's stack.
    unsafe {
        let buffer = buffer.as_mut_ptr();
        fill(sys::luaL_buffinitsize(l, buffer, length).cast());
        sys::luaL_pushresultsize(buffer, length);
    }
}

/// Copies, looking up now and then.
#[inline(always)]
unsafe fn copy(l: *mut lua_State, mut to: *mut u8, mut from: At, mut length: usize) {
    // SAFETY: by the caller: both are as long, and apart.
    unsafe {
        while length > BLOCK {
            ptr::copy_nonoverlapping(from, to, BLOCK);
            steps::look_up(l);
            (to, from, length) = (to.add(BLOCK), from.add(BLOCK), length - BLOCK);
        }
        if length != 0 {
            ptr::copy_nonoverlapping(from, to, length);
        }
    }
}

/// Writes the same byte `total` times.
#[inline(always)]
unsafe fn fill(l: *mut lua_State, to: *mut u8, byte: u8, total: usize) {
    let mut done = 0;
    // SAFETY: by the caller: there is room for `total` bytes.
    unsafe {
        while total - done > BLOCK {
            ptr::write_bytes(to.add(done), byte, BLOCK);
            done += BLOCK;
            steps::look_up(l);
        }
        ptr::write_bytes(to.add(done), byte, total - done);
    }
}

/// What is not worth a thought.
#[inline(always)]
unsafe fn repeat_short(
    mut to: *mut u8,
    n: u64,
    (s, length): (At, usize),
    (separator, separator_length): (At, usize),
) {
    // SAFETY: by the caller: there is room for all.
    unsafe {
        let mut put = |from: At, length: usize| {
            for i in 0..length {
                to.add(i).write(*from.add(i));
            }
            to = to.add(length);
        };
        for _ in 1..n {
            put(s, length);
            put(separator, separator_length);
        }
        put(s, length);
    }
}

/// Goes on with the first `period` bytes until there are `total`.
#[inline(always)]
unsafe fn repeat(l: *mut lua_State, to: *mut u8, period: usize, total: usize) {
    // SAFETY: by the caller: there is room for `total` bytes.
    unsafe {
        let mut done = period;
        let mut until_look = BLOCK;
        while done < total {
            // Whole periods, as far behind as what is copied is long.
            let most = NEAR.max(period);
            let behind = match done <= most {
                true => done - done % period,
                false => most - most % period,
            };
            let block = behind.min(total - done).min(BLOCK);
            ptr::copy_nonoverlapping(to.add(done - behind), to.add(done), block);
            done += block;
            match until_look.checked_sub(block) {
                Some(left) => until_look = left,
                None => {
                    until_look = BLOCK;
                    steps::look_up(l);
                }
            }
        }
    }
}
