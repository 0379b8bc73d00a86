//! The guarded functions of the library `string` against the originals of the same Lua: same results, same errors.
//!
//! Subjects and patterns are short, since an original that runs for ever cannot be stopped.

#![no_main]

mod comparison;

use leash::sys;
use libfuzzer_sys::fuzz_target;
use std::ffi::CStr;

/// Takes the originals and the guarded ones; returns the comparison of both: nil, or what differs.
const COMPARE: &CStr = c"
    local plain, guarded = ...
    local function pack(...) return { n = select('#', ...), ... } end
    local function same(name, a, b)
        local differs = a.n ~= b.n
        for i = 1, a.n do differs = differs or a[i] ~= b[i] end
        if not differs then return end
        local function text(t) local s = {} for i = 1, t.n do s[i] = tostring(t[i]) end return table.concat(s, ', ') end
        error(name .. ': ' .. text(b) .. ' instead of ' .. text(a), 0)
    end
    local function all(f, s, p)
        local found = { n = 0 }
        local ok, e = pcall(function()
            local steps = 0
            for a, b in f(s, p) do
                found[found.n + 1], found[found.n + 2] = a, b
                found.n = found.n + 2
                steps = steps + 1
                if steps > 100 then break end
            end
        end)
        found[found.n + 1], found[found.n + 2] = ok, e
        found.n = found.n + 2
        return found
    end
    return function(s, p, r, i, kind)
        for _, name in ipairs { 'find', 'match' } do
            same(name, pack(pcall(plain[name], s, p, i)), pack(pcall(guarded[name], s, p, i)))
        end
        same('find, plain', pack(pcall(plain.find, s, p, i, true)), pack(pcall(guarded.find, s, p, i, true)))
        same('gmatch', all(plain.gmatch, s, p), all(guarded.gmatch, s, p))
        local by = r
        if kind == 1 then by = { [r] = 'found', a = 1, b = false }
        elseif kind == 2 then by = function(a, b) if a == r then return nil end return b or a end
        elseif kind == 3 then by = i end
        local n = kind > 3 and i or nil
        same('gsub', pack(pcall(plain.gsub, s, p, by, n)), pack(pcall(guarded.gsub, s, p, by, n)))
        same('rep', pack(pcall(plain.rep, s, i % 50, r)), pack(pcall(guarded.rep, s, i % 50, r)))
    end";

const COPIES: &CStr = c"
    local plain, guarded = {}, {}
    for name, f in pairs(string) do plain[name], guarded[name] = f, f end
    return plain, guarded";

fuzz_target!(|data: &[u8]| {
    let [kind, i, cut, rest @ ..] = data else {
        return;
    };
    // Pattern, replacement, subject.
    let (pattern, rest) = rest.split_at(rest.len().min(usize::from(cut & 15)));
    let (replacement, rest) = rest.split_at(rest.len().min(usize::from(cut >> 4)));
    let subject = &rest[..rest.len().min(24)];
    // SAFETY: a state of this thread; the stack is as before afterwards.
    unsafe {
        let l = comparison::state(COMPARE, COPIES, 5);
        sys::lua_pushvalue(l, 1);
        for text in [subject, pattern, replacement] {
            sys::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        }
        sys::lua_pushinteger(l, i64::from(*i as i8) as _);
        sys::lua_pushinteger(l, i64::from(kind % 5) as _);
        if let Some(message) = comparison::difference(l, 5) {
            panic!(
                "{message} (subject {subject:?}, pattern {pattern:?}, replacement {replacement:?}, {i})"
            );
        }
    }
});
