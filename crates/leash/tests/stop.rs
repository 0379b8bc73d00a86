//! Every kind of code ends when its time is up, and leaves a healthy state.

mod common;
use common::{Lua, ms, timeout};
use leash::Reason;

/// Endless programs. Each must be stopped, whatever it does against it.
const ENDLESS: &[(&str, &str)] = &[
    ("empty loop", "while true do end"),
    ("for loop", "for i = 1, 1e18 do end"),
    ("repeat", "local x = 0 repeat x = x + 1 until false"),
    (
        "function calls",
        "local function f() end while true do f() end",
    ),
    (
        "recursion up and down",
        "local function f(n) if n > 0 then return 1 + f(n - 1) end return 0 end while true do f(150) end",
    ),
    ("tail calls", "local function f() return f() end f()"),
    (
        "stack overflow caught",
        "local function f() return 1 + f() end while true do pcall(f) end",
    ),
    (
        "pcall loop",
        "local function f() while true do end end while true do pcall(f) end",
    ),
    (
        "pcall of pcall",
        "local f = function() while true do end end for i = 1, 50 do local g = f f = function() while true do pcall(g) end end end f()",
    ),
    (
        "tail pcall",
        "local function f() while true do end end return pcall(f)",
    ),
    (
        "xpcall, endless handler",
        "local function h() while true do end end while true do xpcall(function() while true do end end, h) end",
    ),
    (
        "xpcall, handler at work",
        "xpcall(function() error('x') end, function() while true do end end)",
    ),
    (
        "xpcall, handler in handler",
        "local function h() while true do xpcall(error, h) end end while true do xpcall(h, h) end",
    ),
    (
        "error in error handling",
        "local function h() error('again') end while true do xpcall(error, h, 'x') end",
    ),
    (
        "coroutine",
        "coroutine.wrap(function() while true do end end)()",
    ),
    (
        "resumes",
        "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
    ),
    (
        "nested coroutines",
        "local function nest(d) if d == 0 then while true do end end coroutine.wrap(nest)(d - 1) end nest(100)",
    ),
    (
        "coroutine under pcall",
        "while true do pcall(coroutine.wrap(function() while true do pcall(function() while true do end end) end end)) end",
    ),
    (
        "coroutine factory",
        "while true do coroutine.resume(coroutine.create(function() while true do pcall(function() while true do end end) end end)) end",
    ),
    (
        "many coroutines, one loops",
        "local t = {} for i = 1, 2000 do t[i] = coroutine.create(function() coroutine.yield() end) coroutine.resume(t[i]) end coroutine.wrap(function() while true do end end)()",
    ),
    (
        "short coroutines for ever",
        "while true do coroutine.wrap(function() local t = {} for i = 1, 10 do t[i] = {} end end)() end",
    ),
    (
        "__index chain",
        "local t = setmetatable({}, {__index = function(t, k) while true do end end}) return t.x",
    ),
    (
        "__index recursion",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end",
    ),
    (
        "__tostring",
        "while true do pcall(tostring, setmetatable({}, {__tostring = function() while true do end end})) end",
    ),
    (
        "__eq and __lt",
        "local m = {__eq = function() while true do end end, __lt = function() while true do end end} local a, b = setmetatable({}, m), setmetatable({}, m) while true do pcall(function() return a == b or a < b end) end",
    ),
    (
        "sort",
        "table.sort({3, 2, 1, 4}, function(a, b) while true do end end)",
    ),
    (
        "gsub",
        "string.gsub('aaa', 'a', function() while true do end end)",
    ),
    (
        "gsub for ever",
        "while true do string.gsub(('a'):rep(100), 'a', function() end) end",
    ),
    ("iterator", "for k in function() return 1 end do end"),
    (
        "garbage",
        "while true do local t = {} for i = 1, 100 do t[i] = {} end end",
    ),
    ("full collections", "while true do collectgarbage() end"),
    (
        "strings",
        "local s = '' while true do s = s .. 'x' if #s > 1000 then s = '' end end",
    ),
    (
        "load",
        "local load = loadstring or load while true do load('local x = 1 return x')() end",
    ),
    (
        "load of endless",
        "(loadstring or load)('while true do end')()",
    ),
    ("hook removed", "while true do debug.sethook() end"),
    (
        "hook removed in coroutine",
        "while true do coroutine.wrap(function() for i = 1, 100 do debug.sethook() end end)() end",
    ),
    (
        "own count hook",
        "debug.sethook(function() end, '', 1) while true do end",
    ),
    (
        "own line hook",
        "debug.sethook(function() end, 'lcr') local x while true do\n x = 1\n x = 2\n end",
    ),
    (
        "vararg",
        "local function f(...) return select('#', ...) end while true do f(1, 2, 3, nil) end",
    ),
    (
        "closures",
        "while true do local x = 1 local f = function() return x end f() end",
    ),
    (
        "require",
        "package.preload.endless = function() while true do end end require 'endless'",
    ),
    (
        "goto or loop",
        "if _VERSION == 'Lua 5.1' then while true do end else (load '::a:: goto a')() end",
    ),
    (
        "to-be-closed",
        "local f = (loadstring or load)('local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end') if f and not jit then f() end while true do end",
    ),
    (
        "many to-be-closed",
        "local f = (loadstring or load)('for i = 1, 1e9 do local x <close> = setmetatable({}, {__close = function() while true do end end}) end') if f and not jit then pcall(f) end while true do end",
    ),
];

/// Code that runs with hooks off. `fin(f)` has `f` called as a finalizer, now.
const WITHOUT_HOOKS: &[(&str, &str)] = &[
    (
        "endless hook",
        "debug.sethook(spin, '', 1) local x = 0 while true do x = x + 1 end",
    ),
    ("endless finalizer", "fin(spin) while true do end"),
    ("finalizers for ever", "while true do fin(spin) end"),
    (
        "a hook that catches",
        "debug.sethook(function() while true do pcall(spin) end end, '', 1) local x = 0 while true do x = x + 1 end",
    ),
    (
        "a finalizer that catches",
        "fin(function() while true do pcall(spin) end end) while true do end",
    ),
    (
        "finalizers that catch",
        "while true do fin(function() while true do pcall(spin) end end) end",
    ),
    (
        "a finalizer that catches at many depths",
        "local f = spin for i = 1, 30 do local g = f f = function() while true do pcall(g) end end end fin(f)",
    ),
    (
        "a finalizer that catches deep down",
        "local function down(n) if n == 0 then while true do pcall(spin) end end return 1 + down(n - 1) end
        fin(function() down(2000) end) while true do end",
    ),
    (
        "a finalizer that handles",
        "fin(function() while true do xpcall(spin, spin) end end) while true do end",
    ),
    (
        "a finalizer that makes coroutines",
        "fin(function() while true do pcall(coroutine.wrap(function() while true do pcall(spin) end end)) end end)
        while true do end",
    ),
    (
        "a finalizer that makes coroutines inside",
        "fin(function() while true do pcall(function() coroutine.wrap(function() while true do pcall(spin) end end)() end) end end)
        while true do end",
    ),
    (
        "a finalizer that resumes what it has made",
        "fin(function() local t = {} for i = 1, 1000 do t[i] = coroutine.create(spin) end
            while true do for i = 1, 1000 do pcall(coroutine.resume, t[i]) end end end) while true do end",
    ),
    (
        "a finalizer in a coroutine",
        "coroutine.wrap(function() fin(function() while true do pcall(spin) end end) end)() while true do end",
    ),
    (
        "a finalizer that allocates",
        "fin(function() while true do pcall(function() local t = {} while true do t = {t, {}} if #t > 1e3 then t = {} end end end) end end)
        while true do end",
    ),
    (
        "a hook in a finalizer",
        "fin(function() debug.sethook(function() while true do pcall(spin) end end, '', 1) while true do pcall(spin) end end)
        while true do end",
    ),
    (
        "a finalizer with variables to be closed",
        "local f = (loadstring or load)('local c = setmetatable({}, {__close = spin}) while true do pcall(function() local x <close> = c spin() end) end')
        fin(f or spin) while true do end",
    ),
];

const HELPERS: &str = "
    function spin() while true do end end
    function fin(f)
        if newproxy then getmetatable(newproxy(true)).__gc = f else setmetatable({}, {__gc = f}) end
        collectgarbage() collectgarbage()
    end";

fn stops(lua: &Lua, name: &str, code: &str) {
    let stop = match lua.run(code, &timeout(30)) {
        Err(stop) => stop,
        Ok(r) => panic!("{name}: was not stopped but ended with {r:?}"),
    };
    assert_eq!(stop.reason, Reason::Timeout, "{name}");
    assert!(stop.elapsed >= ms(30), "{name}: early, {:?}", stop.elapsed);
    assert!(
        stop.traceback.starts_with("stack traceback:\n\t"),
        "{name}: {:?}",
        stop.traceback
    );
    lua.assert_healthy();
}

#[test]
fn endless_code_in_a_state_each() {
    for (name, code) in ENDLESS {
        stops(&Lua::new(), name, code);
    }
}

#[test]
fn endless_code_one_after_the_other_in_one_state() {
    let lua = Lua::new();
    for (name, code) in ENDLESS {
        stops(&lua, name, code);
    }
}

#[test]
fn endless_code_inside_a_coroutine() {
    let lua = Lua::new();
    for (name, code) in ENDLESS {
        lua.ok("debug.sethook()");
        stops(
            &lua,
            name,
            &format!("coroutine.wrap(function() {code}\n end)()"),
        );
    }
}

#[test]
fn hooks_off_does_not_help() {
    for (name, code) in WITHOUT_HOOKS {
        let lua = Lua::new();
        lua.ok(HELPERS);
        stops(&lua, name, code);
        assert_collects(&lua, name);
    }
}

#[test]
fn hooks_off_does_not_help_again_and_again_in_one_state() {
    let lua = Lua::new();
    lua.ok(HELPERS);
    for round in 0..3 {
        for (name, code) in WITHOUT_HOOKS {
            lua.ok("debug.sethook()");
            stops(&lua, &format!("{name}, round {round}"), code);
        }
        assert_collects(&lua, "all");
    }
}

/// A stop in a finalizer has left the collector and the hooks as they were.
fn assert_collects(lua: &Lua, name: &str) {
    let code = "debug.sethook()
        local done, events = 0, 0
        for i = 1, 100 do fin(function() done = done + 1 end) end
        local before = collectgarbage('count')
        for i = 1, 2e5 do local t = {i} end
        local grown = collectgarbage('count') - before
        debug.sethook(function() events = events + 1 end, '', 1)
        for i = 1, 100 do local x = i end
        local mine = select(2, debug.gethook())
        debug.sethook()
        fin(function() end)
        return done .. ' ' .. tostring(grown < 5000) .. ' ' .. tostring(events > (jit and 0 or 50)) .. tostring(mine)";
    let got = lua.ok(code);
    assert_eq!(got, "100 true true", "{name}: unhealthy afterwards");
}

#[test]
fn a_finalizer_that_catches_does_not_get_past_the_memory_limit() {
    let lua = Lua::new();
    lua.ok(HELPERS);
    let limits = timeout(50).memory(200_000);
    let code = "fin(function() while true do pcall(spin) end end) while true do end";
    let stop = lua.run(code, &limits).unwrap_err();
    assert_eq!(stop.reason, Reason::Timeout);
    let code = "local t = {} for i = 1, 1e7 do t[i] = {} end";
    let stop = lua.run(code, &limits.timeout(ms(60_000))).unwrap_err();
    assert_eq!(stop.reason, Reason::Memory);
    lua.assert_healthy();
}

#[test]
fn a_stop_says_where() {
    let lua = Lua::new();
    let code = "local function inner()\n  while true do end\nend\nfunction outer()\n  inner()\nend\nouter()";
    let stop = lua.run(code, &timeout(20)).unwrap_err();
    let t = &stop.traceback;
    assert!(t.contains("test:2: in "), "{t}");
    assert!(t.contains("'inner'"), "{t}");
    assert!(t.contains("test:5: in function 'outer'"), "{t}");
    assert!(t.contains("test:7: in main chunk"), "{t}");
}

#[test]
fn a_stop_in_a_coroutine_shows_who_resumed_it() {
    let lua = Lua::new();
    let code = "local function b()\n while true do end\nend\nlocal function a()\n coroutine.wrap(b)()\nend\ncoroutine.wrap(a)()";
    let t = lua.run(code, &timeout(20)).unwrap_err().traceback;
    let at = |s: &str| t.find(s).unwrap_or_else(|| panic!("no {s} in {t}"));
    assert!(at("test:2:") < at("resumed from:"), "{t}");
    if !cfg!(feature = "luajit") {
        assert!(at("test:5:") < at("test:7:"), "{t}");
        assert_eq!(t.matches("resumed from:").count(), 2, "{t}");
    }
}

#[test]
fn a_deep_stack_is_shown_in_part() {
    let lua = Lua::new();
    let code =
        "local function f(n) if n == 0 then while true do end end return 1 + f(n - 1) end f(100)";
    let t = lua.run(code, &timeout(20)).unwrap_err().traceback;
    assert!(t.lines().count() < 30 && t.contains("levels)"), "{t}");
}

#[test]
fn a_very_deep_stack_is_not_measured_to_its_end() {
    let lua = Lua::new();
    // A coroutine, so that 5.1's limit on C calls is not met first; as deep as the engine allows, and then endless.
    let code = "local function f(n) local ok, r = pcall(function() return true end) if n == 0 then while true do end end return 1 + f(n - 1) end
        coroutine.wrap(function() for n = 150000, 1000, -5000 do pcall(f, n) end while true do end end)()";
    let stop = lua.run(code, &timeout(300)).unwrap_err();
    assert!(stop.traceback.lines().count() < 60, "{}", stop.traceback);
    lua.assert_healthy();
}

#[test]
fn a_limit_of_zero_stops_at_once() {
    let lua = Lua::new();
    let stop = lua
        .run("while true do x = (x or 0) + 1 end", &timeout(0))
        .unwrap_err();
    assert_eq!(stop.reason, Reason::Timeout);
    assert_eq!(lua.ok("return tostring(x)"), "nil", "some code has run");
    lua.assert_healthy();
}

#[test]
fn code_within_its_limit_is_left_alone() {
    let lua = Lua::new();
    for i in 0..200 {
        let v = lua.run(
            "local s = 0 for i = 1, 1000 do s = s + i end return s",
            &timeout(60_000),
        );
        assert_eq!(v.unwrap().unwrap(), "500500", "round {i}");
    }
    let e = lua.run("error('mine', 0)", &timeout(60_000)).unwrap();
    assert_eq!(e.unwrap_err(), "mine");
    lua.assert_healthy();
}

#[test]
fn an_unlimited_call_has_no_hook() {
    let lua = Lua::new();
    assert_eq!(
        lua.run("return tostring(debug.gethook())", &timeout(60_000))
            .unwrap()
            .unwrap(),
        "nil"
    );
}

#[test]
fn finalizers_at_close_are_bounded() {
    let lua = Lua::new();
    lua.ok("keep = {} for i = 1, 5 do
        local function gc() while true do end end
        if newproxy then keep[i] = newproxy(true) getmetatable(keep[i]).__gc = gc
        else keep[i] = setmetatable({}, {__gc = gc}) end end");
    let stop = lua.close(&timeout(20)).expect("was not stopped");
    assert_eq!(stop.reason, Reason::Timeout);
    assert!(stop.traceback.contains("test:"), "{}", stop.traceback);
}

/// It would run with hooks off, and could do what the script may no longer do.
#[test]
fn no_message_handler_sees_a_stop() {
    let lua = Lua::new();
    lua.ok("called = 0");
    for _ in 0..10 {
        let code = "while true do xpcall(function() while true do end end, function() called = called + 1 end) end";
        let stop = lua.run(code, &timeout(5)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
        let called = lua.ok("return ('%d'):format(called)");
        assert_eq!(called, "0");
    }
}

/// By the exact clock, and by the cheaper one that longer timeouts begin with: none is early, none much later.
#[test]
fn a_timeout_is_not_early() {
    let lua = Lua::new();
    for limit in [1, 5, 9, 10, 11, 50].repeat(4) {
        let start = std::time::Instant::now();
        let stop = lua.run("while true do end", &timeout(limit)).unwrap_err();
        let took = start.elapsed();
        assert_eq!(stop.reason, Reason::Timeout);
        assert!(took >= ms(limit), "{took:?} of {limit} ms");
        assert!(stop.elapsed >= ms(limit), "{:?}", stop.elapsed);
        // What is reported is what it took, give or take a microsecond.
        assert!(stop.elapsed <= took + ms(1), "{took:?}, {stop:?}");
        assert!(took < ms(3000), "{took:?} of {limit} ms");
    }
    lua.assert_healthy();
}
