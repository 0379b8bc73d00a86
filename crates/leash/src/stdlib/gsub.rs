//! `string.gsub`.
//!
//! Text between matches is copied when the next match has been found, not character by character. Where nothing was replaced, the result is the
//! subject itself, as the originals do it from 5.4 on.

use super::buffer::add;
use super::captures::{self, Text};
use super::matcher::{At, BYTES_A_STEP, Matcher};
use super::stock::{self, APART};
use super::{dialect, stock::stock};
use crate::sys::{self, lua_Integer, lua_State, luaL_Buffer};
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

/// Bytes that are added in a step; 5.1 and LuaJIT add a long text one by one.
const COPIED_A_STEP: usize = match cfg!(any(feature = "lua51", feature = "luajit")) {
    true => 4,
    false => BYTES_A_STEP,
};

/// Steps that it takes to look a match up in a table with a metatable: `__index` may lead through two thousand others.
const LOOKED_UP: usize = 64;

/// `string.gsub`
pub unsafe extern "C-unwind" fn gsub(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua. The strings are arguments, which stay on the stack. The buffer lies still in this frame; what it owns
    // is on Lua's stack.
    unsafe {
        let (mut length, mut pattern_length) = (0, 0);
        let s: At = sys::luaL_checklstring(l, 1, &mut length).cast();
        let mut p: At = sys::luaL_checklstring(l, 2, &mut pattern_length).cast();
        let kind = sys::lua_type(l, 3);
        let most = dialect::most_replacements(l, 4);
        if !matches!(
            kind,
            sys::LUA_TNUMBER | sys::LUA_TSTRING | sys::LUA_TFUNCTION | sys::LUA_TTABLE
        ) && let Some(stock) = stock()
        {
            return (stock.gsub)(l); // says what is wrong in its own words
        }
        if matches!(kind, sys::LUA_TFUNCTION | sys::LUA_TTABLE) {
            dialect::may_nest(l);
        }
        let end = p.add(pattern_length);
        let anchored = *p == b'^';
        if anchored {
            p = p.add(1);
        }
        let mut matcher = Matcher::new(l, (s, s.add(length)), end);
        let mut result = MaybeUninit::<luaL_Buffer>::uninit();
        let result = result.as_mut_ptr();
        let first = if anchored { None } else { matcher.first(p) };
        let apart = stock::has(APART);
        let (mut from, mut copied, mut last) = (s, s, std::ptr::null());
        let (mut count, mut changed) = (0, false);
        while count < most {
            if let Some(first) = first {
                from = matcher.pass(from, first);
            }
            let to = matcher.matches(from, p);
            let mut goes_on = false;
            let empty_again = apart && to == last;
            if !to.is_null() && !empty_again {
                if count == 0 {
                    sys::luaL_buffinit(l, result);
                }
                count += 1;
                add(result, copied, from);
                copied = from;
                if add_value(&mut matcher, result, kind, (from, to)) {
                    copied = to;
                    changed = true;
                }
                goes_on = apart || to > from;
                (from, last) = (to, to);
            }
            if !goes_on {
                if from >= matcher.subject_end {
                    break;
                }
                from = from.add(1);
            }
            if anchored {
                break;
            }
        }
        if changed {
            add(result, copied, matcher.subject_end);
            sys::luaL_pushresult(result);
        } else {
            sys::lua_pushvalue(l, 1);
        }
        sys::lua_pushinteger(l, count as lua_Integer);
    }
    2
}

/// Adds what stands for a match; nothing, and false, if the match is to stay.
unsafe fn add_value(
    matcher: &mut Matcher,
    result: *mut luaL_Buffer,
    kind: c_int,
    found: (At, At),
) -> bool {
    let l = matcher.l;
    // SAFETY: by the caller, `gsub`. The buffer is on top of the stack.
    unsafe {
        match kind {
            sys::LUA_TFUNCTION => {
                sys::lua_pushvalue(l, 3);
                let count = captures::push_all(matcher, Some(found));
                sys::lua_call(l, count, 1);
                matcher.renew();
            }
            sys::LUA_TTABLE => {
                captures::push(matcher, 0, found);
                sys::lua_gettable(l, 3);
                matcher.renew();
                if sys::lua_getmetatable(l, 3) != 0 {
                    sys::lua_settop(l, -2);
                    matcher.work(LOOKED_UP);
                }
            }
            _ => {
                add_replacement(matcher, result, found);
                return true;
            }
        }
        if sys::lua_toboolean(l, -1) == 0 {
            sys::lua_settop(l, -2);
            return false;
        }
        if sys::lua_isstring(l, -1) == 0 {
            let name = sys::lua_typename(l, sys::lua_type(l, -1));
            sys::luaL_error(l, c"invalid replacement value (a %s)".as_ptr(), name);
        }
        sys::luaL_addvalue(result);
        true
    }
}

/// Adds the replacement string, with captures for `%1` and the match for `%0`.
unsafe fn add_replacement(matcher: &mut Matcher, result: *mut luaL_Buffer, found: (At, At)) {
    // SAFETY: by the caller.
    unsafe {
        let mut length = 0;
        let mut text: At = sys::lua_tolstring(matcher.l, 3, &mut length).cast();
        let end = text.add(length);
        matcher.work(length / BYTES_A_STEP);
        loop {
            let left = end.offset_from_unsigned(text);
            let escape = find_escape(text, left);
            if escape.is_null() {
                add(result, text, end);
                return;
            }
            add(result, text, escape);
            match *escape.add(1) {
                b'0' => {
                    add(result, found.0, found.1);
                    matcher.work(found.1.offset_from_unsigned(found.0) / COPIED_A_STEP);
                }
                digit @ b'1'..=b'9' => {
                    let index = usize::from(digit - b'1');
                    match captures::text(matcher, index, found) {
                        Text::Bytes(at, length) => {
                            add(result, at, at.add(length));
                            matcher.work(length / COPIED_A_STEP);
                        }
                        Text::Position(n) => {
                            sys::lua_pushinteger(matcher.l, n as lua_Integer);
                            sys::luaL_addvalue(result);
                        }
                    }
                }
                other => {
                    if other != b'%' && dialect::REPLACEMENT_IS_STRICT {
                        let format = c"invalid use of '%c' in replacement string";
                        matcher.fail(format, usize::from(b'%'));
                    }
                    // Of a `%` at the end, this is the zero byte behind it.
                    sys::luaL_addlstring(result, escape.add(1).cast(), 1);
                }
            }
            text = escape.add(2);
            if text > end {
                return;
            }
            matcher.work(4);
        }
    }
}

/// The first `%`; null: there is none. Most replacements are so short that a call takes longer than a look at each character.
///
/// # Safety
/// So many bytes can be read.
#[inline(always)]
unsafe fn find_escape(text: At, length: usize) -> At {
    const SHORT: usize = 16;
    // SAFETY: by the caller.
    unsafe {
        if length > SHORT {
            return libc::memchr(text.cast(), c_int::from(b'%'), length).cast();
        }
        let at = (0..length).find(|&i| *text.add(i) == b'%');
        at.map_or(ptr::null(), |i| text.add(i))
    }
}
