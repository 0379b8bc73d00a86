//! LuaJIT: which traces have guards, and how many: one each, where the events of the compiler are ours, and none after a detach. And that LuaJIT makes the same traces with guards
//! as without.

#![cfg(feature = "luajit")]

mod common;
use common::{Lua, timeout};
use leash::{Jit, Reason, sys};
use std::ffi::{CString, c_void};

/// Sets `guards_of(trace)`, and calls `on_trace(number, guards, linktype)` for each trace that is finished, if the script has set that. Which of
/// the operations of the intermediate code is the guard, nobody tells: it is the one that a loop has with guards and not without.
const SUPPORT: &str = r"
    collectgarbage('stop') -- in LuaJIT's traceinfo it may free the trace that is looked at
    local util, bit = require 'jit.util', require 'bit'
    function operations(trace)
        local seen = {}
        for i = 1, util.traceinfo(trace).nins - 1 do
            local _, kind = util.traceir(trace, i)
            local op = bit.rshift(kind, 8)
            seen[op] = (seen[op] or 0) + 1
        end
        return seen
    end
    function of_a_loop()
        jit.flush()
        local n = 0
        for i = 1, 1000 do
            n = n + i
        end
        return operations(1)
    end
    function guards_of(trace)
        return operations(trace)[GUARD] or 0
    end
    function watch_traces()
        TRACES = {}
        jit.attach(function(what, trace)
            if what == 'stop' then
                TRACES[#TRACES + 1] = { guards_of(trace), util.traceinfo(trace).linktype }
            end
        end, 'trace')
    end
";

/// Loops on many lines, with calls, in side traces, nested, up and down recursion.
const WORK: &str = r"
    local function f(x)
        local y = x + 1
        return y * 2
    end
    local function fib(n)
        if n < 2 then
            return n
        end
        return fib(n - 1) +
            fib(n - 2)
    end
    local s, t = 0, {}
    for i = 1, 3000 do
        s = s + i
        if i % 3 == 0 then
            s = s +
                f(i)
        elseif i % 5 == 0 then
            s = s - 1
        end
        t[i % 10] = s
        for j = 1, i % 7 do
            s = s + j
            s = s % 1000
        end
    end
    s = s + fib(20)
    local co = coroutine.wrap(function()
        for i = 1, 2000 do
            local x = i
            coroutine.yield(x)
        end
    end)
    for i = 1, 2000 do
        s = s +
            co()
        s = s + #tostring(os.time())
    end
    return s
";

struct Plain(*mut sys::lua_State);

impl Plain {
    fn new() -> Plain {
        // SAFETY: a state of our own, on this thread.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            Plain(l)
        }
    }

    fn run(&self, code: &str) -> f64 {
        let code = CString::new(code).unwrap();
        // SAFETY: a live state on this thread.
        unsafe {
            assert_eq!(sys::luaL_loadstring(self.0, code.as_ptr()), 0);
            let status = sys::lua_pcall(self.0, 0, 1, 0);
            assert_eq!(
                status,
                0,
                "{:?}",
                std::ffi::CStr::from_ptr(sys::lua_tostring(self.0, -1))
            );
            let n = sys::lua_tonumber(self.0, -1);
            sys::lua_settop(self.0, -2);
            n
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: live, and not used afterwards.
        unsafe { sys::lua_close(self.0) };
    }
}

/// A state that knows its guards, attached.
fn prepared() -> (Plain, leash::Vm) {
    let lua = Plain::new();
    lua.run(SUPPORT);
    lua.run("WITHOUT = of_a_loop()");
    // SAFETY: live, on this thread; dropped before it is closed.
    let vm = unsafe { leash::Vm::attach(lua.0) }.unwrap();
    assert_eq!(vm.jit(), Jit::Guarded);
    lua.run("for op in pairs(of_a_loop()) do if not WITHOUT[op] then assert(not GUARD) GUARD = op end end assert(GUARD)");
    (lua, vm)
}

/// Fails if a trace has no guard, except for those that end in a way back to the interpreter: by a return, by a call of what is not compiled, or since there are too many.
const NONE_WITHOUT: &str = "local back = { interpreter = true, ['return'] = true, stitch = true }
    for _, t in ipairs(TRACES) do local n, link = t[1], t[2] assert(n >= 1 or back[link], link) end";

/// Every trace that ends in a jump to a trace has a guard; and a trace on many lines has no more than one, or two
/// where the loop has been unrolled.
#[test]
fn each_trace_has_one_guard() {
    let (lua, vm) = prepared();
    lua.run("assert(of_a_loop()[GUARD] <= 2)");
    lua.run("jit.flush() watch_traces()");
    lua.run(WORK);
    let traces = lua.run("return #TRACES");
    assert!(traces > 8.0, "{traces}");
    lua.run(NONE_WITHOUT);
    lua.run("for _, t in ipairs(TRACES) do local n = t[1] assert(n <= 2, n) end");
    drop(vm);
}

/// Where the value of a field changes, LuaJIT gives each value a loop of its own: traces that leave their parent by exit 0, the state at its beginning, and jump to themselves
/// (`lj_record_setup`: "potentially form an extra loop"). A guard at the beginning would take that exit, and all these would jump to the first loop, some of them 20 % slower.
#[test]
fn extra_loops_are_formed() {
    const KINDS: &str = "local function work()
        local q, n, s = { v = 1 }, 0, 0
        while n < 4000 do
            local v = q.v
            if v then s = s + 1 end
            n = n + 1
            if n % 1000 == 0 then q.v = not q.v end
        end
        return s
    end
    jit.flush()
    assert(work() == 2000)
    local util, links = require 'jit.util', {}
    for trace = 1, 100 do
        local info = util.traceinfo(trace)
        if not info then break end
        links[trace] = info.linktype .. ' ' .. info.link
    end
    links = table.concat(links, ', ')";
    let lua = Plain::new();
    lua.run(&format!(
        "{KINDS} assert(links:find 'loop 2', links) PLAIN = links"
    ));
    // SAFETY: live, on this thread; dropped before it is closed.
    let vm = unsafe { leash::Vm::attach(lua.0) }.unwrap();
    assert_eq!(vm.jit(), Jit::Guarded);
    lua.run(&format!("{KINDS} assert(links == PLAIN, links)"));
    drop(vm);
}

/// The script's own handlers of the compiler's events are called: those from before the attach, those from afterwards, and those that take the place of another;
/// and not those that have been detached. None of them costs a guard.
#[test]
fn the_compilers_events_are_the_scripts_too() {
    let lua = Plain::new();
    lua.run(SUPPORT);
    lua.run("WITHOUT = of_a_loop() N = {} function counter(name) N[name] = 0 return function(...) N[name] = N[name] + 1 end end
        before, before_trace = counter 'before', counter 'before_trace' jit.attach(before, 'record') jit.attach(before_trace, 'trace')");
    // SAFETY: live, on this thread; dropped before it is closed.
    let vm = unsafe { leash::Vm::attach(lua.0) }.unwrap();
    lua.run(
        "for op in pairs(of_a_loop()) do if not WITHOUT[op] then GUARD = op end end assert(GUARD)",
    );
    let guarded = "assert(of_a_loop()[GUARD] <= 2)";
    lua.run(guarded);
    lua.run("assert(N.before > 0 and N.before_trace > 0) was = N.before");
    lua.run("after = counter 'after' jit.attach(after, 'record')"); // one for each event
    lua.run(guarded);
    lua.run("assert(N.before == was and N.after > 0, N.after) jit.attach(after) jit.attach(before_trace) was, was_trace = N.after, N.before_trace");
    lua.run(guarded);
    lua.run("assert(N.after == was and N.before_trace == was_trace)");
    lua.run("assert(not pcall(jit.attach)) assert(not pcall(jit.attach, 1, 'record')) jit.attach(counter 'other', 'bc')");
    lua.run("arguments = {} jit.attach(function(...) arguments[#arguments + 1] = select('#', ...) end, 'trace')");
    lua.run(guarded);
    lua.run("assert(#arguments >= 2 and arguments[2] >= 2, table.concat(arguments, ' ')) jit.attach(error, 'record')"); // what fails says so on stderr
    lua.run("jit.attach(before, 'record') was = N.before");
    drop(vm);
    lua.run(
        "assert(not of_a_loop()[GUARD]) assert(N.before > was) jit.attach(before) was = N.before",
    );
    lua.run("assert(not of_a_loop()[GUARD]) assert(N.before == was)");
}

/// A script that takes the events away, by functions that it has kept, gets all guards instead, and no loop without.
#[test]
fn taking_the_events_away_makes_more_guards() {
    for event in ["record", "trace"] {
        let lua = Plain::new();
        lua.run(SUPPORT);
        lua.run("attach, WITHOUT = jit.attach, of_a_loop()");
        // SAFETY: live, on this thread; dropped before it is closed.
        let vm = unsafe { leash::Vm::attach(lua.0) }.unwrap();
        lua.run("for op in pairs(of_a_loop()) do if not WITHOUT[op] then GUARD = op end end");
        lua.run(&format!(
            "for i = 1, 100 do attach(function() end, '{event}') end"
        ));
        lua.run("for i = 1, 10 do assert(of_a_loop()[GUARD]) end");
        drop(vm);
    }
}

/// Line mode is put back wherever a recording ends: by an error, a hook, the compiler switched off, a full table of traces.
#[test]
fn no_trace_is_left_without_after_a_recording_that_failed() {
    let (lua, vm) = prepared();
    lua.run("watch_traces()");
    for code in [
        "for k = 1, 50 do pcall(function() for i = 1, 100 do if i == 60 + k % 7 then error('x') end end end) end",
        "for k = 1, 20 do debug.sethook(function() end, 'l') for i = 1, 100 do end debug.sethook() for i = 1, 100 do end end",
        "for k = 1, 20 do for i = 1, 57 + k do end jit.off() jit.on() for i = 1, 57 + k do end end",
        "for k = 1, 20 do for i = 1, 58 do end jit.flush() for i = 1, 58 do end end",
        "for k = 1, 100 do local f = loadstring('local s = 0 for i = 1, 100 do s = s + i\\n s = s + 1\\n end') f() end",
        "jit.opt.start('maxtrace=20') for k = 1, 100 do local f = loadstring('local s = 0 for i = 1, 100 do s = s + i\\n s = s + 1\\n end') f() end jit.opt.start('maxtrace=1000')",
        "local s = '' for i = 1, 300 do s = s .. string.format('%q', i) end",
    ] {
        lua.run(code);
        lua.run(NONE_WITHOUT);
    }
    assert!(lua.run("return #TRACES") > 20.0);
    drop(vm);
}

/// Endless loops on many lines.
#[test]
fn long_loops_are_stopped() {
    let lua = Lua::new();
    for code in [
        "local n = 0 while true do\n n = n + 1\n n = n % 7\n if n > 3 then\n n = n - 1\n end\n end",
        "local function f(n)\n local x = n\n return f(x + 1)\n end f(1)",
        "local function f(n)\n if n == 0 then\n return 0\n end\n return 1 +\n f(n - 1)\n end while true do\n f(80)\n end",
        "local t = {} while true do\n for i = 1, 10 do\n t[i] = i\n end\n for k, v in pairs(t) do\n t[k] = v + 1\n end\n end",
    ] {
        for n in 0..20 {
            let stop = lua.run(code, &timeout(2 + n % 5)).unwrap_err();
            assert_eq!(stop.reason, Reason::Timeout, "{code}");
        }
    }
    lua.assert_healthy();
}

/// Refuses all memory while it is told to.
unsafe extern "C" fn allocate(
    refuses: *mut c_void,
    block: *mut c_void,
    _: usize,
    size: usize,
) -> *mut c_void {
    // SAFETY: what Lua asks of an allocator; `refuses` is a bool that outlives the state.
    unsafe {
        if size == 0 {
            libc::free(block);
            return std::ptr::null_mut();
        }
        if refuses.cast::<bool>().read_volatile()
            && (block.is_null() || libc::malloc_usable_size(block) < size)
        {
            return std::ptr::null_mut();
        }
        libc::realloc(block, size)
    }
}

/// LuaJIT calls handlers on a coroutine of its own, and what fails there for want of memory leaves values on its stack, which then grows beyond its end.
#[test]
fn events_without_memory() {
    let mut refuses = false;
    let refuses: *mut bool = &raw mut refuses;
    // SAFETY: a state of our own, on this thread; the flag outlives it.
    unsafe {
        let l = sys::lua_newstate(allocate, refuses.cast());
        if l.is_null() {
            return; // 64-bit builds without GC64 take no allocator
        }
        sys::luaL_openlibs(l);
        let lua = Plain(l);
        let vm = leash::Vm::attach(l).unwrap();
        // LuaJIT's own: the first trace of all takes memory where it may not fail.
        lua.run("for i = 1, 200 do end");
        for i in 0..200 {
            let code = CString::new(format!(
                "local s = 0 for i = 1, 200 do s = s + i % {} end return s",
                i + 2
            ))
            .unwrap();
            sys::lua_settop(l, 0);
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            lua.run("collectgarbage() collectgarbage('stop')");
            refuses.write_volatile(true);
            sys::lua_pcall(l, 0, 1, 0);
            refuses.write_volatile(false);
            lua.run("collectgarbage('restart')");
        }
        drop(vm);
    }
}
