//! Finalizers and hooks of the script, where hooks are off, that do nothing but call what works for long and then fails: all deliveries land in there, and the protected call that ends switches hooks off again.
//!
//! Here such a function asks for the stop itself, often enough, on its own thread, where that is delivered at once. So the stop is due when it fails for the first time.

mod common;
use common::Lua;
use common::host::Host;
use leash::{Guest, Limits, Reason, stdlib, sys};
use std::ffi::c_int;
use std::ptr;
use sys::lua_State;

/// More deliveries than are answered without switching hooks on.
const MANY: usize = 8;

/// How often it is to be stopped.
const TIMES: usize = 20;

unsafe extern "C-unwind" fn fail(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; nothing here owns anything.
    unsafe {
        let handle = Guest::of(l).map(|guest| guest.handle());
        for _ in 0..MANY {
            handle.map(|handle| handle.kill());
        }
        sys::lua_pushboolean(l, 1);
        sys::lua_error(l)
    }
}

/// Each of these runs where hooks are off, for ever.
const PLACES: [&str; 2] = [
    "local function gc(f)
        if newproxy then getmetatable(newproxy(true)).__gc = f else setmetatable({}, {__gc = f}) end
     end
     gc(work)
     while true do collectgarbage() end",
    "debug.sethook(work, '', 1)
     while true do end",
];

fn is_stopped_at_once(lua: &Lua, body: &str, afterwards: impl Fn()) {
    for place in PLACES {
        for _ in 0..TIMES {
            let code = format!(
                "calls = 0
                 local function work() while true do calls = calls + 1 {body} end end
                 {place}"
            );
            let stop = lua.run(&code, &Limits::new()).unwrap_err();
            afterwards();
            assert_eq!(stop.reason, Reason::Kill);
            lua.ok("debug.sethook()");
            // The second: when a signal comes late.
            lua.ok("assert(calls <= 2, calls)");
            lua.assert_healthy();
        }
    }
}

#[test]
fn guarded_protected_calls_look_up_when_they_have_caught_something() {
    let lua = Lua::new();
    // SAFETY: a live state, on this thread.
    unsafe {
        sys::lua_getglobal(lua.l, c"_G".as_ptr());
        stdlib::guard(lua.l, -1);
        sys::lua_settop(lua.l, 0);
        sys::lua_pushcfunction(lua.l, fail);
        sys::lua_setglobal(lua.l, c"fail".as_ptr());
    }
    for body in [
        "pcall(fail)",
        "pcall(pcall, fail)",
        "xpcall(fail, type)",
        "pcall(xpcall, fail, type)",
    ] {
        is_stopped_at_once(&lua, body, || {});
    }
}

/// The host's allocator asks for a stop from here on.
unsafe extern "C-unwind" fn arm(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua, attached; the host that the upvalue points to outlives the state.
    unsafe {
        let host = &*sys::lua_touserdata(l, sys::lua_upvalueindex(1)).cast::<Host>();
        host.kills.set(Guest::of(l).map(|guest| guest.handle()));
    }
    0
}

/// No guard is needed for it: it gives its buffer back when hooks are off again. Here the host's allocator asks for the stop, and `load` asks it for memory before it fails.
#[test]
fn load_of_what_is_wrong_is_seen_by_the_allocator() {
    let host = Host::default();
    // SAFETY: a new state, on this thread; `host` outlives it.
    let lua = unsafe {
        let lua = Lua::attach(host.state());
        sys::lua_pushlightuserdata(lua.l, ptr::from_ref(&host).cast_mut().cast());
        sys::lua_pushcclosure(lua.l, arm, 1);
        sys::lua_setglobal(lua.l, c"arm".as_ptr());
        lua
    };
    for load in [
        "load(function() return text end)",
        "(loadstring or load)(text)",
    ] {
        let body = format!("arm(); {load}");
        lua.ok("local t = {} for i = 1, 50 do t[i] = 'function f' .. i .. '() end ' end text = table.concat(t) .. ' x x'");
        is_stopped_at_once(&lua, &body, || host.kills.set(None));
    }
}

/// A hundred thousand finalizers of string buffers, each of which was ended by an error when it had done its work, took a second.
#[cfg(any(feature = "lua54", feature = "lua55"))]
#[test]
fn finalizers_that_are_done_are_not_stopped() {
    use std::cell::Cell;
    use std::ffi::{CStr, c_char, c_void};

    unsafe extern "C-unwind" fn warn(ud: *mut c_void, message: *const c_char, _: c_int) {
        // SAFETY: the count below, which outlives the state; a C string.
        unsafe {
            let errors = &*ud.cast::<Cell<usize>>();
            let is_error = CStr::from_ptr(message).to_bytes() == b"error in ";
            errors.set(errors.get() + usize::from(is_error));
        }
    }
    unsafe extern "C-unwind" fn finalize(l: *mut lua_State) -> c_int {
        // SAFETY: called by Lua. What is made meets the allocator.
        unsafe { sys::lua_newuserdata(l, 64) };
        0
    }
    let errors = Cell::new(0usize);
    let lua = Lua::new();
    // SAFETY: a live state, on this thread.
    unsafe {
        sys::lua_setwarnf(lua.l, Some(warn), ptr::from_ref(&errors).cast_mut().cast());
        sys::lua_pushcfunction(lua.l, finalize);
        sys::lua_setglobal(lua.l, c"finalize".as_ptr());
    }
    let stop = lua.run(
        "local done = {__gc = finalize}
         for i = 1, 1000 do setmetatable({}, done) end
         setmetatable({}, {__gc = function() while true do end end})
         collectgarbage()",
        &common::timeout(50),
    );
    assert_eq!(stop.unwrap_err().reason, Reason::Timeout);
    lua.ok("collectgarbage()");
    assert!((1..100).contains(&errors.get()), "{}", errors.get());
}
