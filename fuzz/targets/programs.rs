//! Random programs over the API, under limits: they must end, and leave a healthy state.
//!
//! The bytes choose, one by one, what a program is made of: calls with limits inside calls with limits, coroutines that are made, watched, interrupted
//! and collected, hooks, errors, finalizers, loops with and without an end. It runs under a limit on time and perhaps others; whatever it does, the
//! call returns, and afterwards the state computes, yields, collects and runs hooks as a new one does. Closing it ends too.
//!
//! `LEASH_SHOW=1` shows the program of each input: `LEASH_SHOW=1 target/fuzz/x86_64-unknown-linux-gnu/release/programs fuzz/artifacts/programs/...`

#![no_main]

use leash::{Limits, Vm, sys};
use libfuzzer_sys::fuzz_target;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Chooses by the bytes; when there are no more, the first of everything.
struct Choice<'a>(&'a [u8]);

impl Choice<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[usize::from(self.byte()) % all.len()]
    }
}

const EXPRESSIONS: &[&str] = &[
    "1",
    "n",
    "'x' .. n",
    "{}",
    "nil",
    "co",
    "f",
    "(n or 0) + 1",
    "leash.id()",
    "pcall(f)",
    "#tostring(co)",
    "leash.reason(e)",
    "('ab'):rep(50)",
    "select('#', pcall(error))",
    "e",
    "leash.info()",
];

const LIMITS: &[&str] = &[
    "0.001",
    "{timeout = 0.002}",
    "{instructions = 500}",
    "{memory = 20000}",
    "{timeout = 0}",
    "{instructions = 1}",
    "{timeout = 0.003, memory = 1e6, instructions = 1e5}",
    "{cpu = 0.001}",
    "{timeout = 10}",
    "{}",
];

const SIMPLE: &[&str] = &[
    "n = (tonumber(n) or 0) + 1",
    "collectgarbage()",
    "collectgarbage('step')",
    "error('e')",
    "error(setmetatable({}, {__tostring = function() return 'o' end}))",
    "coroutine.yield(n)",
    "leash.interrupt(leash.id())",
    "if co then pcall(function() leash.interrupt(leash.id(co)) end) end",
    "leash.on_interrupt(function() n = 0 end)",
    "leash.on_interrupt(function() error('i') end)",
    "leash.on_interrupt(nil)",
    "debug.sethook(function() n = 1 end, '', 3)",
    "debug.sethook(function() n = 2 end, 'crl')",
    "debug.sethook()",
    "co = coroutine.create(f)",
    "if co then ok, e = coroutine.resume(co) end",
    "if co and coroutine.status(co) == 'suspended' then corowatch.watch(co, 0.001, 0.002, function() n = 3 end) end",
    "corowatch.watch(coroutine.running(), 0.001, 0.003)",
    "local ok, e = pcall(coroutine.wrap(f)) n = e",
    "gc(f)",
    "co = nil",
    "t[#t + 1] = {n}",
    "t = {}",
    "for i = 1, 300 do t[i] = i end table.sort(t, function(a, b) n = a return a > b end)",
    "n = ('a'):rep(20):gsub('a', function(c) return c .. c end)",
    "while true do end",
    "repeat pcall(f) until false",
    "return f()",
    "t[1] = setmetatable({}, {__index = f, __add = f, __close = f}) n = pcall(function() return t[1].x + t[1] end)",
    "mtint.interrupt(mtint.id())",
];

fn block(c: &mut Choice, out: &mut String, depth: usize) {
    for _ in 0..c.byte() % 4 + 1 {
        if out.len() > 4000 {
            return;
        }
        let kind = if depth == 0 { 0 } else { c.byte() % 14 };
        let open = match kind {
            4 => format!("ok, e = leash.call({}, function()", c.of(LIMITS)),
            5 => "ok, e = pcall(function()".to_owned(),
            6 => "ok, e = xpcall(function()".to_owned(),
            7 => format!(
                "for i = 1, {} do",
                [2, 30, 1_000, 100_000][usize::from(c.byte()) % 4]
            ),
            8 => "co = coroutine.create(function()".to_owned(),
            9 => "f = function()".to_owned(),
            10 => "n = coroutine.wrap(function()".to_owned(),
            11 => "while n do".to_owned(),
            12 => "gc(function()".to_owned(),
            13 => format!(
                "ok, e = leash.call({}, coroutine.wrap(function()",
                c.of(LIMITS)
            ),
            1 => {
                let _ = writeln!(out, "n = {}", c.of(EXPRESSIONS));
                continue;
            }
            _ => {
                let _ = writeln!(out, "do {} end", c.of(SIMPLE));
                continue;
            }
        };
        let _ = writeln!(out, "{open}");
        block(c, out, depth - 1);
        let close = match kind {
            4 | 5 | 8 | 12 => "end)",
            6 => "end, function(m) local _ = f and n return m end)",
            10 => "end)()",
            13 => "end))",
            _ => "end",
        };
        let _ = writeln!(out, "{close}");
    }
}

const PRELUDE: &CStr = c"
    if warn then warn '@off' end
    local newproxy, setmetatable, getmetatable = newproxy, setmetatable, getmetatable
    function gc(f)
        if not newproxy then return setmetatable({}, {__gc = f}) end
        local p = newproxy(true)
        getmetatable(p).__gc = f
        return p
    end
    if _VERSION == 'Lua 5.3' then
        local collect, closing = collectgarbage, closing
        function collectgarbage(...) if not closing() then return collect(...) end end
    end
    n, t, f = 0, {}, function() n = 5 end";

/// Lua 5.3 does not come back from a collection in a finalizer that `lua_close` has called, if it is in the midst of another one (`gcfinnum` is zero then, for
/// which `luaC_runtilstate` waits for ever; see docs/testing.md). There no program collects any more.
static CLOSING: AtomicBool = AtomicBool::new(false);

unsafe extern "C-unwind" fn closing(l: *mut sys::lua_State) -> c_int {
    // SAFETY: a C function has free slots.
    unsafe { sys::lua_pushboolean(l, CLOSING.load(Ordering::Relaxed).into()) };
    1
}

const HEALTH: &str = "
    t, co, f, n = nil
    debug.sethook()
    leash.on_interrupt(nil)
    local s = 0 for i = 1, 1000 do s = s + i end assert(s == 500500)
    local co = coroutine.wrap(function(a) while true do a = coroutine.yield(a * 2) end end)
    assert(co(1) == 2 and co(21) == 42)
    local ok, e = pcall(error, 'x', 0) assert(not ok and e == 'x')
    local n = 0
    if jit then jit.off() end
    debug.sethook(function() n = n + 1 end, '', 10)
    for i = 1, 200 do end
    debug.sethook()
    if jit then jit.on() end
    assert(n > 10, n)
    return 'healthy'";

/// Long enough to compile and to look at the state's health, on a busy machine. What a finalizer makes of it meanwhile, coroutines inside coroutines say, takes as long to go away.
const SOON: Duration = Duration::from_millis(100);

/// Each of them may be needed for an endless finalizer.
const LOOKS: usize = 40;

/// Compiles under limits, too: what it allocates may run a finalizer that an earlier program has left, and has no end.
///
/// # Safety
/// `l` is a live state on this thread, attached to `vm`. All that is on its stack is `compile`, which is not made here, for that may collect, too.
unsafe fn run(
    vm: &Vm,
    l: *mut sys::lua_State,
    code: &str,
    limits: &Limits,
) -> Result<String, String> {
    let text = CString::new(code).expect("no zeros");
    let soon = Limits::new().timeout(SOON);
    // SAFETY: by the caller. `text` outlives the call of `compile`.
    unsafe {
        assert_eq!(sys::lua_gettop(l), 1, "something was left");
        sys::lua_pushvalue(l, 1);
        sys::lua_pushlightuserdata(l, text.as_ptr().cast_mut().cast());
        for (arguments, limits) in [(1, &soon), (0, limits)] {
            match vm.call(l, arguments, 1, 0, limits) {
                Ok(0) => {}
                Ok(_) => return Err(pop(l)),
                Err(stop) => return Err(stop.to_string()),
            }
        }
        Ok(pop(l))
    }
}

/// **longjmp**, with nothing that owns anything.
unsafe extern "C-unwind" fn compile(l: *mut sys::lua_State) -> c_int {
    // SAFETY: a C function with a text in C's form.
    unsafe {
        let text = sys::lua_touserdata(l, 1).cast::<c_char>();
        if sys::luaL_loadbuffer(
            l,
            text,
            CStr::from_ptr(text).count_bytes(),
            c"=fuzz".as_ptr(),
        ) != 0
        {
            sys::lua_error(l);
        }
    }
    1
}

unsafe fn pop(l: *mut sys::lua_State) -> String {
    // SAFETY: by the caller: a value is on the stack. A string is read in place; nothing is converted, for that may collect.
    unsafe {
        let owned = if sys::lua_type(l, -1) == sys::LUA_TSTRING {
            CStr::from_ptr(sys::lua_tostring(l, -1))
                .to_string_lossy()
                .into_owned()
        } else {
            String::from("(no text)")
        };
        sys::lua_settop(l, -2);
        owned
    }
}

/// LuaJIT does not limit the depth of C calls: coroutines that resume each other, and collections in finalizers, run over the end of the usual stack before their time is over,
/// without Leash, too.
const STACK: usize = 1 << 30;

fuzz_target!(|data: &[u8]| {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let run = thread.spawn_scoped(scope, || one(data)).expect("a thread");
        run.join().expect("a panic ends the process");
    });
});

fn one(data: &[u8]) {
    let mut c = Choice(data);
    let mut limits = Limits::new().timeout(Duration::from_millis(15));
    match c.byte() % 6 {
        1 => limits = limits.instructions(20_000),
        2 => limits = limits.memory(200_000),
        3 => limits = limits.cpu(Duration::from_millis(5)),
        _ => {}
    }
    let mut code = String::new();
    block(&mut c, &mut code, 5);
    if std::env::var_os("LEASH_SHOW").is_some() {
        eprintln!("{limits:?}\n{code}");
    }
    // SAFETY: a state of our own, on this thread, and the C API as it is meant.
    unsafe {
        let l = sys::luaL_newstate();
        let vm = Vm::attach(l).expect("attach");
        sys::luaL_openlibs(l);
        for (name, open) in [
            (c"leash", module::luaopen_leash as sys::lua_CFunction),
            (c"mtint", module::luaopen_leash_mtint),
            (c"corowatch", module::luaopen_leash_corowatch),
        ] {
            sys::lua_pushcfunction(l, open);
            assert_eq!(sys::lua_pcall(l, 0, 1, 0), 0);
            sys::lua_setglobal(l, name.as_ptr());
        }
        vm.libraries_are_open();
        CLOSING.store(false, Ordering::Relaxed);
        sys::lua_pushcfunction(l, closing);
        sys::lua_setglobal(l, c"closing".as_ptr());
        assert_eq!(sys::luaL_loadstring(l, PRELUDE.as_ptr()), 0);
        assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        sys::lua_pushcfunction(l, compile);
        for _ in 0..2 {
            let _ = run(&vm, l, &code, &limits);
        }
        // Hooks and finalizers that the program has left may be endless, and are stopped for that; so the first look may be, too. Up to 5.3 the error of a finalizer, a
        // stop or its own, goes on in the code in whose midst the collector has called it, and it may leave another one. So there the collector has to wait.
        if cfg!(any(feature = "lua51", feature = "lua52", feature = "lua53")) {
            sys::gc(l, sys::LUA_GCSTOP);
        }
        let mut healthy = Err(String::new());
        for _ in 0..LOOKS {
            healthy = run(&vm, l, HEALTH, &Limits::new().timeout(SOON));
            if healthy.is_ok() {
                break;
            }
            sys::lua_sethook(l, None, 0, 0);
        }
        assert_eq!(healthy.as_deref(), Ok("healthy"), "after\n{code}");
        CLOSING.store(true, Ordering::Relaxed);
        vm.close(&Limits::new().timeout(Duration::from_millis(200)));
    }
}
