//! LuaJIT's compiled code: endless loops of every shape are stopped while they run as machine code, from a deadline and from another
//! thread, and what an interrupted program computes is what it computes undisturbed.
//!
//! `LEASH_ROUNDS=1000 cargo test -p lua-leash --test jit ...` repeats each loop so often (default: 3), and makes the stress run
//! `LEASH_ROUNDS / 2` seconds. `LEASH_FROM='FFI callback'` leaves out the loops before that one.
#![cfg(feature = "luajit")]

mod common;
use common::{Lua, ms, timeout};
use leash::{Guest, How, Jit, Layout, Limits, Reason, interrupt, sys};
use std::cell::Cell;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Endless loops, each of which LuaJIT compiles.
const LOOPS: &[(&str, &str)] = &[
    ("empty while", "while true do end"),
    ("empty repeat", "repeat until false"),
    ("goto", "::top:: goto top"),
    ("numeric for", "for i = 1, 1e300 do end"),
    ("numeric for, downwards", "for i = 1, -1e300, -1 do end"),
    ("for with a sum", "local s = 0 for i = 1, 1e300 do s = s + i end"),
    ("integer counter", "local i = 0 while true do i = i + 1 end"),
    ("wrapping integers", "local bit = require 'bit' local i = 0 while true do i = bit.tobit(i + 1) end"),
    ("64-bit integers", "local i = 0LL while true do i = i + 1LL end"),
    ("unsigned 64-bit", "local i = 0ULL while true do i = i * 3ULL + 1ULL end"),
    ("complex arithmetic", "local x, y = 0.5, 0.25 while true do x, y = x * x - y * y + 0.1, 2 * x * y % 1 end"),
    ("nested loops", "while true do for i = 1, 10 do for j = 1, 10 do end end end"),
    ("nested on many lines", "while true do\n for i = 1, 10 do\n for j = 1, 10 do\n local x = i + j\n end\n end\n end"),
    ("side traces", "local n = 0 while true do n = n + 1 if n % 3 == 0 then n = n + 2 elseif n % 5 == 0 then n = n - 1 end end"),
    ("side traces on lines", "local n = 0\nwhile true do\n n = n + 1\n if n % 3 == 0 then\n  n = n + 2\n elseif n % 5 == 0 then\n  n = n - 1\n end\nend"),
    ("recursion up and down", "local function f(n) if n == 0 then return 0 end return 1 + f(n - 1) end while true do f(50) end"),
    ("fib", "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end while true do fib(15) end"),
    ("tail calls", "local function f(n) return f(n + 1) end f(1)"),
    ("mutual tail calls", "local f, g function f(n) return g(n + 1) end function g(n) return f(n - 1) end f(1)"),
    ("closures", "local function mk(i) return function(x) return x + i end end while true do mk(1)(2) end"),
    ("upvalues", "local n = 0 local function inc() n = n + 1 end while true do inc() end"),
    ("many calls", "local function a(x) return x + 1 end local function b(x) return a(x) * 2 end local x = 0 while true do x = b(x) % 100 end"),
    ("array", "local t = {} for i = 1, 100 do t[i] = i end local s = 0 while true do for i = 1, 100 do s = s + t[i] end end"),
    ("table fields", "local t = {x = 1, y = 2} while true do t.x, t.y = t.y, t.x end"),
    ("new tables", "while true do local t = {1, 2, 3} end"),
    ("a growing table", "while true do local t = {} for i = 1, 100 do t[#t + 1] = i end end"),
    ("ipairs", "local t = {1, 2, 3, 4} while true do for i, v in ipairs(t) do end end"),
    ("pairs", "local t = {a = 1, b = 2, 3, 4} while true do for k, v in pairs(t) do end end"),
    ("closure iterator", "local function it(n) return function() n = n - 1 if n > 0 then return n end end end while true do for i in it(20) do end end"),
    ("__index", "local o = setmetatable({}, {__index = function(t, k) return k end}) local x while true do x = o[1] end"),
    ("__index chain", "local a = setmetatable({}, {__index = setmetatable({}, {__index = {x = 1}})}) local s = 0 while true do s = s + a.x end"),
    ("__add", "local V = {} V.__add = function(a, b) return setmetatable({a[1] + b[1]}, V) end local v = setmetatable({1}, V) while true do local w = v + v end"),
    ("__call", "local c = setmetatable({}, {__call = function(_, x) return x end}) while true do c(1) end"),
    ("methods", "local C = {} C.__index = C function C:inc() self.n = self.n + 1 end local o = setmetatable({n = 0}, C) while true do o:inc() end"),
    ("string building", "while true do local s = 'a' .. 1 .. 'b' end"),
    ("string methods", "local s = 'hello' while true do local a, b = s:byte(2), s:sub(2, 3) end"),
    ("string buffer", "local ok, buffer = pcall(require, 'string.buffer') local b = buffer.new() while true do b:reset() b:put('x', 1) end"),
    ("tostring", "local i = 0 while true do i = i + 1 local s = tostring(i % 100) end"),
    ("math", "local x = 0 while true do x = math.sin(x) + math.floor(x) + math.max(x, 1) end"),
    ("random", "local x = 0 while true do x = x + math.random() end"),
    ("FFI array", "local ffi = require 'ffi' local a = ffi.new('int[64]') while true do for i = 0, 63 do a[i] = a[i] + i end end"),
    ("FFI struct", "local ffi = require 'ffi' local P = ffi.typeof('struct { double x, y; }') local p = P(1, 2) while true do p.x, p.y = p.y, p.x end"),
    ("FFI objects", "local ffi = require 'ffi' local P = ffi.typeof('struct { double x, y; }') local s = 0 while true do s = s + P(1, 2).x end"),
    ("FFI call", "local ffi = require 'ffi' ffi.cdef 'int abs(int)' local C, x = ffi.C, 0 while true do x = C.abs(-1) end"),
    ("FFI callback", "local ffi = require 'ffi' ffi.cdef 'void qsort(void *, size_t, size_t, int (*)(const int *, const int *))'
        -- One for all rounds: LuaJIT has room for some nine hundred.
        CMP = CMP or ffi.cast('int (*)(const int *, const int *)', function(a, b) return a[0] - b[0] end) local cmp = CMP
        jit.off() jit.on() local a = ffi.new('int[4]', 4, 3, 2, 1) local n = 0
        while true do n = n + 1 if n % 100 == 0 then for i = 0, 3 do a[i] = 4 - i end ffi.C.qsort(a, 4, 4, cmp) end end"),
    ("a coroutine inside", "local co = coroutine.wrap(function() local x = 0 while true do x = x + 1 end end) co()"),
    ("coroutine that yields", "local co = coroutine.wrap(function() while true do for i = 1, 200 do end coroutine.yield() end end) while true do co() end"),
    ("stitched C call", "local n = 0 while true do n = n + 1 local t = os.clock() end"),
    ("stitched sort", "local t = {3, 1, 2} while true do table.sort(t) t[1], t[3] = t[3], t[1] end"),
    ("varargs", "local function f(...) local a, b = ... return a + b end while true do f(1, 2, 3) end"),
    ("select", "local function f(...) return select('#', ...) end while true do f(1, 2, 3) end"),
    ("pcall inside", "local function f(x) return x + 1 end while true do pcall(f, 1) end"),
    ("pcall around", "while true do pcall(function() local x = 0 while true do x = x + 1 end end) end"),
    ("xpcall around", "local function h() while true do end end while true do xpcall(function() while true do end end, h) end"),
    ("errors inside", "while true do pcall(error, 'x') end"),
    ("loaded code", "local f = loadstring('local n = ... for i = 1, 1e300 do n = n + i end') f(1)"),
    ("stripped code", "local f = loadstring(string.dump(function(n) while true do n = n + 1 end end, true)) f(1)"),
    ("one line for all", "local n = 0 while true do if n < 10 then n = n + 1 else n = 0 end end"),
    ("conditions", "local a, b = true, false while true do a, b = not b, a and b end"),
    ("switching compiler", "local n = 0 while true do n = n + 1 if n % 1e6 == 0 then jit.on() end end"),
];

fn rounds() -> u32 {
    let text = std::env::var("LEASH_ROUNDS").ok();
    text.and_then(|t| t.parse().ok()).unwrap_or(3)
}

/// How many traces there are. (The collector is stopped: in `traceinfo` of LuaJIT it may free the trace that is looked at.)
const TRACES: &str = "collectgarbage('stop') local n = 0 for i = 1, 500 do if jit.util.traceinfo(i) then n = n + 1 end end
    collectgarbage('restart') return n";

fn count(lua: &Lua) -> u32 {
    lua.ok(TRACES).parse().unwrap()
}

type Outcome = Result<Result<String, String>, Box<leash::Stop>>;

/// Has an endless loop stopped while it is compiled: by `run`, which lets it go on for about so many milliseconds. On a busy machine it may
/// not have come to that; then it gets more time.
fn stop_compiled(lua: &Lua, name: &str, reason: Reason, mut run: impl FnMut(u64) -> Outcome) {
    for patience in [15, 60, 240, 960, 3840] {
        lua.ok("jit.flush() jit.on()");
        match run(patience) {
            Err(stop) => assert_eq!(stop.reason, reason, "{name}"),
            Ok(r) => panic!("{name}: was not stopped but ended with {r:?}"),
        }
        if count(lua) > 0 {
            return;
        }
    }
    panic!("{name}: was not compiled, so nothing has been shown");
}

#[test]
fn states_are_guarded() {
    let lua = Lua::new();
    assert_eq!(lua.vm().jit(), Jit::Guarded);
    assert!(lua.vm().layout().hookmask.is_some());
}

/// The loops, or those from `LEASH_FROM` on.
fn loops() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let from = std::env::var("LEASH_FROM").unwrap_or_default();
    LOOPS
        .iter()
        .skip_while(move |(name, _)| !from.is_empty() && *name != from)
}

#[test]
fn every_loop_is_stopped_by_a_deadline() {
    for (name, code) in loops() {
        let lua = Lua::new();
        lua.ok("require 'jit.util' jit.util = require 'jit.util' jit.opt.start('hotloop=2', 'hotexit=2')");
        for _ in 0..rounds() {
            stop_compiled(&lua, name, Reason::Timeout, |patience| {
                lua.run(code, &timeout(patience))
            });
        }
        lua.assert_healthy();
    }
}

#[test]
fn every_loop_is_stopped_from_another_thread() {
    let lua = Lua::new();
    lua.ok("jit.util = require 'jit.util' jit.opt.start('hotloop=2', 'hotexit=2')");
    for (name, code) in loops() {
        for _ in 0..rounds() {
            stop_compiled(&lua, name, Reason::Interrupt, |patience| {
                let handle = lua.vm().handle();
                std::thread::scope(|s| {
                    s.spawn(move || {
                        std::thread::sleep(ms(patience / 2));
                        while !handle.interrupt() {
                            std::thread::yield_now(); // not begun yet
                        }
                    });
                    lua.run(code, &timeout(60_000))
                })
            });
        }
    }
    lua.assert_healthy();
}

#[test]
fn many_states_on_many_threads() {
    std::thread::scope(|s| {
        for thread in 0..8 {
            s.spawn(move || {
                for round in 0..rounds() as usize * 4 {
                    let lua = Lua::new();
                    let (name, code) = LOOPS[(thread * 7 + round * 3) % LOOPS.len()];
                    let stop = lua.run(code, &timeout(5));
                    assert!(stop.is_err(), "{name}");
                    lua.assert_healthy();
                }
            });
        }
    });
}

/// Code that was compiled before the attach has no guards: it must be thrown away.
#[test]
fn what_was_compiled_before_the_attach_is_stopped_too() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let code =
            c"function f(n) local x = 0 for i = 1, n do x = x + i end return x end f(1000) f(1e6)";
        assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
        assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        let vm = leash::Vm::attach(l).unwrap();
        assert_eq!(vm.jit(), Jit::Guarded);
        assert_eq!(sys::luaL_loadstring(l, c"f(1e300)".as_ptr()), 0);
        let stop = vm.call(l, 0, 0, 0, &timeout(20)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
        vm.close(&Limits::new());
    }
}

/// The compiler is on in a state that was attached once and is not any more, and its code has no guards.
#[test]
fn a_detached_state_is_as_it_was() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let run = |code: &str| {
            let code = CString::new(code).unwrap();
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            assert_eq!(sys::lua_pcall(l, 0, 1, 0), 0);
            let n = sys::lua_tonumber(l, -1);
            sys::lua_settop(l, -2);
            n
        };
        // Instructions of the intermediate code: a guard is one more.
        let size = "jit.flush() local function f(n) local x = 0 for i = 1, n do x = x + i end return x end f(1000)
            local t = require('jit.util').traceinfo(1) return t and t.nins or -1";
        let before = run(size);
        let vm = leash::Vm::attach(l).unwrap();
        let during = run(size);
        drop(vm);
        let after = run(size);
        assert!(during > before && before > 0.0, "{before} {during}");
        assert_eq!(before, after);
        sys::lua_close(l);
    }
}

fn hookmask(l: *mut sys::lua_State, vm: &Layout) -> u8 {
    // SAFETY: found behind the main state, which `l` is.
    unsafe { l.cast::<u8>().add(vm.hookmask.unwrap()).read_volatile() }
}

unsafe extern "C-unwind" fn protected(l: *mut sys::lua_State) -> std::ffi::c_int {
    // SAFETY: called with one function.
    unsafe { sys::lua_pcall(l, 0, 0, 0) }
}

/// A kill inside a protected call of a C function brings the saved bit back: compiled code must not stay slow.
#[test]
fn the_bit_does_not_come_back() {
    let lua = Lua::new();
    // SAFETY: a live state on its thread.
    unsafe {
        sys::lua_pushcfunction(lua.l, protected);
        sys::lua_setglobal(lua.l, c"protected".as_ptr());
    }
    for _ in 0..20 {
        let code = "while true do protected(function() while true do end end) end";
        lua.run(code, &timeout(5)).unwrap_err();
        assert_eq!(hookmask(lua.l, &lua.vm().layout()), 0);
    }
    lua.assert_healthy();
}

static TARGET: AtomicU64 = AtomicU64::new(0);

/// Is interrupted, and begins a protected call before the hook has seen it.
unsafe extern "C-unwind" fn interrupted(l: *mut sys::lua_State) -> std::ffi::c_int {
    assert!(interrupt(TARGET.load(Ordering::Relaxed), How::Once));
    // SAFETY: called with one function.
    unsafe { sys::lua_pcall(l, 0, 0, 0) }
}

unsafe extern "C-unwind" fn fail(l: *mut sys::lua_State, _: *mut sys::lua_State) {
    // SAFETY: called in a hook; nothing owns anything here.
    unsafe {
        sys::lua_pushstring(l, c"interrupted".as_ptr());
        sys::lua_error(l);
    }
}

thread_local! {
    /// Where `hookmask` is, of a state whose handler is `look`; its calls; and how many of them have found the bit.
    static LOOK: Cell<(Option<Layout>, u32, u32)> = const { Cell::new((None, 0, 0)) };
}

unsafe extern "C-unwind" fn look(_: *mut sys::lua_State, who: *mut sys::lua_State) {
    let (layout, calls, found) = LOOK.get();
    let set = layout.is_some_and(|layout| hookmask(who, &layout) & 0x80 != 0);
    LOOK.set((layout, calls + 1, found + u32::from(set)));
}

unsafe extern "C-unwind" fn interrupt_target(_: *mut sys::lua_State) -> std::ffi::c_int {
    assert!(interrupt(TARGET_OF_LOOK.load(Ordering::Relaxed), How::Once));
    0
}

static TARGET_OF_LOOK: AtomicU64 = AtomicU64::new(0);

/// A new state with the libraries, guarded from inside, and where things are in it.
fn guest() -> (*mut sys::lua_State, Layout, Guest) {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        let layout = leash::Vm::attach(l).unwrap().layout(); // and detached
        sys::luaL_openlibs(l);
        let guest = Guest::attach(l).unwrap();
        (l, layout, guest)
    }
}

/// The hook takes the bit away before it does anything: LuaJIT must not see both, or it calls whoever owns the profiler.
#[test]
fn the_bit_is_gone_in_the_hook() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let (l, layout, guest) = guest();
        guest.on_interrupt(look);
        LOOK.set((Some(layout), 0, 0));
        TARGET_OF_LOOK.store(guest.id(l).unwrap(), Ordering::Relaxed);
        sys::lua_pushcfunction(l, interrupt_target);
        sys::lua_setglobal(l, c"interrupt".as_ptr());
        let code = c"for i = 1, 100 do interrupt() for i = 1, 1e4 do end end";
        assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
        assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        let (_, calls, found) = LOOK.get();
        assert!(calls >= 50, "{calls} calls");
        // One that is sent again just between the two sets it again.
        assert!(found < calls / 2, "in {found} of {calls} calls");
        sys::lua_close(l);
    }
}

/// Where no boundary of ours is passed, it is taken away a little later.
#[test]
fn the_bit_does_not_stay() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let (l, layout, guest) = guest();
        guest.on_interrupt(fail);
        TARGET.store(guest.id(l).unwrap(), Ordering::Relaxed);
        sys::lua_pushcfunction(l, interrupted);
        sys::lua_setglobal(l, c"interrupted".as_ptr());
        // All is compiled before: where LuaJIT begins to compile, it takes the bit away by itself.
        let code = c"local function spin(k) local n = 0 for i = 1, k do n = n + i end end
            for i = 1, 200 do spin(100) end interrupted(function() spin(1e300) end) spin(3e7)";
        for _ in 0..5 {
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
            assert_eq!(hookmask(l, &layout), 0);
        }
        sys::lua_close(l);
    }
}

/// The instruction limit counts in the interpreter; afterwards code is compiled again.
#[test]
fn instructions_are_counted_and_the_compiler_comes_back() {
    let lua = Lua::new();
    let limits = Limits::new().instructions(1_000_000);
    let stop = lua.run("while true do end", &limits).unwrap_err();
    assert_eq!(stop.reason, Reason::Instructions);
    lua.ok("jit.util = require 'jit.util' for i = 1, 1e5 do end");
    assert!(count(&lua) > 0, "the compiler is still off");
    assert_eq!(lua.ok("return tostring(jit.status())"), "true");
}

#[test]
fn a_compiler_that_the_host_has_switched_off_stays_off() {
    let lua = Lua::new();
    let limits = Limits::new().instructions(1_000_000);
    for (switch, status) in [("off", "false"), ("on", "true"), ("off", "false")] {
        lua.ok(&format!("jit.{switch}()"));
        for _ in 0..2 {
            let stop = lua.run("while true do end", &limits).unwrap_err();
            assert_eq!(stop.reason, Reason::Instructions);
            assert_eq!(lua.ok("return tostring(jit.status())"), status);
        }
    }
    // And what the script itself wants.
    // SAFETY: the state runs on this thread.
    unsafe { lua.vm().libraries_are_open() };
    let fine = "local function f() jit.off(true) jit.on(true, true) end f() jit.off(f) jit.on(f, true) return 'fine'";
    assert_eq!(lua.ok(fine), "fine");
    let wrong = lua.run("jit.off(false)", &Limits::new()).unwrap();
    assert!(wrong.unwrap_err().contains("bad argument"));
    for (switch, status) in [("on", "true"), ("off", "false"), ("on", "true")] {
        let code = format!("jit.{switch}() return tostring(jit.status())");
        assert_eq!(lua.run(&code, &limits).unwrap().unwrap(), "false");
        assert_eq!(lua.ok("return tostring(jit.status())"), status);
    }
}

#[test]
fn a_script_that_switches_the_compiler_on_is_counted_all_the_same() {
    let lua = Lua::new();
    let limits = Limits::new().instructions(10_000_000).timeout(ms(20_000));
    for code in [
        "jit.on() while true do end",
        "while true do jit.on() for i = 1, 1e6 do end end",
    ] {
        let stop = lua.run(code, &limits).unwrap_err();
        assert_eq!(stop.reason, Reason::Instructions, "{code}");
    }
}

/// Compiled code was thrown away in a hook while a trace was being recorded that goes on from another one: LuaJIT, which notices at the next
/// instruction only that it has to give up, looked for the other one.
#[test]
fn the_compiler_is_switched_off_while_it_records() {
    let lua = Lua::new();
    lua.ok("jit.opt.start('hotloop=2', 'hotexit=2')");
    // A C call in a loop is the end of a trace and the beginning of another.
    let body = "for i = 1, 8 do local x = os.time() x = os.clock() table.sort(t) end ".repeat(20);
    // The plain `jit.on`: ours has the compiler switched off again at once.
    let code = format!(
        "local _, on = debug.getupvalue(jit.on, 1) on = on or jit.on
         local code = [[local t = {{3, 1, 2}} {body}]] while true do on() loadstring(code)() end"
    );
    for _ in 0..rounds() * 10 {
        let limits = Limits::new().instructions(30_000_000).timeout(ms(100));
        lua.run(&code, &limits).unwrap_err();
    }
    lua.assert_healthy();
}

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C-unwind" fn note(_: *mut sys::lua_State, _: *mut sys::lua_State) {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
}

/// Programs and what they compute; run over and over while another thread interrupts five thousand times a second.
const PROGRAMS: &[&str] = &[
    "local s = 0 for i = 1, 3e5 do s = (s + i * 7) % 1000003 end return s",
    "local t = {} for i = 1, 2e4 do t[i] = i * 3 % 7919 end table.sort(t) local s = 0 for i = 1, #t do s = (s * 31 + t[i]) % 1000003 end return s",
    "local s = '' for i = 1, 2000 do s = (s .. i):sub(-50) end return s",
    "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end return fib(20)",
    "local ffi = require 'ffi' local a = ffi.new('int32_t[256]') for k = 1, 300 do for i = 0, 255 do a[i] = a[i] * 5 + i + k end end
        local s = 0 for i = 0, 255 do s = (s + a[i]) % 1000003 end return s",
    "local co = coroutine.wrap(function() local n = 0 while true do n = n + 1 for i = 1, 10 do n = n + i % 2 end coroutine.yield(n) end end)
        local s = 0 for i = 1, 3000 do s = (s + co()) % 1000003 end return s",
    "local s = 0 for k = 1, 100 do local f = loadstring('local s = ' .. k .. ' for i = 1, 500 do s = (s * 3 + i) % 65537 end return s') s = s + f()
        if k % 20 == 0 then jit.flush() end end return s",
    "local n = 0 for i = 1, 3000 do local t = setmetatable({i}, {__index = function(_, k) return k * 2 end}) n = n + t[1] + t[2] end collectgarbage() return n",
    "local s = 0LL for i = 1, 100000 do s = s + (i + 0LL) * i end return tostring(s)",
    "local n, e = 0, 0 for i = 1, 2000 do local ok, x = pcall(function(k) if k % 3 == 0 then error(k) end return k end, i) if ok then n = n + x else e = e + 1 end end return n .. ' ' .. e",
    "local n = 0 debug.sethook(function() n = n + 1 end, '', 1000) local s = 0 for i = 1, 5e4 do s = s + i end debug.sethook() return s",
];

#[test]
fn interrupted_programs_compute_the_same() {
    // SAFETY: a state of our own, on this thread, used until it is closed. `run` keeps the stack as it was.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let run = |code: &str| -> String {
            let code = CString::new(code).unwrap();
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            let status = sys::lua_pcall(l, 0, 1, 0);
            let text = std::ffi::CStr::from_ptr(sys::luaL_tolstring(l, -1, std::ptr::null_mut()));
            let text = text.to_string_lossy().into_owned();
            sys::lua_settop(l, 0);
            assert_eq!(status, 0, "{text}");
            text
        };
        run("jit.off()");
        let expected: Vec<String> = PROGRAMS.iter().map(|p| run(p)).collect();
        run("jit.on() jit.opt.start('hotloop=5', 'hotexit=3')");
        let guest = Guest::attach(l).unwrap();
        assert_eq!(guest.jit(), Jit::Guarded);
        guest.on_interrupt(note);
        let id = guest.id(l).unwrap();
        let over = AtomicBool::new(false);
        let asked = std::thread::scope(|s| {
            let asker = s.spawn(|| {
                let mut asked = 0;
                while !over.load(Ordering::Relaxed) {
                    assert!(interrupt(id, How::Once));
                    asked += 1;
                    std::thread::sleep(Duration::from_micros(200));
                }
                asked
            });
            let until = Instant::now() + ms(u64::from(rounds()) * 500);
            let mut round = 0;
            while Instant::now() < until {
                for (program, expected) in PROGRAMS.iter().zip(&expected) {
                    let got = run(program);
                    if got != *expected {
                        over.store(true, Ordering::Relaxed);
                        panic!("round {round}: {got} instead of {expected}: {program}");
                    }
                }
                round += 1;
            }
            over.store(true, Ordering::Relaxed);
            asker.join().unwrap()
        });
        // The last one may still be on its way.
        run("for i = 1, 1e6 do end");
        let seen = INTERRUPTS.load(Ordering::Relaxed);
        assert!(seen > 100 && seen <= asked, "{seen} of {asked}");
        sys::lua_close(l);
    }
}

/// The collector replaces the table of strings by a smaller one. If that is refused to it in compiled code, LuaJIT follows a wrong pointer. (It takes the stress to see
/// that; what the allocator answers is tested in `memory.rs`.)
#[test]
fn memory_is_refused_to_no_collector() {
    let lua = Lua::new();
    let code = "local t = {} for i = 1, 30000 do t[i] = 'k' .. i end t = nil
        local kept = {} for i = 1, 1e9 do kept[i % 1e7 + 1] = { i } end";
    for kib in (2500..6000).step_by(100) {
        lua.ok("collectgarbage() collectgarbage()");
        let stop = lua.run(code, &Limits::new().memory(kib << 10)).unwrap_err();
        assert_eq!(stop.reason, Reason::Memory);
    }
    lua.assert_healthy();
}
