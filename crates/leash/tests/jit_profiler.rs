//! LuaJIT: the profiler, which is ours, the script's, or somebody else's. It belongs to the process, so these tests run in processes of their own.

#![cfg(feature = "luajit")]

mod common;
use common::{Lua, ms, timeout};
use leash::{Guest, How, Jit, Limits, Reason, Vm, interrupt, sys};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

unsafe extern "C-unwind" fn fail(l: *mut sys::lua_State, _: *mut sys::lua_State) {
    // SAFETY: called in a hook; nothing owns anything here.
    unsafe {
        sys::lua_pushstring(l, c"interrupted".as_ptr());
        sys::lua_error(l);
    }
}

/// Runs the test of this name in a process of its own, once, and says whether this is it. The profiler belongs to the process.
fn alone(test: &str) -> bool {
    if std::env::var_os("LEASH_ALONE").is_some() {
        return true;
    }
    let me = std::env::current_exe().unwrap();
    let run = std::process::Command::new(me)
        .args(["--exact", test, "--nocapture"])
        .env("LEASH_ALONE", "1")
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}: {}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    false
}

/// While a state that is not attached uses the profiler, no bit is set for others: their code runs interpreted. Afterwards it is guarded.
#[test]
fn a_profiler_of_somebody_else_is_left_alone() {
    if !alone("a_profiler_of_somebody_else_is_left_alone") {
        return;
    }
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let run = |code: &std::ffi::CStr| {
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        };
        run(c"N = 0 require('jit.profile').start('l', function(_, n) N = N + n end)");
        let lua = Lua::new();
        assert_eq!(lua.vm().jit(), Jit::Interpreted);
        let limits = Limits::new().cpu(ms(100));
        assert_eq!(
            lua.run("while true do end", &limits).unwrap_err().reason,
            Reason::Cpu
        );
        lua.assert_healthy();
        run(c"require('jit.profile').stop()");
        let lua = Lua::new();
        assert_eq!(lua.vm().jit(), Jit::Guarded);
        lua.run("while true do end", &timeout(20)).unwrap_err();
        lua.assert_healthy();
        sys::lua_close(l);
    }
}

/// A state that runs interpreted stays so, whatever its script says.
#[test]
fn a_script_cannot_switch_the_compiler_on_where_it_must_be_off() {
    if !alone("a_script_cannot_switch_the_compiler_on_where_it_must_be_off") {
        return;
    }
    // A state that is not attached has the profiler: then there are no guards.
    // SAFETY: a state of our own, on this thread.
    let first = unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let code = c"require('jit.profile').start('i1', function() end)";
        assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
        assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        l
    };
    let second = Lua::new();
    // SAFETY: as above.
    unsafe { second.vm().libraries_are_open() };
    assert_eq!(second.vm().jit(), Jit::Interpreted);
    for code in [
        "jit.on() while true do end",
        "jit.on() local function f() while true do end end f()",
        "while true do jit.on() for i = 1, 1e6 do end end",
        "local on = jit.on coroutine.wrap(function() on(true, true) jit.on() while true do end end)()",
    ] {
        let stop = second.run(code, &timeout(30)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout, "{code}");
    }
    second.assert_healthy();
    // SAFETY: not used afterwards.
    unsafe { sys::lua_close(first) };
}

/// `jit.profile` works in a guarded state, and takes nothing from the limits: before, while and after it is used.
#[test]
fn the_profiler_is_the_scripts_too() {
    if !alone("the_profiler_is_the_scripts_too") {
        return;
    }
    let lua = Lua::new();
    // SAFETY: live, on this thread.
    unsafe { lua.vm().libraries_are_open() };
    assert_eq!(lua.vm().jit(), Jit::Guarded);
    for mode in ["f", "l", "i1", "fi1", "li2"] {
        let endless = "while true do end";
        let start = format!(
            "local p = require 'jit.profile' N = 0 p.start('{mode}', function(co, n, what) N = N + n end)"
        );
        // The profiler's timer counts CPU time, by default in steps of 10 ms.
        let limits = Limits::new().cpu(ms(150));
        let stop = lua.run(&format!("{start} {endless}"), &limits).unwrap_err();
        assert_eq!(stop.reason, Reason::Cpu, "{mode}: while it is used");
        let stop = lua.run(endless, &timeout(20)).unwrap_err();
        assert_eq!(
            stop.reason,
            Reason::Timeout,
            "{mode}: while it is still used"
        );
        let samples: u32 = lua
            .ok("require 'jit.profile'.stop() return N")
            .parse()
            .unwrap();
        assert!(samples >= 5, "{mode}: {samples} samples in 150 ms of work");
        let stop = lua.run(endless, &timeout(20)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout, "{mode}: afterwards");
        // Twice in a row, and wrong arguments.
        lua.ok(&format!(
            "{start} {start} assert(not pcall(p.start, '{mode}', 1))"
        ));
        let stop = lua.run(endless, &timeout(20)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout, "{mode}: after a mistake");
        lua.ok("require 'jit.profile'.stop() require 'jit.profile'.stop()");
        lua.assert_healthy();
    }
}

/// LuaJIT ends the process when the script's callback fails, and a stop is an error.
#[test]
fn a_stop_in_the_callback_of_the_profiler() {
    if !alone("a_stop_in_the_callback_of_the_profiler") {
        return;
    }
    let lua = Lua::new();
    // SAFETY: live, on this thread.
    unsafe { lua.vm().libraries_are_open() };
    for body in [
        "for i = 1, 1e6 do end",
        "local t = {} for i = 1, 1e5 do t[i] = {i} end",
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "error('x')",
    ] {
        let start =
            format!("require('jit.profile').start('li1', function() {body} end) while true do end");
        // A sample may come before the profiler is stopped, and its callback never end: then this is stopped, and tried again.
        let stop_profiling = || {
            let code = "require('jit.profile').stop() return 'stopped'";
            while !matches!(lua.run(code, &timeout(200)), Ok(Ok(_))) {}
        };
        for n in 0..4 {
            // The profiler's timer counts CPU time.
            let stop = lua.run(&start, &Limits::new().cpu(ms(20 + n))).unwrap_err();
            assert_eq!(stop.reason, Reason::Cpu, "{body}");
            stop_profiling();
            let few = Limits::new().cpu(ms(60)).memory(50_000);
            let stop = lua.run(&start, &few).unwrap_err();
            assert!(
                matches!(stop.reason, Reason::Memory | Reason::Cpu),
                "{body}"
            );
            stop_profiling();
            lua.ok("collectgarbage()");
        }
        lua.assert_healthy();
    }
}

/// A detach lets go of the profiler for a moment. A script that started it just then took the guards from all states.
#[test]
fn a_script_cannot_take_the_profiler_from_others() {
    if !alone("a_script_cannot_take_the_profiler_from_others") {
        return;
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: a state of our own, on this thread.
                unsafe {
                    let l = sys::luaL_newstate();
                    drop(leash::Vm::attach(l).unwrap());
                    sys::lua_close(l);
                }
            }
        });
        let (first, second) = (Lua::new(), Lua::new());
        // SAFETY: live, on this thread.
        unsafe { first.vm().libraries_are_open() };
        let start = Instant::now();
        let mut stopped = true;
        while stopped && start.elapsed() < ms(3000) {
            first.ok("local p = require 'jit.profile' for i = 1, 10 do p.start('i1', function() end) end");
            // Long, but not endless.
            stopped = second.run("for i = 1, 1e9 do end", &timeout(2)).is_err();
            first.ok("require('jit.profile').stop()");
        }
        done.store(true, Ordering::Relaxed);
        assert!(stopped, "compiled code was not stopped");
    });
}

/// An interrupt is for the program, not for its profiler's callback, where its error would be lost.
#[test]
fn an_interrupt_in_the_callback_of_the_profiler() {
    if !alone("an_interrupt_in_the_callback_of_the_profiler") {
        return;
    }
    let lua = Lua::new();
    // SAFETY: live, on this thread.
    let (guest, id) = unsafe {
        lua.vm().libraries_are_open();
        let guest = Guest::attach(lua.l).unwrap();
        (guest, guest.id(lua.l).unwrap())
    };
    guest.on_interrupt(fail);
    // Most of the time goes to the callback.
    lua.ok("require('jit.profile').start('li1', function() for i = 1, 2e6 do end end)");
    for _ in 0..10 {
        std::thread::scope(|s| {
            s.spawn(|| {
                std::thread::sleep(ms(30));
                assert!(interrupt(id, How::Once));
            });
            let r = lua.run("while true do end", &timeout(20_000));
            let error = r.expect("the interrupt was lost").unwrap_err();
            assert_eq!(error, "interrupted");
        });
    }
    lua.ok("require('jit.profile').stop()");
    lua.assert_healthy();
}

/// The handler of SIGPROF and its timer are the host's, whatever we do.
#[test]
fn sigprof_is_left_alone() {
    extern "C" fn handler(_: std::ffi::c_int) {}
    let handler = handler as extern "C" fn(std::ffi::c_int) as usize;
    // SAFETY: asks and sets; nobody else in this process uses the signal.
    unsafe {
        libc::signal(libc::SIGPROF, handler);
        for _ in 0..3 {
            let lua = Lua::new();
            lua.run("while true do end", &timeout(5)).unwrap_err();
            let mut now: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGPROF, std::ptr::null(), &mut now);
            assert_eq!(now.sa_sigaction, handler);
            let mut timer: libc::itimerval = std::mem::zeroed();
            libc::getitimer(libc::ITIMER_PROF, &mut timer);
            assert_eq!((timer.it_value.tv_sec, timer.it_value.tv_usec), (0, 0));
        }
    }
}

/// Any number of states are guarded on any number of threads, and each script uses the profiler as often as it likes; while one has it, the others go without.
/// LuaJIT's own handler of `SIGPROF`, on whatever thread the signal arrived, followed a null pointer when another one stopped the profiler, and changed the state of a third.
#[test]
fn scripts_on_many_threads_profile() {
    if !alone("scripts_on_many_threads_profile") {
        return;
    }
    extern "C" fn nothing(_: std::ffi::c_int) {}
    // SAFETY: a handler that does nothing, in a process of our own.
    unsafe { libc::signal(libc::SIGPROF, nothing as *const () as usize) };
    let samples = AtomicU32::new(0);
    let until = Instant::now() + ms(4000);
    std::thread::scope(|s| {
        for n in 0..3 {
            let samples = &samples;
            s.spawn(move || {
                let lua = Lua::new();
                // SAFETY: live, on this thread.
                unsafe { lua.vm().libraries_are_open() };
                assert_eq!(lua.vm().jit(), Jit::Guarded);
                let expected = lua.ok("local s = 0 for i = 1, 1e6 do s = s + i % 7 end return s");
                while Instant::now() < until {
                    let code = "local p, s = require('jit.profile'), 0 N = 0
                        for k = 1, 50 do
                            s = 0
                            p.start('li1', function(_, n) N = N + n end)
                            for i = 1, 1e6 do s = s + i % 7 end
                            p.stop()
                        end
                        return s";
                    assert_eq!(lua.ok(code), expected);
                    samples.fetch_add(lua.ok("return N").parse().unwrap(), Ordering::Relaxed);
                    let stop = lua.run("while true do end", &timeout(1 + n)).unwrap_err();
                    assert_eq!(stop.reason, Reason::Timeout);
                }
                lua.assert_healthy();
            });
        }
        // The timer's signals mostly arrive where the CPU time is used. Others do not. (Not as fast as they can be raised: the moments in which LuaJIT's handler is
        // in force, docs/luajit.md, would be hit too often.)
        while Instant::now() < until {
            // SAFETY: there is a handler.
            unsafe { libc::raise(libc::SIGPROF) };
            let next = Instant::now() + std::time::Duration::from_micros(20);
            while Instant::now() < next {}
        }
    });
    assert!(samples.into_inner() > 10);
}

/// A state is closed while its script profiles. LuaJIT stops the profiler at once, we hear of it later; a state that was attached in between became its owner, and
/// nothing was stopped any more.
#[test]
fn states_are_closed_while_they_profile() {
    if !alone("states_are_closed_while_they_profile") {
        return;
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let lua = Lua::new();
                    // SAFETY: live, on this thread.
                    unsafe { lua.vm().libraries_are_open() };
                    lua.ok("require('jit.profile').start('i1', function() end) u = newproxy(true) getmetatable(u).__gc = function() for i = 1, 1e6 do end end");
                    drop(lua);
                }
            });
        }
        let start = Instant::now();
        let mut stopped = true;
        while stopped && start.elapsed() < ms(3000) {
            let lua = Lua::new();
            // Long, but not endless.
            stopped = lua.run("for i = 1, 2e9 do end", &timeout(2)).is_err();
        }
        done.store(true, Ordering::Relaxed);
        assert!(stopped, "compiled code was not stopped");
    });
}

/// While a state is attached, LuaJIT's handler of `SIGPROF` is in force for a moment. A host that raises the signal itself may have a thread in it that has lost its
/// processor there, and goes on when the state has been closed again: nobody had the profiler then, and a null pointer was followed. (One of fifty runs of
/// `scripts_on_many_threads_profile`, which attaches while it raises `SIGPROF`.) A while later nobody is in it, and the profiler is anybody's.
#[test]
fn a_sigprof_that_goes_on_after_the_last_state_finds_an_owner() {
    if !alone("a_sigprof_that_goes_on_after_the_last_state_finds_an_owner") {
        return;
    }
    // SAFETY: a new state, which is not attached.
    let plain = unsafe { sys::luaL_newstate() };
    // SAFETY: it is on this thread. What is installed is filled in by the call.
    let handler_while_it_profiles = || unsafe {
        sys::profiler::start(plain, c"i1000000", nothing, std::ptr::null_mut());
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPROF, std::ptr::null(), &mut now);
        sys::profiler::stop(plain);
        now.sa_sigaction
    };
    let theirs = handler_while_it_profiles();
    assert!(![libc::SIG_DFL, libc::SIG_IGN].contains(&theirs));
    // SAFETY: LuaJIT's handler takes the number alone (`profile_signal` in `lj_profile.c`).
    let goes_on: extern "C" fn(std::ffi::c_int) = unsafe { std::mem::transmute(theirs) };
    for _ in 0..3 {
        let lua = Lua::new();
        assert_eq!(lua.vm().jit(), Jit::Guarded);
        drop(lua);
        goes_on(libc::SIGPROF);
    }
    let until = Instant::now() + ms(20_000);
    while handler_while_it_profiles() != theirs {
        assert!(Instant::now() < until, "the profiler is still ours");
        std::thread::sleep(ms(20));
    }
    // SAFETY: not used afterwards.
    unsafe { sys::lua_close(plain) };
}

/// Once there is an owner, LuaJIT's handler is not in force again when states are attached and detached. (It was, for a microsecond of each detach, at the end of which nobody had
/// the profiler.)
#[test]
fn states_come_and_go_while_the_host_raises_sigprof() {
    if !alone("states_come_and_go_while_the_host_raises_sigprof") {
        return;
    }
    let first = Lua::new();
    assert_eq!(first.vm().jit(), Jit::Guarded);
    beside_a_thread_that_raises_sigprof(|| {
        let until = Instant::now() + ms(1500);
        while Instant::now() < until {
            // SAFETY: a state of our own, on this thread; no call is open.
            unsafe {
                let l = sys::luaL_newstate();
                let vm = Vm::attach(l).unwrap();
                assert_eq!(vm.jit(), Jit::Guarded);
                drop(vm);
                sys::lua_close(l);
            }
        }
    });
    first.assert_healthy();
}

/// Each start and each stop of the script's is a moment in which LuaJIT's handler is in force, or nobody has the profiler; they do not follow each other at once.
#[test]
fn a_script_profiles_while_the_host_raises_sigprof() {
    if !alone("a_script_profiles_while_the_host_raises_sigprof") {
        return;
    }
    let lua = Lua::new();
    // SAFETY: live, on this thread.
    unsafe { lua.vm().libraries_are_open() };
    beside_a_thread_that_raises_sigprof(|| {
        let code = "local p, n = require 'jit.profile', 0
            while true do
                p.start('li1', function() end)
                for i = 1, n do end
                p.stop()
                n = (n + 1) % 10
            end";
        let stop = lua.run(code, &timeout(2000)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
    });
    lua.assert_healthy();
}

/// Calls `f` while another thread raises the signal as fast as it can, also if `f` panics; in a process of its own.
fn beside_a_thread_that_raises_sigprof(f: impl FnOnce()) {
    extern "C" fn ours(_: std::ffi::c_int) {}
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    // SAFETY: a handler that does nothing.
    unsafe { libc::signal(libc::SIGPROF, ours as *const () as usize) };
    let over = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: there is a handler.
                unsafe { libc::raise(libc::SIGPROF) };
            }
        });
        let _over = Over(&over);
        f();
    });
}

unsafe extern "C" fn nothing(
    _: *mut std::ffi::c_void,
    _: *mut sys::lua_State,
    _: std::ffi::c_int,
    _: std::ffi::c_int,
) {
}
