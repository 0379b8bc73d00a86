//! LuaJIT: errors that arise while a trace is being left, where LuaJIT itself does not expect any: in finalizers, and where the collector gets no memory. Each of these ended the process.

#![cfg(feature = "luajit")]

mod common;
use common::{Lua, SOON, ms, timeout};
use leash::{Jit, Limits, Reason, Vm, sys};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Compiled code that makes garbage, so that the collector runs when its trace is left; and `finalize_by(f)`. (New versions report what fails in a finalizer to this handler, which is silent.)
const SUPPORT: &str = r"
    jit.attach(function() end, 'errfin')
    local t = {}
    function work() for i = 1, 1e5 do t[1] = { i } end end
    function finalize_by(f) getmetatable(newproxy(true)).__gc = f end
    work()
";

#[test]
fn endless_finalizers_are_stopped() {
    let lua = Lua::new();
    assert_eq!(lua.vm().jit(), Jit::Guarded);
    lua.ok(SUPPORT);
    for body in [
        "while true do end",
        "while true do pcall(error) end",
        "local function f() repeat pcall(f) until false end f()",
        "table.sort({ 3, 1, 2 }, function() while true do end end)",
        "coroutine.wrap(function() while true do end end)()",
        "string.gsub('a', 'a', function() while true do end end)",
    ] {
        for outside in [
            "work()",
            "pcall(work)",
            "coroutine.wrap(work)()",
            "xpcall(work, function() while true do end end)",
        ] {
            let code = format!("finalize_by(function() {body} end) while true do {outside} end");
            let began = Instant::now();
            let stop = lua.run(&code, &timeout(20)).unwrap_err();
            assert_eq!(stop.reason, Reason::Timeout, "{code}");
            assert!(began.elapsed() < SOON, "{code}");
        }
    }
    lua.assert_healthy();
}

#[test]
fn finalizers_that_take_all_memory_are_stopped() {
    for body in [
        "local q = {} while true do q[#q + 1] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "while true do pcall(string.rep, 'x', 1e9) end",
    ] {
        let lua = Lua::new();
        lua.ok(SUPPORT);
        let code = format!("finalize_by(function() {body} end) while true do work() end");
        let limits = Limits::new().memory(20 << 20).timeout(ms(500));
        let stop = lua.run(&code, &limits).unwrap_err();
        assert!(
            [Reason::Memory, Reason::Timeout].contains(&stop.reason),
            "{code}"
        );
        lua.assert_healthy();
    }
}

/// LuaJIT before April 2023 raises the error of a finalizer in the code that it has interrupted.
#[test]
fn a_finalizer_that_fails() {
    let lua = Lua::new();
    lua.ok(SUPPORT);
    lua.ok(r"
        local failed = 0
        for i = 1, 100 do
            finalize_by(function() failed = failed + 1 error('boom', 0) end)
            local ok, message = pcall(work)
            assert(ok or message == 'boom', message)
            local ok, message = xpcall(work, function(m) return m end)
            assert(ok or message == 'boom', message)
            local ok, message = pcall(coroutine.wrap(work))
            assert(ok or message == 'boom', message)
        end
        assert(failed > 50, failed)");
    lua.assert_healthy();
}

/// The host has no more large blocks.
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

/// How often that has been said.
static REFUSED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn allocate(
    _: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: `block` is from here, or null.
    unsafe {
        if new == 0 {
            libc::free(block);
            return ptr::null_mut();
        }
        if new > old && new > 4096 && EXHAUSTED.load(Ordering::Relaxed) {
            REFUSED.fetch_add(1, Ordering::Relaxed);
            return ptr::null_mut();
        }
        libc::realloc(block, new)
    }
}

unsafe extern "C-unwind" fn exhaust(l: *mut sys::lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots.
    EXHAUSTED.store(unsafe { sys::lua_toboolean(l, 1) != 0 }, Ordering::Relaxed);
    0
}

/// Where few strings are left, the collector gives them a smaller table; with this `setstepmul` it does all that in one step, when a trace is left.
#[test]
fn the_collector_gets_no_memory() {
    // SAFETY: a new state, used on this thread only, and closed at the end. The functions are pushed where slots are free.
    unsafe {
        let l = sys::lua_newstate(allocate, ptr::null_mut());
        if l.is_null() {
            return; // 64-bit builds without GC64 take no allocator
        }
        let vm = Vm::attach(l).expect("attach");
        sys::luaL_openlibs(l);
        sys::lua_pushcfunction(l, exhaust);
        sys::lua_setglobal(l, c"exhaust".as_ptr());
        let code = c"
            collectgarbage('setstepmul', 1e6)
            local t = {}
            local function work() for i = 1, 1e5 do t[1] = { i } end end
            work()
            local failed = 0
            for i = 1, 20 do
                local many = {}
                for j = 1, 2e4 do many[j] = i .. ':' .. j end
                many = nil
                exhaust(true)
                if not pcall(work) then failed = failed + 1 end
                exhaust(false)
            end
            return failed";
        assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
        let status = vm.call(l, 0, 1, 0, &Limits::new()).expect("no stop");
        let message = CStr::from_ptr(sys::lua_tostring(l, -1));
        assert_eq!(status, 0, "{message:?}");
        assert_ne!(message, c"0");
        assert_ne!(REFUSED.load(Ordering::Relaxed), 0);
        vm.close(&Limits::new());
    }
}
