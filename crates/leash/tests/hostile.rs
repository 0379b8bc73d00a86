//! What a fresh pair of eyes broke, once each: every test here failed before its bug was mended.

mod common;
use common::{Lua, SOON, ms, timeout};
use leash::{Guest, How, Limits, Reason, Vm, interrupt, sys};
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    static VM: Cell<*const Vm> = const { Cell::new(std::ptr::null()) };
    static ROUNDS: Cell<u32> = const { Cell::new(0) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// `nested(f)`: calls `f` under no limits of its own; true if it was stopped.
unsafe extern "C-unwind" fn nested(l: *mut sys::lua_State) -> c_int {
    ROUNDS.set(ROUNDS.get() + 1);
    // SAFETY: a C function called by Lua; `VM` is set while the test runs.
    unsafe {
        sys::lua_settop(l, 1);
        let stopped = (*VM.get()).call(l, 0, 0, 0, &Limits::new()).is_err();
        sys::lua_pushboolean(l, stopped.into());
    }
    1
}

/// `expired()`: the test's own patience is over.
unsafe extern "C-unwind" fn expired(l: *mut sys::lua_State) -> c_int {
    let over = END.get().is_some_and(|e| Instant::now() > e);
    // SAFETY: as above.
    unsafe { sys::lua_pushboolean(l, over.into()) };
    1
}

/// `id([co])`
unsafe extern "C-unwind" fn id(l: *mut sys::lua_State) -> c_int {
    // SAFETY: as above. An attach that is refused raises.
    unsafe {
        let co = sys::lua_tothread(l, 1);
        let id = Guest::attach(l)
            .ok()
            .and_then(|g| g.id(if co.is_null() { l } else { co }));
        match id {
            Some(id) => sys::lua_pushnumber(l, id as f64),
            None => {
                sys::lua_pushstring(l, c"cannot attach".as_ptr());
                sys::lua_error(l)
            }
        }
    }
    1
}

/// `interrupt(id)`
unsafe extern "C-unwind" fn intr(l: *mut sys::lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        let known = interrupt(sys::lua_tonumber(l, 1) as u64, How::Once);
        sys::lua_pushboolean(l, known.into());
    }
    1
}

unsafe extern "C-unwind" fn on_interrupt(_: *mut sys::lua_State, _: *mut sys::lua_State) {
    CALLS.set(CALLS.get() + 1);
}

fn lua() -> Box<Lua> {
    let lua = Box::new(Lua::new());
    VM.set(lua.vm());
    for (name, f) in [
        (c"nested", nested as sys::lua_CFunction),
        (c"expired", expired),
        (c"id", id),
        (c"interrupt", intr),
    ] {
        // SAFETY: a live state on its thread.
        unsafe {
            sys::lua_pushcfunction(lua.l, f);
            sys::lua_setglobal(lua.l, name.as_ptr());
        }
    }
    lua
}

fn patience(seconds: u64) {
    END.set(Some(Instant::now() + Duration::from_secs(seconds)));
}

/// Runs code as a host does that knows nothing of limits; the status.
fn plain(l: *mut sys::lua_State, code: &CStr) -> c_int {
    // SAFETY: a live state on its thread.
    unsafe {
        assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
        let status = sys::lua_pcall(l, 0, 0, 0);
        if status != 0 {
            sys::lua_settop(l, -2);
        }
        status
    }
}

/// The trace was taken inside the allocator while 5.4 had the frames of the growing stack turned into offsets.
#[test]
fn memory_that_runs_out_in_a_growing_stack() {
    for kib in (200..1400).step_by(100) {
        let lua = Lua::new();
        let code = "local function f(n) return 1 + f(n + 1) end
                    while true do collectgarbage() pcall(coroutine.wrap(f), 1) end";
        lua.run(code, &Limits::new().memory(kib << 10).timeout(ms(200)))
            .unwrap_err();
        lua.assert_healthy();
    }
}

#[test]
fn nested_calls_do_not_reset_the_count() {
    let lua = lua();
    patience(5);
    let code = "local f = function() end while not expired() do for i = 1, 20 do end nested(f) end";
    let _ = lua.run(code, &Limits::new().instructions(20_000));
    let rounds = ROUNDS.get();
    assert!(rounds <= 1000, "{rounds} rounds of more than 20 each");
}

#[test]
fn nested_calls_are_not_taken_for_a_removed_hook() {
    let lua = lua();
    let r = lua.run(
        "local f = function() end for i = 1, 3e5 do nested(f) end return 'done'",
        &Limits::new().instructions(4_900_000),
    );
    assert_eq!(r.expect("stopped").unwrap(), "done");
}

#[test]
fn a_memory_stop_of_an_outer_call_is_delivered() {
    let lua = lua();
    patience(60);
    let code =
        "assert(nested(function() return ('x'):rep(50 * 2^20) end)) while not expired() do end";
    let stop = lua.run(code, &Limits::new().memory(8 << 20)).unwrap_err();
    assert_eq!(stop.reason, Reason::Memory);
    assert!(stop.elapsed < SOON, "ran on for {:?}", stop.elapsed);
}

#[test]
fn garbage_is_collected_before_memory_is_out() {
    if !sys::COLLECTS_WHEN_REFUSED {
        return; // 5.1 and LuaJIT do not
    }
    let code = "local half = ('y'):rep(2^19)
        local keep = {} for i = 1, 5 do keep[i] = half .. half .. i collectgarbage() end
        for i = 1, 100 do local s = half .. half end return 'done'";
    let r = lua().run(code, &Limits::new().memory(9 << 20));
    assert_eq!(r.expect("stopped").unwrap(), "done");
}

#[test]
fn an_interrupt_outlives_a_call() {
    if !sys::HOOK_PER_COROUTINE {
        return; // LuaJIT: no ids for coroutines
    }
    let lua = lua();
    // SAFETY: a live state on its thread.
    unsafe { Guest::attach(lua.l) }
        .unwrap()
        .on_interrupt(on_interrupt);
    lua.ok(
        "co = coroutine.create(function() coroutine.yield() while not expired() do end end)
            coroutine.resume(co) assert(interrupt(id(co)))",
    );
    lua.run("while true do end", &timeout(20)).unwrap_err();
    std::thread::sleep(ms(20));
    patience(2);
    assert_eq!(plain(lua.l, c"coroutine.resume(co)"), 0);
    assert_eq!(
        CALLS.get(),
        1,
        "ran for two seconds and was not interrupted"
    );
}

#[test]
fn the_grace_period_is_that_of_the_stop() {
    static STUCK: AtomicU32 = AtomicU32::new(0);
    if !sys::HOOK_PER_COROUTINE {
        return; // as above
    }
    let lua = lua();
    // SAFETY: a live state on its thread.
    unsafe { Guest::attach(lua.l) }
        .unwrap()
        .on_interrupt(on_interrupt);
    lua.vm().on_stuck(ms(400), |_, _| {
        STUCK.fetch_add(1, Ordering::SeqCst);
    });
    let code = "co = coroutine.create(function() end) assert(interrupt(id(co))) while true do end";
    lua.run(code, &timeout(1000)).unwrap_err();
    assert_eq!(STUCK.load(Ordering::SeqCst), 0);
}

/// A delivery that walks for longer than the pause to the next one left the code no time to meet its hook.
#[test]
fn very_many_coroutines_do_not_keep_a_stop_off() {
    let lua = lua();
    lua.ok("t = {} for i = 1, 300000 do t[i] = coroutine.create(function() end) end");
    let stop = lua.run("while true do end", &timeout(100)).unwrap_err();
    assert!(stop.elapsed < SOON, "{:?}", stop.elapsed);
}

unsafe extern "C" fn chained(ud: *mut c_void, p: *mut c_void, o: usize, n: usize) -> *mut c_void {
    // SAFETY: `ud` is the pair that was in force before.
    unsafe {
        let (f, u) = *ud.cast::<(sys::lua_Alloc, *mut c_void)>();
        f(u, p, o, n)
    }
}

#[test]
fn an_allocator_that_goes_on_calling_ours_may() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let vm = Vm::attach(l).unwrap();
        let mut pair = sys::allocator(l);
        sys::lua_setallocf(l, chained, (&raw mut pair).cast());
        drop(vm);
        let junk: Vec<Vec<u64>> = (20..200).map(|n| vec![0x4141414141414141; n]).collect();
        assert_eq!(
            plain(l, c"local t = {} for i = 1, 1000 do t[i] = {i} end"),
            0
        );
        drop(junk);
        sys::lua_close(l);
    }
}

/// 5.5: what a string buffer returns keeps the allocator of that moment, and is freed by it, also after the detach.
#[test]
fn strings_outlive_the_attach() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let vm = Vm::attach(l).unwrap();
        let code = c"t = {} for i = 1, 100 do t[i] = ('x'):rep(5000 + i) end";
        assert_eq!(plain(l, code), 0);
        drop(vm);
        let junk: Vec<Vec<u64>> = (20..400).map(|n| vec![0x4141414141414141; n]).collect();
        assert_eq!(plain(l, c"t = nil collectgarbage() collectgarbage()"), 0);
        drop(junk);
        // The record serves another state by now.
        let lua = Lua::new();
        assert_eq!(plain(l, c"t = ('x'):rep(5000)"), 0);
        lua.run("while true do end", &timeout(20)).unwrap_err();
        sys::lua_close(l);
        lua.assert_healthy();
    }
}

/// The count hook was off in a finalizer, as all hooks are.
#[test]
fn instructions_of_an_endless_finalizer_are_counted() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
    ] {
        let lua = lua();
        let code = format!("local function f() {body} end
            if newproxy then getmetatable(newproxy(true)).__gc = f else setmetatable({{}}, {{__gc = f}}) end
            while true do local t = {{}} collectgarbage() end");
        let limits = Limits::new().instructions(100_000).timeout(ms(20_000));
        let stop = lua.run(&code, &limits).unwrap_err();
        assert_eq!(stop.reason, Reason::Instructions, "{body}");
        lua.close(&timeout(1000));
    }
}

/// LuaJIT: compiled code does not keep the stack as a traceback needs it, so there is none of where it ran out of memory.
#[test]
fn memory_that_runs_out_in_compiled_code() {
    // The stack as the interpreter last noted it is deep, and by now full of numbers; the loop is compiled before.
    let names: Vec<String> = (0..150).map(|n| format!("v{n}")).collect();
    let (names, numbers) = (names.join(", "), vec!["1.5"; 150].join(", "));
    let code = format!(
        "local function deep(d) if d == 0 then return #tostring(1.5) end return deep(d - 1) + 1 end
         local function wide() local {names} = {numbers} return v0 end
         local function fill(n) local t for i = 1, n do t = {{i, t}} end return t end
         collectgarbage('stop') fill(100) fill(100) keep = {{}}
         while true do for d = 1, 40 do deep(d) wide() keep[#keep + 1] = fill(20) end end"
    );
    for n in 0..150 {
        let lua = Lua::new();
        let limits = Limits::new().memory(10_000 + n * 2003).timeout(ms(20_000));
        let stop = lua.run(&code, &limits).unwrap_err();
        assert_eq!(stop.reason, Reason::Memory);
        lua.ok("keep = nil collectgarbage('restart')");
        lua.assert_healthy();
    }
}

#[test]
fn a_script_cannot_name_a_wrong_main_state() {
    if cfg!(any(feature = "lua51", feature = "luajit")) {
        return; // the registry does not name it there
    }
    for code in [
        c"local r = debug.getregistry() local k = _VERSION == 'Lua 5.5' and 3 or 1 r[k] = nil id()",
        c"local r = debug.getregistry() local k = _VERSION == 'Lua 5.5' and 3 or 1
          local main = r[k] r[k] = coroutine.create(print) pcall(id) r[k] = main collectgarbage() collectgarbage()
          local t = {} for i = 1, 1000 do t[i] = ('x'):rep(i) end",
    ] {
        // SAFETY: a state of our own, on this thread.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            sys::lua_pushcfunction(l, id);
            sys::lua_setglobal(l, c"id".as_ptr());
            plain(l, code);
            sys::lua_close(l);
        }
    }
}

/// LuaJIT frees its arena in `lua_close` only if its own allocator is in force by then.
#[test]
fn closed_states_leave_no_memory_behind() {
    let used = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    };
    let round = || {
        for _ in 0..100 {
            let lua = lua();
            lua.ok("t = {} for i = 1, 1000 do t[i] = {} end");
            lua.close(&Limits::new());
            // SAFETY: a state of its own, from the first use to the last.
            unsafe {
                let l = sys::luaL_newstate();
                sys::luaL_openlibs(l);
                Guest::attach(l).unwrap();
                plain(l, c"t = {} for i = 1, 1000 do t[i] = {} end");
                sys::lua_close(l);
            }
        }
    };
    round();
    let before = used();
    round();
    let grown = used().saturating_sub(before);
    assert!(grown < 100 * 50_000, "200 states left {grown} bytes");
}

/// LuaJIT: called as the body of a coroutine, the finalizer had no frame above it.
#[test]
fn the_sentinel_cannot_be_called_by_a_script() {
    let lua = lua();
    lua.ok("if not jit then return end
         for k, v in pairs(debug.getregistry()) do
           if type(k) == 'userdata' and type(v) == 'userdata' then
             local gc = debug.getmetatable(v).__gc
             coroutine.wrap(gc)(v)
             collectgarbage('stop') coroutine.wrap(gc)(v) collectgarbage('restart')
             gc(v)
           end
         end");
    lua.run("while true do end", &timeout(20)).unwrap_err();
}

/// 5.1: a look at the count hooks that lands between the making of a coroutine and the copy of the hook into it.
#[test]
fn making_coroutines_is_not_removing_the_hook() {
    let mut early = 0;
    for _ in 0..10 {
        let code =
            "local f = function() end for i = 1, 60000 do coroutine.create(f) end return 'done'";
        let r = lua().run(code, &Limits::new().instructions(19_000_000));
        early += u32::from(r.is_err());
    }
    assert_eq!(
        early, 0,
        "of 10 runs of the same script, so many were stopped"
    );
}

#[test]
fn a_coroutine_made_under_our_hook_inherits_the_users() {
    if !sys::HOOK_PER_COROUTINE {
        return; // one hook for all
    }
    let lua = lua();
    lua.ok("function h() end debug.sethook(h, '', 1000000)");
    let code = "a = coroutine.create(function() end) coroutine.wrap(function() b = coroutine.create(function() end) end)()";
    lua.run(code, &Limits::new().instructions(1_000_000))
        .unwrap()
        .unwrap();
    let r = lua.ok("local function c(co) return tostring(select(3, debug.gethook(co)) == 1000000) end return c(a) .. c(b)");
    assert_eq!(r, "truetrue");
}

/// A coroutine that our error kills kept hooks off for its `__close` methods.
#[test]
fn many_close_methods_in_a_dead_coroutine() {
    if !cfg!(any(feature = "lua54", feature = "lua55")) {
        return; // no such variables
    }
    let code = "local mt = {__close = function() while true do end end}
        local function f(n) local x <close> = setmetatable({}, mt) if n > 0 then f(n - 1) end while true do end end
        coroutine.wrap(f)(150)";
    let stop = lua().run(code, &timeout(100)).unwrap_err();
    assert!(stop.elapsed < SOON, "{:?}", stop.elapsed);
}

/// From 5.2 on, protected calls in a coroutine nest without end, for each error that is caught gives the C stack back; and each looks at all frames below
/// when it catches the stop.
#[test]
fn a_tower_of_protected_calls_is_left_at_once() {
    let lua = Lua::new();
    for code in [
        "local function f() repeat pcall(f) until false end coroutine.wrap(f)()",
        "local function f() repeat xpcall(f, f) until false end coroutine.wrap(f)()",
        "local function f() repeat pcall(pcall, f) until false end pcall(coroutine.wrap(f))",
        "local function f() repeat pcall(f) until false end while true do pcall(coroutine.wrap(f)) end",
    ] {
        let stop = lua.run(code, &timeout(300)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
        assert!(stop.elapsed < SOON, "{code}: {:?}", stop.elapsed);
    }
    lua.assert_healthy();
}

/// 5.2: in a coroutine that a finalizer has made, the stop asked for the names of functions. The collector may have been at work before the first instruction of one, and then
/// Lua read that of the instruction before (found under AddressSanitizer). What can be seen here is that names are not asked for.
#[test]
fn a_coroutine_in_a_finalizer_is_stopped_without_asking_for_names() {
    let code = "
        local function gc(f) if newproxy then getmetatable(newproxy(true)).__gc = f else setmetatable({}, { __gc = f }) end end
        gc(function() local function endless() while true do end end coroutine.wrap(function() endless() end)() end)
        local function collect() collectgarbage() end
        collect()
        collect()
        while true do end";
    // On a busy machine the time may be up before the finalizer begins.
    let seen = (0..20).any(|_| {
        let lua = Lua::new();
        let stop = lua.run(code, &timeout(30)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
        lua.assert_healthy();
        let trace = stop.traceback;
        let in_coroutine = trace.contains("resumed from:");
        if in_coroutine {
            let named = trace.contains("'collect'") || trace.contains("'endless'");
            assert_eq!(named, !cfg!(feature = "lua52"), "{trace}");
        }
        in_coroutine
    });
    // LuaJIT keeps its coroutines elsewhere.
    assert!(seen || cfg!(feature = "luajit"));
}

/// Each of them runs with hooks off, so each needs a delivery of its own; which came after 10 ms, where many had been needed before.
#[test]
fn thousands_of_endless_finalizers() {
    let lua = Lua::new();
    // On 5.1 each costs 4 ms all the same (`hookless.rs`: its list of calls is made to overflow).
    let many = if cfg!(feature = "lua51") { 300 } else { 3000 };
    lua.ok(&format!("many = {many}"));
    let code = "local function endless() while true do end end
        local mt, kept = {__gc = endless}, {}
        for i = 1, many do
            if newproxy then kept[i] = newproxy(true) getmetatable(kept[i]).__gc = endless else kept[i] = setmetatable({}, mt) end
        end
        kept = nil
        collectgarbage()";
    let stop = lua.run(code, &timeout(100)).unwrap_err();
    // On 5.1 the error of the first ends the collection, and the others are left for the end of the state.
    let start = Instant::now();
    lua.close(&timeout(100));
    assert!(stop.elapsed < SOON, "{:?}", stop.elapsed);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}
