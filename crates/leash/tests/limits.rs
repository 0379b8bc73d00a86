//! Each limit, alone and nested: it is kept, it is reported by the call that set it, and it is gone afterwards.

mod common;
use common::{Lua, ms, timeout};
use leash::{Limits, Reason, Stop, Vm, sys};
use std::ffi::c_int;

fn stopped(r: Result<Result<String, String>, Box<Stop>>) -> Box<Stop> {
    match r {
        Err(stop) => stop,
        Ok(r) => panic!("was not stopped but ended with {r:?}"),
    }
}

// --- memory ---

const MIB: usize = 1 << 20;

#[test]
fn memory_is_limited_to_what_grows_inside() {
    let lua = Lua::new();
    lua.ok("before = ('x'):rep(20 * 2^20)");
    let limits = Limits::new().memory(4 * MIB);
    let start = lua.vm().memory();
    let stop = stopped(lua.run("local t = {} for i = 1, 1e9 do t[i] = {i} end", &limits));
    assert_eq!(stop.reason, Reason::Memory);
    assert_eq!(stop.limit, "4 MiB");
    // `start` is before the chunk was compiled, which is not in the limit: a few KiB.
    assert!(
        stop.memory <= start + 4 * MIB + 8192,
        "{} then {}",
        start,
        stop.memory
    );
    // LuaJIT: compiled code has no traceback that could be taken inside the allocator.
    let told = stop.traceback.contains("test:1:") || cfg!(feature = "luajit");
    assert!(told, "{}", stop.traceback);
    lua.assert_healthy();
    // The limit is gone: 30 MiB are fine now.
    lua.ok("local s = ('y'):rep(30 * 2^20)");
}

#[test]
fn memory_counts_what_is_in_use_not_what_was_ever_made() {
    let lua = Lua::new();
    let limits = Limits::new().memory(16 * MIB);
    // 200 MiB of garbage, 1 MiB at a time.
    let r = lua.run(
        "for i = 1, 200 do local s = ('x'):rep(2^20 - i) if i % 4 == 0 then collectgarbage() end end return 'done'",
        &limits,
    );
    assert_eq!(r.unwrap().unwrap(), "done");
}

#[test]
fn a_script_that_leaves_collecting_to_lua_stays_within_its_limit() {
    let lua = Lua::new();
    for (what, code, limit) in [
        ("strings", "for i = 1, 200 do local s = ('x'):rep(2^20 - i) end return 'done'", 6 * MIB),
        // By itself the collector would wait until there is as much garbage as there is data.
        (
            "tables",
            "local kept = {} for i = 1, 10000 do kept[i] = { i } end for i = 1, 1e6 do local t = { i } end return 'done'",
            2 * MIB,
        ),
        (
            "in a coroutine",
            "local kept = {} for i = 1, 10000 do kept[i] = { i } end
                return coroutine.wrap(function() for i = 1, 1e6 do local t = { i } end return 'done' end)()",
            2 * MIB,
        ),
        (
            "with finalizers",
            "local kept, n = {}, 0 for i = 1, 10000 do kept[i] = { i } end
                for i = 1, 1e5 do local t = newproxy and newproxy(true) or setmetatable({}, {})
                getmetatable(t).__gc = function() n = n + 1 end if not newproxy then setmetatable(t, getmetatable(t)) end end return n > 1000 and 'done'",
            3 * MIB,
        ),
    ] {
        lua.ok("collectgarbage() collectgarbage()");
        let r = lua.run(code, &Limits::new().memory(limit));
        assert_eq!(r.unwrap().unwrap(), "done", "{what}");
        lua.assert_healthy();
    }
}

/// What is alive is not collected, and the collections that were tried for it are few.
#[test]
fn collecting_for_nothing_is_soon_given_up() {
    let lua = Lua::new();
    let stop = stopped(lua.run(
        "local t = {} for i = 1, 1e9 do t[i % 1e8] = { i } end",
        &Limits::new().memory(8 * MIB).timeout(ms(20_000)),
    ));
    assert_eq!(stop.reason, Reason::Memory);
    lua.assert_healthy();
}

/// From 5.4 on Lua does not collect when it is refused memory for a stack, and asks once (`gcstopem` in `luaD_reallocstack`): a script that caught the error had not been stopped, and
/// went on for ever where it needed no more memory. (Found by the stress: a finalizer in which memory ran out, on 5.5.)
#[test]
fn memory_for_a_stack_that_is_refused_once() {
    for cause in [
        "table.unpack({}, 1, 7000)",
        "local function twice(...) return select('#', ..., ...) end twice(table.unpack({}, 1, 2500))",
    ] {
        for place in [
            "pcall(f)",
            "coroutine.wrap(function() pcall(f) end)()",
            "setmetatable({}, {__gc = f}) if newproxy then getmetatable(newproxy(true)).__gc = f end collectgarbage()",
        ] {
            let lua = Lua::new();
            let code = format!(
                "table.unpack = table.unpack or unpack
                local function f() {cause} end
                {place}
                while true do end"
            );
            let limits = Limits::new().memory(32 << 10).timeout(ms(1000));
            let stop = stopped(lua.run(&code, &limits));
            assert_eq!(stop.reason, Reason::Memory, "{cause}, {place}");
            lua.assert_healthy();
        }
    }
}

/// The same in a finalizer, where no hook runs, and where what was refused is granted a moment later.
#[cfg(any(feature = "lua54", feature = "lua55"))]
#[test]
fn memory_for_a_stack_that_is_refused_and_then_granted() {
    let lua = Lua::new();
    let code = "local function grow() return select('#', table.unpack({}, 1, 7000)) end
        local function deep(n) if n == 0 then coroutine.yield() end return 1 + deep(n - 1) end
        local large = coroutine.create(deep)
        coroutine.resume(large, 3000)
        setmetatable({}, {__gc = function()
            first = pcall(grow)
            made = {1, 2, 3}
            coroutine.close(large)
            second = pcall(grow)
        end})
        collectgarbage()
        while true do end";
    let limits = Limits::new().memory(450 << 10).timeout(ms(1000));
    let stop = stopped(lua.run(code, &limits));
    let said = lua.ok("return tostring(first) .. tostring(second)");
    // On a busy machine the finalizer may have been ended before it grows once more, or before it notes that it could not.
    assert!(
        ["falsetrue", "falsenil", "nilnil"].contains(&&*said),
        "{said}"
    );
    assert_eq!(stop.reason, Reason::Memory);
    lua.assert_healthy();
}

#[test]
fn memory_cannot_be_caught() {
    for code in [
        "local t = {} while true do pcall(function() while true do t[#t + 1] = ('x'):rep(1000) .. #t end end) end",
        "local s = 'x' while true do local ok = pcall(function() s = s .. s end) end",
        "collectgarbage('stop') while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
        "local t = {} while true do pcall(coroutine.wrap(function() while true do t[#t + 1] = {} end end)) end",
        "xpcall(function() local s = 'x' while true do s = s .. s end end, function() while true do end end) while true do end",
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "while true do pcall(string.rep, 'x', 2^28) end",
        "local t = {} local load = loadstring or load while true do t[#t + 1] = load('return ' .. #t) end",
    ] {
        let lua = Lua::new();
        let stop = stopped(lua.run(code, &Limits::new().memory(8 * MIB).timeout(ms(20_000))));
        assert_eq!(stop.reason, Reason::Memory, "{code}");
        lua.assert_healthy();
    }
}

#[test]
fn a_single_huge_allocation_is_refused() {
    let lua = Lua::new();
    let stop = stopped(lua.run("return #('x'):rep(2^30)", &Limits::new().memory(MIB)));
    assert_eq!(stop.reason, Reason::Memory);
    lua.assert_healthy();
}

#[test]
fn accounting_agrees_with_the_collector() {
    let lua = Lua::new();
    for _ in 0..5 {
        lua.ok("local t = {} for i = 1, 1000 do t[i] = coroutine.create(function() end) t[-i] = ('x'):rep(i) end");
        lua.ok("collectgarbage() collectgarbage()");
        // SAFETY: a live state on its thread.
        let told = unsafe { sys::bytes_in_use(lua.l) };
        assert_eq!(lua.vm().memory(), told);
    }
}

// --- instructions ---

#[test]
fn instructions_stop_at_the_same_place_each_time() {
    let code = "n = 0 while true do n = n + 1 end";
    let mut seen = None;
    for _ in 0..5 {
        let lua = Lua::new();
        let stop = stopped(lua.run(code, &Limits::new().instructions(100_000)));
        assert_eq!(stop.reason, Reason::Instructions);
        assert_eq!(stop.limit, "100000");
        let n = lua.ok("return n");
        assert_eq!(*seen.get_or_insert(n.clone()), n);
        lua.assert_healthy();
    }
}

#[test]
fn instructions_are_counted_exactly_in_one_coroutine() {
    let lua = Lua::new();
    let reached = |limit| {
        lua.ok("n = 0");
        stopped(lua.run(
            "while true do n = n + 1 end",
            &Limits::new().instructions(limit),
        ));
        lua.ok("return n").parse::<f64>().unwrap()
    };
    let (a, b) = (reached(10_000), reached(20_000));
    // A round is 3 to 5 instructions, whichever engine.
    assert!((2000.0..=3400.0).contains(&a), "{a}");
    assert!((b - 2.0 * a).abs() <= 3.0, "{a} {b}");
    assert!(reached(1) == 0.0);
}

#[test]
fn instructions_in_coroutines_count() {
    for code in [
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.wrap(function() for i = 1, 50 do end end)() end",
        "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
        "while true do pcall(function() while true do end end) end",
    ] {
        let lua = Lua::new();
        let limits = Limits::new().instructions(300_000).timeout(ms(20_000));
        let stop = stopped(lua.run(code, &limits));
        assert_eq!(stop.reason, Reason::Instructions, "{code}");
        lua.assert_healthy();
    }
}

#[test]
fn removing_the_count_hook_does_not_help() {
    for code in [
        "debug.sethook() while true do end",
        "while true do debug.sethook() end",
        "debug.sethook(function() end, '', 1) while true do end",
        "coroutine.wrap(function() debug.sethook() while true do end end)()",
    ] {
        let lua = Lua::new();
        let limits = Limits::new().instructions(20_000_000).timeout(ms(20_000));
        let stop = stopped(lua.run(code, &limits));
        assert_eq!(stop.reason, Reason::Instructions, "{code}");
        lua.assert_healthy();
    }
}

/// No hook runs there, so nothing counts them: time does.
#[test]
fn instructions_run_out_in_finalizers_and_hooks() {
    let finalizer = "local p = newproxy and newproxy(true)
        if p then getmetatable(p).__gc = FINALIZER p = nil else setmetatable({}, {__gc = FINALIZER}) end
        collectgarbage() collectgarbage()";
    for code in [
        &finalizer.replace("FINALIZER", "function() while true do end end"),
        &finalizer.replace("FINALIZER", "function() while true do pcall(error) end end"),
        "debug.sethook(function() while true do end end, 'l') local x = 1\n local y = 2",
    ] {
        let lua = Lua::new();
        let limits = Limits::new().instructions(1_000_000).timeout(ms(20_000));
        let stop = stopped(lua.run(&format!("{code} while true do end"), &limits));
        assert_eq!(stop.reason, Reason::Instructions, "{code}");
        lua.assert_healthy();
    }
}

#[test]
fn enough_instructions_are_enough() {
    let lua = Lua::new();
    let r = lua.run(
        "local s = 0 for i = 1, 1000 do s = s + i end return s",
        &Limits::new().instructions(10_000),
    );
    assert_eq!(r.unwrap().unwrap(), "500500");
    lua.assert_healthy();
}

// --- CPU time ---

#[test]
fn cpu_time_counts_computing_only() {
    let lua = Lua::new();
    let stop = stopped(lua.run("while true do end", &Limits::new().cpu(ms(50))));
    assert_eq!(stop.reason, Reason::Cpu);
    assert!(stop.cpu >= ms(50), "{:?}", stop.cpu);
    assert!(stop.elapsed >= ms(50));
    lua.assert_healthy();
}

unsafe extern "C-unwind" fn nap(_: *mut sys::lua_State) -> c_int {
    std::thread::sleep(ms(100));
    0
}

#[test]
fn sleeping_is_not_computing() {
    let lua = Lua::new();
    // SAFETY: a live state on its thread.
    unsafe {
        sys::lua_pushcfunction(lua.l, nap);
        sys::lua_setglobal(lua.l, c"nap".as_ptr());
    }
    let r = lua.run("nap() nap() return 'rested'", &Limits::new().cpu(ms(50)));
    assert_eq!(r.unwrap().unwrap(), "rested");
    let stop = stopped(lua.run("nap() while true do end", &Limits::new().cpu(ms(30))));
    assert!(stop.elapsed >= ms(130), "{:?}", stop.elapsed);
}

// --- several limits, nested calls ---

/// What the nested calls came to.
type Ended = Vec<Result<c_int, Box<Stop>>>;

thread_local! {
    static NESTED: std::cell::RefCell<(Limits, Ended)> = std::cell::RefCell::default();
    static VM: std::cell::Cell<*const Vm> = const { std::cell::Cell::new(std::ptr::null()) };
}

/// `nested(f)`: calls `f` under the limits in `NESTED`, and notes the outcome. As a careful C function: a stop that is not its own
/// goes on as an error.
unsafe extern "C-unwind" fn nested(l: *mut sys::lua_State) -> c_int {
    let mut enclosing = false;
    {
        let limits = NESTED.with_borrow(|n| n.0);
        // SAFETY: `VM` is set while the test runs; the function is at index 1.
        let r = unsafe {
            sys::lua_settop(l, 1);
            (*VM.get()).call(l, 0, 0, 0, &limits)
        };
        if let Err(stop) = &r {
            enclosing = stop.enclosing;
        }
        NESTED.with_borrow_mut(|n| n.1.push(r));
    }
    if enclosing {
        // SAFETY: nothing is alive here.
        unsafe {
            sys::lua_pushnil(l);
            sys::lua_error(l);
        }
    }
    0
}

fn with_nested(lua: &Lua, limits: Limits) {
    VM.set(lua.vm());
    NESTED.set((limits, vec![]));
    // SAFETY: a live state on its thread.
    unsafe {
        sys::lua_pushcfunction(lua.l, nested);
        sys::lua_setglobal(lua.l, c"nested".as_ptr());
    }
}

fn outcomes() -> Vec<Option<(Reason, bool)>> {
    NESTED
        .take()
        .1
        .into_iter()
        .map(|r| r.err().map(|s| (s.reason, s.enclosing)))
        .collect()
}

#[test]
fn an_inner_limit_ends_the_inner_call_only() {
    let lua = Lua::new();
    with_nested(&lua, timeout(20));
    let r = lua.run(
        "nested(function() while true do pcall(function() while true do end end) end end) return 'outer goes on'",
        &timeout(20_000),
    );
    assert_eq!(r.unwrap().unwrap(), "outer goes on");
    assert_eq!(outcomes(), [Some((Reason::Timeout, false))]);
    lua.assert_healthy();
}

#[test]
fn an_outer_limit_cannot_be_contained() {
    for code in [
        "nested(function() while true do end end) while true do end",
        "while true do pcall(nested, function() while true do end end) end",
        "local function f() while true do pcall(nested, f) end end f()",
        "while true do coroutine.wrap(function() nested(function() while true do end end) end)() end",
    ] {
        let lua = Lua::new();
        with_nested(&lua, timeout(20_000));
        let stop = stopped(lua.run(code, &timeout(30)));
        assert_eq!((stop.reason, stop.enclosing), (Reason::Timeout, false));
        let inner = outcomes();
        assert!(
            inner
                .iter()
                .flatten()
                .all(|o| *o == (Reason::Timeout, true)),
            "{inner:?}"
        );
        lua.assert_healthy();
    }
}

#[test]
fn many_inner_stops_then_the_outer_one() {
    let lua = Lua::new();
    with_nested(&lua, timeout(2));
    let stop = stopped(lua.run(
        "while true do nested(function() while true do end end) end",
        &timeout(300),
    ));
    assert_eq!(stop.reason, Reason::Timeout);
    let inner = outcomes();
    let own = inner.iter().flatten().filter(|o| !o.1).count();
    assert!(own >= 2, "{inner:?}"); // 150 of them on a machine that has nothing else to do
    lua.assert_healthy();
}

#[test]
fn an_outer_limit_holds_when_an_inner_call_has_ended() {
    let endless = "nested(function() end) local t = {} while true do t[#t + 1] = {} end";
    for (outer, reason) in [
        (timeout(30), Reason::Timeout),
        (Limits::new().cpu(ms(30)), Reason::Cpu),
        (Limits::new().instructions(100_000), Reason::Instructions),
        (Limits::new().memory(1 << 20), Reason::Memory),
    ] {
        let lua = Lua::new();
        with_nested(&lua, timeout(20_000));
        assert_eq!(stopped(lua.run(endless, &outer)).reason, reason);
        assert_eq!(outcomes(), [None]);
        lua.assert_healthy();
    }
}

#[test]
fn an_inner_memory_limit_does_not_outlive_its_call() {
    let lua = Lua::new();
    with_nested(&lua, Limits::new().memory(MIB));
    let r = lua.run(
        "nested(function() local t = {} while true do t[#t + 1] = {} end end) return #('x'):rep(2^23)",
        &Limits::new().memory(64 * MIB),
    );
    assert_eq!(r.unwrap().unwrap(), (1 << 23).to_string());
    assert_eq!(outcomes(), [Some((Reason::Memory, false))]);
    lua.assert_healthy();
}

#[test]
fn memory_refused_in_an_inner_call_without_a_limit_is_the_outer_call_s() {
    let lua = Lua::new();
    with_nested(&lua, Limits::new());
    let stop = stopped(lua.run(
        "nested(function() local t = {} while true do t[#t + 1] = {} end end)",
        &Limits::new().memory(MIB),
    ));
    assert_eq!((stop.reason, stop.enclosing), (Reason::Memory, false));
    assert_eq!(outcomes(), [Some((Reason::Memory, true))]);
    lua.assert_healthy();
}

#[test]
fn inner_instructions_count_for_the_outer_call() {
    let lua = Lua::new();
    with_nested(&lua, Limits::new().instructions(50_000));
    let stop = stopped(lua.run(
        "while true do nested(function() while true do end end) end",
        &Limits::new().instructions(220_000),
    ));
    assert_eq!(stop.reason, Reason::Instructions);
    assert_eq!(outcomes().iter().flatten().filter(|o| !o.1).count(), 4);
    lua.assert_healthy();
}

#[test]
fn the_first_limit_that_is_reached_is_the_one_reported() {
    let lua = Lua::new();
    let all = Limits::new()
        .timeout(ms(30_000))
        .cpu(ms(30_000))
        .memory(2 * MIB)
        .instructions(u64::MAX);
    let stop = stopped(lua.run("local t = {} while true do t[#t + 1] = {} end", &all));
    assert_eq!(stop.reason, Reason::Memory);
    let stop = stopped(lua.run("while true do end", &all.cpu(ms(20))));
    assert_eq!(stop.reason, Reason::Cpu);
    let stop = stopped(lua.run("while true do end", &all.timeout(ms(20))));
    assert_eq!(stop.reason, Reason::Timeout);
}

// --- the user's hook ---

#[test]
fn the_users_hook_is_back_after_a_stop() {
    let lua = Lua::new();
    lua.ok("lines = 0 debug.sethook(function() lines = lines + 1 end, 'l')");
    for _ in 0..20 {
        stopped(lua.run("while true do end", &timeout(3)));
        let v = lua.ok("local a = lines\nlocal b = 1\nlocal c = 2\nlocal f, m, n = debug.gethook() return (lines > a and m == 'l' and n == 0) and 'back' or tostring(m)");
        assert_eq!(v, "back");
    }
}

#[test]
fn the_users_hook_is_back_after_an_instruction_limit() {
    let lua = Lua::new();
    lua.ok("lines = 0 debug.sethook(function() lines = lines + 1 end, 'l')");
    lua.run("local x = 1", &Limits::new().instructions(1000))
        .unwrap()
        .unwrap();
    assert_eq!(lua.ok("local f, m = debug.gethook() return m"), "l");
}
