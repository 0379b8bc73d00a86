//! What a fresh pair of eyes broke with finalizers and coroutines in coroutines, once each: every test here failed before its bug was mended.

mod common;
use common::{Lua, SOON, timeout};
use leash::{Reason, Vm, sys};
use std::ffi::CString;
use std::time::Instant;

/// Makes garbage with a finalizer.
const GC: &str = "local newproxy, setmetatable, getmetatable = newproxy, setmetatable, getmetatable
    local function gc(f)
        if newproxy then getmetatable(newproxy(true)).__gc = f else setmetatable({}, {__gc = f}) end
    end ";

/// Each of two dozen finalizers in coroutines collects the next one, and the last catches all errors. Of those in which hooks were off only eight were known, and it was not among them. (From 5.4 on nothing
/// is collected in a finalizer, so there is one at a time.)
#[test]
fn a_finalizer_in_many_others_is_found() {
    let code = format!(
        "{GC} local depth = 0
        local function fine() local co = coroutine.wrap(function() return 1 end) return co() end
        local function f()
            depth = depth + 1
            if depth < 25 then coroutine.wrap(function() gc(f) collectgarbage() end)() end
            while true do pcall(fine) end
        end
        gc(f)
        while true do collectgarbage() end"
    );
    for _ in 0..15 {
        let lua = Lua::new();
        let began = Instant::now();
        let stop = lua.run(&code, &timeout(50)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
        lua.close(&timeout(50)); // one that has not been called yet is as endless
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
}

/// LuaJIT: when the state was closed, what a finalizer had made was finalized without anybody to stop it.
#[test]
fn finalizers_that_finalizers_make_when_the_state_is_closed() {
    let code = format!(
        "{GC} keep = {{}}
        local function finalizer(n)
            gc(function()
                if n > 0 then finalizer(n - 1) end
                if n == 0 or n == 3 then while true do end end
            end)
        end
        collectgarbage() collectgarbage('stop')
        for _ = 1, 10 do finalizer(5) end"
    );
    let lua = Lua::new();
    lua.ok(&code);
    let began = Instant::now();
    let stop = lua.close(&timeout(50));
    assert!(stop.is_some() || !cfg!(feature = "luajit"));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// 5.1: the collector goes on in finalizers, so what one makes until it is stopped is finalized, too. There were ever more of them. (The stock interpreter does not end either.)
#[cfg(feature = "lua51")]
#[test]
fn finalizers_that_make_ever_more_of_them() {
    let lua = Lua::new();
    lua.ok(&format!(
        "{GC} local function f() for i = 1, 300 do gc(f) end collectgarbage('step', 100000) end
        for _ = 1, 10 do gc(f) end"
    ));
    let began = Instant::now();
    lua.close(&timeout(50));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// Memory is so short that what Lua needs for a call is refused, and each `pcall` ends before anything runs in it. All the time goes into the collections that Lua tries first,
/// where deliveries land, and `pcall` puts away what they have done: no hook ran. (The loop has an end, so that a test that fails has one.)
#[test]
fn a_finalizer_that_has_no_memory_for_a_call() {
    let code = format!(
        "{GC} tries = 0
        local pcall, head = pcall
        local function spin() while true do end end
        local function catch_below(n)
            if n > 0 then catch_below(n - 1) return end
            for i = 1, 20000 do pcall(spin) tries = i end
        end
        local function catch_at_all_depths()
            for n = 40, 0, -1 do pcall(catch_below, n) end
        end
        collectgarbage() collectgarbage()
        local limit = collectgarbage('count') + 4096
        collectgarbage('stop')
        local function fill(left, n)
            while collectgarbage('count') < limit - left do
                for _ = 1, n do head = {{ head }} end
            end
        end
        fill(20, 50)
        fill(LEFT, 1)
        gc(catch_at_all_depths)
        while true do collectgarbage() end"
    );
    for left in ["2", "1.6", "1.4", "1.2", "1", "0.8", "0.6", "0.5"] {
        let lua = Lua::new();
        let limits = timeout(500).memory(4 << 20);
        let began = Instant::now();
        let stop = lua.run(&code.replace("LEFT", left), &limits).unwrap_err();
        assert!([Reason::Timeout, Reason::Memory].contains(&stop.reason));
        let took = began.elapsed();
        let tries = lua.ok("collectgarbage('stop') return tries");
        assert_ne!(tries, "20000", "with {left} KB left, in {took:?}");
    }
}

/// Each of six thousand finalizers is a tower of protected calls, which grows until a delivery finds it. On LuaJIT each of those calls was unwound by itself, for a minute in all.
#[test]
fn thousands_of_finalizers_that_nest_protected_calls() {
    let lua = Lua::new();
    let began = Instant::now();
    let code = format!(
        "{GC} local function f() repeat pcall(f) until false end
        for _ = 1, 6000 do gc(f) end
        while true do collectgarbage() end"
    );
    let stop = lua.run(&code, &timeout(100)).unwrap_err();
    assert_eq!(stop.reason, Reason::Timeout);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    lua.close(&timeout(100));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// 5.1: where C calls are as deep as they may be, what makes the stop be seen again behind the next `pcall` could not be called. No end came, in the collector and when the state was closed.
#[test]
fn a_finalizer_that_fills_the_c_calls_and_catches() {
    let finalizer =
        format!("{GC} gc(function() local function f() repeat pcall(f) until false end f() end)");
    let lua = Lua::new();
    let began = Instant::now();
    let code = format!("{finalizer} while true do collectgarbage() end");
    let stop = lua.run(&code, &timeout(50)).unwrap_err();
    assert_eq!(stop.reason, Reason::Timeout);
    lua.ok(&finalizer);
    lua.close(&timeout(50));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// 5.1: in the handler of a stack overflow a protected call gives nothing back, so nothing told when it was over; what it was called by went on, until a delivery came by chance where it was
/// seen all the same.
#[cfg(feature = "lua51")]
#[test]
fn a_finalizer_that_catches_beyond_the_stack() {
    for _ in 0..5 {
        does_not_catch_beyond(Lua::new(), "string.gsub('x', 'x', spin)");
    }
}

/// 5.1: guarded functions there were taken for those of a host, of which nobody knows whether an error may go past them. CI saw it first, once in thirty runs of one script of the corpus; the finalizer
/// went on for 35 s. And `load`, which has a protected call of its own.
#[cfg(feature = "lua51")]
#[test]
fn a_finalizer_that_catches_beyond_guarded_functions() {
    // What catches is the original `pcall`, and a guarded one.
    for guarded in [&[c"string", c"table"][..], &[c"_G", c"string", c"table"]] {
        for inside in [
            "string.gsub('x', 'x', spin)",
            "string.rep('x', 1e9)",
            "local f = string.gmatch(('a'):rep(40), ('a*'):rep(30) .. 'b') f()",
            "table.sort({3, 1, 2}, spin)",
            "load(spin)",
        ] {
            let lua = Lua::new();
            for library in guarded {
                // SAFETY: the state's libraries are open, and this is its thread.
                unsafe {
                    sys::lua_getglobal(lua.l, library.as_ptr());
                    assert!(leash::stdlib::guard(lua.l, -1) > 0);
                    sys::lua_settop(lua.l, 0);
                }
            }
            does_not_catch_beyond(lua, inside);
        }
    }
}

#[cfg(feature = "lua51")]
fn does_not_catch_beyond(lua: Lua, inside: &str) {
    let code = format!(
        "{GC} caught = 0
        local function spin() while true do end end
        local function inner() {inside} end
        local function catch() while true do pcall(inner) caught = caught + 1 end end
        local function catch_in_callback() while true do pcall(string.gsub, 'x', 'x', catch) end end
        local function overflow() return 1 + overflow() end
        gc(function()
            for _ = 1, 3 do pcall(overflow) end
            while true do xpcall(overflow, catch_in_callback) end
        end)
        while true do collectgarbage() end"
    );
    let began = Instant::now();
    let stop = lua.run(&code, &timeout(50)).unwrap_err();
    assert_eq!(stop.reason, Reason::Timeout);
    lua.ok("collectgarbage('stop') assert(caught < 10, caught)");
    lua.close(&timeout(50));
    assert!(began.elapsed() < SOON, "{inside}: {:?}", began.elapsed());
}

/// Each `coroutine.wrap` put its place in front of the message of the stop: 4000 texts, of up to 100 KB, that nobody collected.
#[cfg(feature = "luajit")]
#[test]
fn a_stop_passes_through_a_chain_of_coroutines_without_growing() {
    for limits in [timeout(100), timeout(100).instructions(1 << 40)] {
        for call in ["f()", "string.gsub('x', 'x', f)", "gc(f) collectgarbage()"] {
            let lua = Lua::new();
            let code = format!(
                "local depth = 0
                 local function gc(f) getmetatable(newproxy(true)).__gc = f end
                 local function f()
                   depth = depth + 1
                   if depth == 4000 then while true do end end
                   coroutine.wrap(f)()
                 end
                 {call}
                 while true do end"
            );
            let stop = lua.run(&code, &limits).unwrap_err();
            assert_eq!(stop.reason, Reason::Timeout);
            assert!(stop.memory < 30 << 20, "{call}: {} bytes", stop.memory);
            lua.assert_healthy();
        }
    }
}

/// Each was asked for by itself, and waited for; and what it did meanwhile was a collection of all the others. Forty seconds. (LuaJIT does not limit how deep
/// collections in finalizers are nested, with or without Leash: hence the stack.)
#[cfg(feature = "luajit")]
#[test]
fn thousands_of_finalizers_that_collect() {
    let code = "local function gc(f) getmetatable(newproxy(true)).__gc = f end
        local function f() while true do gc(f) collectgarbage() end end
        for i = 1, 20000 do gc(f) end
        while true do end";
    let run = move || {
        let lua = Lua::new();
        let stop = lua.run(code, &timeout(30)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
        let began = Instant::now();
        lua.close(&timeout(100));
        began.elapsed()
    };
    let thread = std::thread::Builder::new().stack_size(1 << 30);
    let took = thread.spawn(run).unwrap().join().unwrap();
    assert!(took.as_secs() < 30, "{took:?}");
}

/// 5.2 and 5.3: each finalizer that fails while the state is closed leaves its error on the stack, and Lua counts on the next call to make room. When that was refused, Lua wrote
/// beyond the end.
#[cfg(any(feature = "lua52", feature = "lua53"))]
#[test]
fn finalizers_that_run_out_of_memory_when_the_state_is_closed() {
    let lua = Lua::new();
    lua.ok(&format!(
        "{GC} collectgarbage('stop')
        local t = {{}}
        for _ = 1, 3000 do gc(function() for i = 1, 2^40 do t[#t + 1] = {{}} end end) end"
    ));
    let stop = lua.close(&timeout(2000).memory(1 << 20));
    assert_eq!(stop.map(|s| s.reason), Some(Reason::Memory));
}

/// The same: there were more errors than a stack may have slots. (The stock interpreters crash.)
#[cfg(any(feature = "lua52", feature = "lua53"))]
#[test]
fn more_finalizers_fail_than_a_stack_has_slots() {
    let lua = Lua::new();
    lua.ok("collectgarbage('stop')
        local mt = { __gc = error }
        for _ = 1, 1.1e6 do setmetatable({}, mt) end");
    assert!(lua.close(&timeout(60_000)).is_none());
}

/// A host detaches: nothing limits finalizers any more, so what does that may allocate, but not run them. (LuaJIT: the others allocate nothing there.)
#[test]
fn endless_finalizers_do_not_run_in_a_detach() {
    let code = format!(
        "{GC} collectgarbage() collectgarbage('stop') pcall(collectgarbage, 'setpause', 0) pcall(collectgarbage, 'setstepmul', 1e6)
        ran = 0
        for _ = 1, 1000 do gc(function() ran = ran + 1 while not over do end end) end"
    );
    // SAFETY: a state of our own, on this thread. The collector, which the script has stopped, is about to begin: the next step is a whole round.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let vm = Vm::attach(l).unwrap();
        vm.libraries_are_open();
        let run = |code: &str| {
            let code = CString::new(code).unwrap();
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        };
        run(&code);
        sys::gc(l, sys::LUA_GCRESTART);
        let began = Instant::now();
        drop(vm);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        sys::gc(l, sys::LUA_GCSTOP);
        run("assert(ran == 0) over = true collectgarbage() assert(ran == 1000)");
        sys::lua_close(l);
    }
}
