//! Errors that go past protected calls, and those that must not.

use super::*;
use std::ffi::{CStr, CString};

/// A state of our own with the standard functions, in which `stop()` raises the string "stopped" past what it may, and says in `reaches` where the way ends.
struct Host(*mut lua_State);

/// `stop(boundary, keeps_one, resumed)`. **longjmp**: raises.
unsafe extern "C-unwind" fn stop(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua.
    unsafe {
        let boundary = sys::lua_topointer(l, 1) as usize;
        let places = PLACES.get().unwrap().unwrap();
        let keeps_one = sys::lua_toboolean(l, 2) != 0;
        let resumed = sys::lua_toboolean(l, 3) != 0;
        sys::lua_pushstring(l, c"stopped".as_ptr());
        let end = match for_each_protected(l, places, resumed, boundary, |_| {}) {
            End::Boundary => c"boundary",
            End::Bottom => c"bottom",
            End::Unknown => c"unknown",
        };
        sys::lua_pushstring(l, end.as_ptr());
        sys::lua_setglobal(l, c"reaches".as_ptr());
        pass_up_to(l, places, resumed, boundary, keeps_one);
        sys::lua_error(l)
    }
}

/// `c_call(f, ...)`: C code between Lua code.
unsafe extern "C-unwind" fn c_call(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua.
    unsafe { sys::lua_call(l, sys::lua_gettop(l) - 1, 0) };
    0
}

impl Host {
    fn new() -> Host {
        learn();
        // SAFETY: a new state, on this thread.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            for (name, f) in [
                (c"stop", stop as sys::lua_CFunction),
                (c"c_call", c_call as sys::lua_CFunction),
            ] {
                sys::lua_pushcfunction(l, f);
                sys::lua_setglobal(l, name.as_ptr());
            }
            Host(l)
        }
    }

    /// Runs code; what it returns, or its error, as a string.
    fn run(&self, code: &str) -> Result<String, String> {
        let code = CString::new(code).unwrap();
        // SAFETY: live, on this thread. What is returned becomes a string.
        unsafe {
            assert_eq!(sys::luaL_loadstring(self.0, code.as_ptr()), 0);
            let status = sys::lua_pcall(self.0, 0, 1, 0);
            let text = sys::lua_tostring(self.0, -1);
            assert!(!text.is_null(), "neither a string nor a number");
            let text = CStr::from_ptr(text).to_str().unwrap().to_owned();
            sys::lua_settop(self.0, -2);
            if status == 0 { Ok(text) } else { Err(text) }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, on this thread.
        unsafe { sys::lua_close(self.0) };
    }
}

#[test]
fn the_frames_are_found() {
    learn();
    let places = PLACES.get().unwrap();
    assert_eq!(places.is_some(), size_of::<usize>() == 8, "{places:?}");
}

/// `describe()`: of each function, whether C code has called it (`c`), and whether C code has called what is above it (`b`). Compares the slots, too.
unsafe extern "C-unwind" fn describe(l: *mut lua_State) -> c_int {
    let mut text = String::new();
    // SAFETY: a C function called by Lua. The text goes before Lua may raise an error, for want of memory.
    unsafe {
        let mut level = 0;
        while let Some(seen) = seen(l, level) {
            assert_eq!(position(l, level), Some(seen.slot), "level {level}");
            text.push(if seen.is_called_by_c { 'c' } else { '-' });
            text.push(if seen.is_below_c { 'b' } else { '-' });
            level += 1;
        }
        assert_eq!(position(l, level), None);
        let mut bytes = [0_u8; 64];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        drop(text);
        sys::lua_pushstring(l, bytes.as_ptr().cast());
    }
    1
}

#[test]
fn what_c_code_has_called_is_seen() {
    let host = Host::new();
    // SAFETY: live, on this thread.
    unsafe {
        sys::lua_pushcfunction(host.0, describe);
        sys::lua_setglobal(host.0, c"describe".as_ptr());
    }
    for (code, expected) in [
        ("local s = describe() return s", "--c-"),
        (
            "local function f(...) local s = describe() return s end local s = f(1) return s",
            "----c-",
        ),
        ("local _, s = pcall(describe) return s", "----c-"),
        // The handler, `error`, the function.
        (
            "local _, s = xpcall(function() error() end, function() local s = describe() return s end) return s",
            "--c--b----c-",
        ),
        // Here no function of C's is between.
        (
            "local _, s = xpcall(function() local x = nil .. '' end, function(...) local s = describe() return s end) return s",
            "--c--b--c-",
        ),
        (
            "local s local t = setmetatable({}, {__index = function() s = describe() end}) local _ = t.x return s",
            "----c-",
        ),
        (
            "local s debug.sethook(function() debug.sethook() s = describe() end, '', 1) local x = 1 x = x return s",
            "--c-cb",
        ),
        (
            "return coroutine.wrap(function() local s = describe() return s end)()",
            "--c-",
        ),
    ] {
        assert_eq!(host.run(code), Ok(expected.into()), "{code}");
    }
}

/// Each kind of protected call, of which there are 3000 in each other, in Lua code of each kind.
#[test]
fn an_error_goes_past_protected_calls() {
    for way in [
        "pcall(f, n - 1)",
        "xpcall(f, handler, n - 1)",
        "pcall(pcall, xpcall, f, handler, n - 1)",
        "pcall(setmetatable({}, {__call = function(_, ...) return f(...) end}), n - 1)",
        "local t = setmetatable({}, {__index = function() pcall(f, n - 1) end}) local _ = t.x",
        "(function(...) xpcall(f, handler, ...) end)(n - 1, nil)",
    ] {
        let host = Host::new();
        let code = format!(
            "caught, handled = 0, 0
            local function handler() handled = handled + 1 end
            function f(n)
                if n == 0 then stop() end
                {way};
                caught = caught + 1
            end
            f(3000)"
        );
        assert_eq!(host.run(&code), Err("stopped".into()), "{way}");
        let after = "return caught .. handled .. reaches";
        assert_eq!(host.run(after), Ok("00bottom".into()), "{way}");
        let fine = "local n = 0
            for _ = 1, 1000 do n = n + (pcall(error) and 1 or 2) end
            collectgarbage()
            return n";
        assert_eq!(host.run(fine), Ok("2000".into()), "{way}");
    }
}

/// The last that a coroutine does: its variables that are used elsewhere live on, and whoever has resumed it has control.
#[test]
fn a_coroutine_dies_of_it() {
    let host = Host::new();
    let code = "local kept
        local co = coroutine.create(function()
            pcall(function()
                local x = {'kept'}
                kept = function() return x[1] end
                xpcall(function() pcall(stop) end, print)
            end)
        end)
        local ok, e = coroutine.resume(co)
        collectgarbage()
        return tostring(ok) .. e .. kept() .. coroutine.status(co) .. reaches";
    assert_eq!(host.run(code), Ok("falsestoppedkeptdeadbottom".into()));
}

/// `return pcall(f)` leaves `pcall` as the coroutine's first function, and what it caught was what the coroutine returned: as if it had ended well.
#[test]
fn the_first_function_of_a_coroutine_catches_nothing() {
    let host = Host::new();
    let code = "local function f() stop(nil, false, true) end
        local ends = {}
        for i, first in ipairs {
            pcall,
            function(f) return pcall(f) end,
            function(f) return xpcall(f, print) end,
            function(...) return pcall(pcall, ...) end,
        } do
            local ok, e = coroutine.resume(coroutine.create(first), f)
            ends[i] = tostring(ok) .. tostring(e) .. reaches
        end
        return table.concat(ends, ' ')";
    let each = "falsestoppedbottom";
    assert_eq!(host.run(code), Ok([each; 4].join(" ")));
    // Where it is not the script that has begun it.
    let code = "local ok, a = coroutine.resume(coroutine.create(pcall), stop) return tostring(ok) .. tostring(a) .. reaches";
    assert_eq!(host.run(code), Ok("truefalseunknown".into()));
}

#[test]
fn a_boundary_keeps_its_own() {
    let host = Host::new();
    let code = "local function boundary(...) return select('#', pcall(...)) end
        local function f() pcall(function() xpcall(stop, print, boundary) end) passed = true end
        local n = boundary(f)
        local m = boundary(function() return (boundary(f)) end)
        return n .. m .. tostring(passed) .. reaches";
    assert_eq!(host.run(code), Ok("22nilboundary".into()));
}

#[test]
fn the_outermost_may_catch_it() {
    let host = Host::new();
    let code = "local caught = {}
        local function f(n)
            if n == 0 then stop(nil, true) end
            pcall(f, n - 1)
            caught[#caught + 1] = n
        end
        f(100)
        return table.concat(caught, ' ')";
    assert_eq!(host.run(code), Ok("100".into()));
}

/// C code that calls `pcall`, and C code that is called in one: neither is left without a word.
#[test]
fn what_c_code_calls_is_left_alone() {
    let host = Host::new();
    let code = "local a = pcall(c_call, function() pcall(stop) end)
        c_call(pcall, stop)
        local b = pcall(c_call, pcall, stop)
        return tostring(a) .. tostring(b) .. reaches";
    assert_eq!(host.run(code), Ok("falsetrueunknown".into()));
}

/// An FFI callback is called by C code, too, which relies on its frame.
#[test]
fn a_callback_is_left_alone() {
    let host = Host::new();
    let code = "local ffi = require 'ffi'
        ffi.cdef 'void qsort(void *, size_t, size_t, int (*)(const void *, const void *));'
        local numbers = ffi.new('int[2]')
        local ok, e = pcall(ffi.C.qsort, numbers, 2, 4, function() pcall(stop) after = true return 0 end)
        return tostring(ok) .. tostring(after) .. e";
    assert_eq!(host.run(code), Ok("falsenilstopped".into()));
}
