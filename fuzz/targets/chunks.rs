//! The guarded `load` against the original of the same Lua: the same bytecode comes of a text, or the same error.
//!
//! Only text: malformed bytecode crashes every Lua.

#![no_main]

use leash::{stdlib, sys};
use libfuzzer_sys::fuzz_target;
use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;
use sys::lua_State;

/// Takes what `load` and `loadstring` are before and after; returns the comparison: nil, or an error that says what differs.
const COMPARE: &CStr = c"
    local plain, guarded = ...
    local dump = string.dump
    return function(text, size)
        local function outcome(all)
            local f, e
            if size == 0 then
                f, e = (all.loadstring or all.load)(text)
            else -- by a function, in pieces of that size
                local at = 1
                f, e = all.load(function()
                    local piece = text:sub(at, at + size - 1)
                    at = at + size
                    return piece
                end, '=pieces')
            end
            if not f then return 'error', e end
            return 'function', dump(f)
        end
        local a, b = outcome(plain)
        local c, d = outcome(guarded)
        if a ~= c or b ~= d then error(c .. ' ' .. tostring(d) .. ' instead of ' .. a .. ' ' .. tostring(b), 0) end
    end";

const COPIES: &CStr = c"
    return { load = load, loadstring = loadstring }, { load = load, loadstring = loadstring }";

thread_local! {
    static STATE: Cell<*mut lua_State> = const { Cell::new(ptr::null_mut()) };
}

/// A state with the comparison at index 1.
///
/// # Safety
/// It stays on this thread.
unsafe fn state() -> *mut lua_State {
    if STATE.get().is_null() {
        // SAFETY: a state of our own.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            assert_eq!(sys::luaL_loadstring(l, COMPARE.as_ptr()), 0);
            assert_eq!(sys::luaL_loadstring(l, COPIES.as_ptr()), 0);
            assert_eq!(sys::lua_pcall(l, 0, 2, 0), 0);
            assert!(stdlib::guard(l, -1) >= 1);
            assert_eq!(sys::lua_pcall(l, 2, 1, 0), 0);
            STATE.set(l);
        }
    }
    STATE.get()
}

fuzz_target!(|data: &[u8]| {
    let [size, text @ ..] = data else {
        return;
    };
    if text.first() == Some(&27) {
        return;
    }
    // SAFETY: a state of this thread; the stack is as before afterwards.
    unsafe {
        let l = state();
        sys::lua_pushvalue(l, 1);
        sys::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        sys::lua_pushinteger(l, i64::from(*size) as _);
        if sys::lua_pcall(l, 2, 0, 0) != 0 {
            let message = CStr::from_ptr(sys::lua_tostring(l, -1)).to_string_lossy();
            panic!("{message} ({text:?}, pieces of {size})");
        }
    }
});
