//! The guarded `load` against the original of the same Lua: the same bytecode comes of a text, or the same error.
//!
//! Only text: malformed bytecode crashes every Lua.

#![no_main]

mod comparison;

use leash::sys;
use libfuzzer_sys::fuzz_target;
use std::ffi::CStr;

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

fuzz_target!(|data: &[u8]| {
    let [size, text @ ..] = data else {
        return;
    };
    if text.first() == Some(&27) {
        return;
    }
    // SAFETY: a state of this thread; the stack is as before afterwards.
    unsafe {
        let l = comparison::state(COMPARE, COPIES, 1);
        sys::lua_pushvalue(l, 1);
        sys::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        sys::lua_pushinteger(l, i64::from(*size) as _);
        if let Some(message) = comparison::difference(l, 2) {
            panic!("{message} ({text:?}, pieces of {size})");
        }
    }
});
