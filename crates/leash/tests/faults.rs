//! What goes wrong around Leash: no memory, signals at bad moments and on the wrong thread, threads that end, and very many of them.

mod common;
use common::host::{Host, allocate};
use common::{Lua, SOON, ms, timeout};
use leash::{AttachError, Guest, Handle, How, Limits, Reason, Vm, exists, interrupt, sys};
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Attaches with less and less want of memory, until it succeeds: each time it must say so, take nothing, and leave the state usable.
fn attach_without_memory(
    attach: impl Fn(*mut sys::lua_State) -> Result<Option<Vm>, AttachError>,
    libraries: bool,
    many: Option<usize>,
) {
    let mut refused = 0;
    for n in 0.. {
        assert!(n < 10_000, "the attach does not succeed");
        let host = Host::default();
        let l = host.state();
        if libraries {
            // SAFETY: a new state.
            unsafe { sys::luaL_openlibs(l) };
        }
        let asked = host.asked.get();
        host.fail(n, many);
        let attached = attach(l);
        let enough = host.asked.get() - asked <= n;
        host.recover();
        match &attached {
            Ok(_) => {}
            Err(AttachError::Lua(message)) => {
                assert!(message.contains("not enough memory"), "{message}");
                refused += 1;
            }
            Err(e) => panic!("for want of memory: {e}"),
        }
        // SAFETY: a live state on this thread.
        unsafe {
            assert_eq!(sys::lua_gettop(l), 0, "left on the stack");
            if attached.is_err() {
                let allocator = sys::allocator(l).0;
                assert_eq!(allocator as usize, allocate as *const () as usize);
            }
            sys::luaL_openlibs(l);
            let code = c"local t = {} for i = 1, 100 do t[i] = coroutine.wrap(function() coroutine.yield(i) end)() end return #t";
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            assert_eq!(sys::lua_pcall(l, 0, 1, 0), 0);
            assert_eq!(sys::lua_tointeger(l, -1), 100);
            let done = attached.is_ok() && enough;
            drop(attached);
            sys::lua_close(l);
            assert_eq!(host.blocks.get(), 0, "a leak, after {n} blocks");
            // A closure of LuaJIT whose upvalues could not be made is freed by the size of one without (`func_newL` counts them at its end).
            let exact = !cfg!(feature = "luajit");
            assert!(!exact || host.bytes.get() == 0, "after {n} blocks");
            if done {
                break;
            }
        }
    }
    // From 5.2 on Lua collects and asks once more.
    let asks_again = !cfg!(any(feature = "lua51", feature = "luajit"));
    assert!(
        refused > 0 || many == Some(1) && asks_again,
        "memory was never short"
    );
}

fn as_host(l: *mut sys::lua_State) -> Result<Option<Vm>, AttachError> {
    // SAFETY: by the callers.
    unsafe { Vm::attach(l).map(Some) }
}

fn as_module(l: *mut sys::lua_State) -> Result<Option<Vm>, AttachError> {
    // SAFETY: as above.
    unsafe { Guest::attach(l).map(|_| None) }
}

#[test]
fn an_attach_that_is_refused_a_block_says_so() {
    for libraries in [false, true] {
        for many in [Some(1), Some(3), None] {
            attach_without_memory(as_host, libraries, many);
            attach_without_memory(as_module, libraries, many);
        }
    }
}

/// The state goes on without us, and must not come back to what is freed when it is closed.
#[test]
fn a_detach_without_memory_leaves_nothing_behind() {
    for n in 0..6 {
        let (host, other) = (Host::default(), Host::default());
        let l = host.state();
        // SAFETY: live states on this thread.
        unsafe {
            sys::luaL_openlibs(l);
            let vm = Vm::attach(l).unwrap();
            host.fail(n, None);
            drop(vm);
            host.recover();
            assert_eq!(sys::lua_gettop(l), 0, "left on the stack");
            let allocator = sys::allocator(l).0;
            let is_back = allocator as usize == allocate as *const () as usize;
            assert!(is_back, "after {n} blocks");
            // Its record lies where that of the first was, as a rule.
            let second = other.state();
            let vm = Vm::attach(second).unwrap();
            sys::lua_close(l);
            assert!(vm.handle().exists(), "after {n} blocks");
            assert_eq!(host.bytes.get(), 0, "a leak, after {n} blocks");
            drop(vm);
            sys::lua_close(second);
            assert_eq!(other.bytes.get(), 0);
        }
    }
}

unsafe extern "C-unwind" fn go_on(_: *mut sys::lua_State, _: *mut sys::lua_State) {}

/// When the second block of a coroutine is asked for, its first has been seen already, and Lua has set up nothing yet.
#[test]
fn an_interrupt_in_every_allocation() {
    let host = Host::default();
    let l = host.state();
    // SAFETY: a live state on this thread.
    unsafe {
        sys::luaL_openlibs(l);
        let guest = Guest::attach(l).unwrap();
        guest.on_break(go_on);
        host.breaks.set(Some(guest.handle()));
        let code = c"local n = 0
            for i = 1, 300 do
                local co = coroutine.create(function(a) n = n + coroutine.yield(a .. 'x' .. i) error({}) end)
                coroutine.resume(co, 1) coroutine.resume(co, 1)
                if i % 10 == 0 then collectgarbage('step') end
            end
            return n";
        assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
        let limits = timeout(20_000);
        assert_eq!(guest.call(l, 0, 1, 0, &limits).unwrap(), 0);
        assert_eq!(sys::lua_tointeger(l, -1), 300);
        host.breaks.set(None);
        sys::lua_close(l);
    }
    assert_eq!(host.bytes.get(), 0);
}

static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);

fn ask_handle() -> bool {
    let handle = *HANDLE.lock().unwrap();
    handle.is_some_and(|h| h.kill())
}

/// The last delivery is lost, as when it lands inside a script's `debug.sethook`: it has to be made again.
#[test]
fn a_delivery_that_is_lost_is_made_again() {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    unsafe extern "C-unwind" fn lose(l: *mut sys::lua_State) -> c_int {
        assert!(ask_handle());
        thread::sleep(ms(30)); // the first resends come at once, and find this function
        // SAFETY: a C function called by Lua.
        unsafe { sys::lua_sethook(l, None, 0, 0) };
        0
    }
    let lua = Lua::new();
    *HANDLE.lock().unwrap() = Some(lua.vm().handle());
    // SAFETY: a live state on its thread.
    unsafe {
        sys::lua_pushcfunction(lua.l, lose);
        sys::lua_setglobal(lua.l, c"lose".as_ptr());
    }
    // The limit is not what is to end it: it is another request, and would bring its own delivery.
    let stop = lua.run("lose() while true do end", &timeout(60_000));
    let stop = stop.unwrap_err();
    assert_eq!(stop.reason, Reason::Kill);
    assert!(stop.elapsed < SOON, "{stop}");
    lua.assert_healthy();
}

/// A signal that arrives on one thread must not touch the state of another, however urgent that is.
#[test]
fn a_signal_on_the_wrong_thread_touches_nothing() {
    static READY: AtomicBool = AtomicBool::new(false);
    static POKED: AtomicBool = AtomicBool::new(false);
    static TOUCHED: AtomicBool = AtomicBool::new(false);
    fn wait_for(flag: &AtomicBool) {
        while !flag.load(Ordering::SeqCst) {
            thread::sleep(ms(1));
        }
    }
    fn mask(how: c_int) {
        // SAFETY: valid sets; this thread's own mask.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGURG);
            libc::pthread_sigmask(how, &set, ptr::null_mut());
        }
    }
    /// Its own thread lets no signal in meanwhile, so whatever is seen was done by another.
    unsafe extern "C-unwind" fn look(l: *mut sys::lua_State) -> c_int {
        mask(libc::SIG_BLOCK);
        READY.store(true, Ordering::SeqCst);
        wait_for(&POKED);
        // SAFETY: a C function called by Lua.
        let hook = unsafe { sys::lua_gethook(l) };
        TOUCHED.store(hook.is_some(), Ordering::SeqCst);
        mask(libc::SIG_UNBLOCK);
        0
    }
    let lua = Lua::new();
    // SAFETY: a live state on its thread.
    unsafe {
        sys::lua_pushcfunction(lua.l, look);
        sys::lua_setglobal(lua.l, c"look".as_ptr());
    }
    let handle = lua.vm().handle();
    let stop = thread::scope(|s| {
        s.spawn(move || {
            // A thread with a state of its own, so that a poke is nothing strange to it.
            let own = Lua::new();
            own.run("while true do end", &timeout(5)).unwrap_err();
            wait_for(&READY);
            assert!(handle.kill());
            // SAFETY: a signal to the calling thread, which has a handler.
            unsafe { libc::raise(libc::SIGURG) };
            POKED.store(true, Ordering::SeqCst);
        });
        lua.run("look() while true do end", &timeout(10_000))
    });
    assert!(
        !TOUCHED.load(Ordering::SeqCst),
        "another thread's handler set a hook"
    );
    assert_eq!(stop.unwrap_err().reason, Reason::Kill);
    lua.assert_healthy();
}

/// A state that is attached, and whose thread is no more.
struct Orphan(*mut sys::lua_State);

// SAFETY: used by one thread at a time.
unsafe impl Send for Orphan {}

#[test]
fn a_thread_that_ends_leaves_its_state_behind() {
    // A module's state: what is asked meanwhile waits until somebody runs it.
    let (send, receive) = mpsc::channel();
    let state = thread::spawn(move || {
        // SAFETY: a new state, on this thread.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            let guest = Guest::attach(l).unwrap();
            guest.on_interrupt(raise);
            send.send((guest.id(l).unwrap(), guest.handle())).unwrap();
            Orphan(l)
        }
    });
    let Orphan(l) = state.join().unwrap();
    let (id, handle) = receive.recv().unwrap();
    assert!(handle.exists() && exists(id));
    // It pokes a thread that has ended, again and again.
    assert!(interrupt(id, How::Once));
    thread::sleep(ms(30));
    // SAFETY: nobody else uses the state.
    unsafe {
        let code = c"local ok, e = pcall(function() while true do local t = {} end end) return e";
        assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
        // It may come before the chunk gets to its own `pcall`.
        let status = sys::lua_pcall(l, 0, 1, 0);
        assert!([sys::LUA_OK, sys::LUA_ERRRUN].contains(&status), "{status}");
        let e = std::ffi::CStr::from_ptr(sys::lua_tostring(l, -1));
        assert_eq!(e.to_str(), Ok("raised"));
        sys::lua_close(l);
    }
    assert!(!handle.exists() && !exists(id) && !interrupt(id, How::Once));
}

unsafe extern "C-unwind" fn raise(l: *mut sys::lua_State, _: *mut sys::lua_State) {
    // SAFETY: in a hook; nothing here owns anything.
    unsafe {
        sys::lua_pushstring(l, c"raised".as_ptr());
        sys::lua_error(l);
    }
}

/// Lua's name for it is `rest`.
unsafe extern "C-unwind" fn give_way(_: *mut sys::lua_State) -> std::ffi::c_int {
    thread::yield_now();
    0
}

/// All are late at the same moment, and one timer thread serves them. In their loops they give way to each other: thousands that do nothing but
/// compute would wait for each other's time slices, for ten seconds.
#[test]
fn thousands_of_threads() {
    const THREADS: usize = 2000;
    let start = Barrier::new(THREADS);
    let late = Mutex::new(Duration::ZERO);
    thread::scope(|s| {
        for _ in 0..THREADS {
            let small = thread::Builder::new().stack_size(512 << 10);
            let spawned = small.spawn_scoped(s, || {
                let lua = Lua::new();
                // SAFETY: a live state on its thread.
                unsafe {
                    sys::lua_pushcfunction(lua.l, give_way);
                    sys::lua_setglobal(lua.l, c"rest".as_ptr());
                }
                start.wait();
                let stop = lua
                    .run("while true do rest() end", &timeout(20))
                    .unwrap_err();
                assert_eq!(stop.reason, Reason::Timeout);
                let mut late = late.lock().unwrap();
                *late = (*late).max(stop.elapsed);
            });
            spawned.expect("a thread");
        }
    });
    let late = late.into_inner().unwrap();
    println!("{THREADS} threads with a limit of 20 ms: the last was stopped after {late:?}");
    assert!(late < Duration::from_secs(60), "{late:?}");
    // And the next is as quick as ever.
    let stop = Lua::new()
        .run("while true do end", &timeout(20))
        .unwrap_err();
    assert!(stop.elapsed < SOON, "{stop}");
}

/// The state goes while others ask it to stop, and while finalizers run.
#[test]
fn a_state_that_is_closed_under_interrupts() {
    for _ in 0..100 {
        let lua = Lua::new();
        let handle = lua.vm().handle();
        // SAFETY: a live state on its thread.
        let id = unsafe {
            let guest = Guest::attach(lua.l).unwrap();
            guest.on_interrupt(go_on);
            guest.id(lua.l).unwrap()
        };
        lua.ok(
            "for i = 1, 50 do
                local f = function() for i = 1, 100 do local t = {i} end end
                if newproxy then local p = newproxy(true) getmetatable(p).__gc = f else setmetatable({}, {__gc = f}) end
             end
             kept = {} for i = 1, 50 do kept[i] = coroutine.create(function() end) end",
        );
        let (going, done) = (Barrier::new(2), AtomicBool::new(false));
        thread::scope(|s| {
            s.spawn(|| {
                going.wait();
                while !done.load(Ordering::Relaxed) {
                    interrupt(id, How::Once);
                    handle.interrupt();
                }
            });
            going.wait();
            lua.close(&Limits::new().timeout(ms(5000)));
            done.store(true, Ordering::Relaxed);
        });
        assert!(!exists(id) && !handle.exists());
    }
}

/// Whose script interrupts itself all the time, by an id, does not get around its limit on instructions: each interrupt takes away what is being counted, and costs as much.
///
/// How many rounds it gets depends on how many interrupts are one delivery (a thread that was delayed in one rests before the next), but they are never more than those
/// of a script that does not interrupt itself. They were twenty times as many.
#[test]
fn interrupts_do_not_set_the_count_of_instructions_back() {
    unsafe extern "C-unwind" fn myself(l: *mut sys::lua_State) -> c_int {
        // SAFETY: a C function called by Lua in a state that is attached; the first upvalue is a number.
        let id = unsafe { sys::lua_tonumber(l, sys::lua_upvalueindex(1)) };
        assert!(interrupt(id as u64, How::Once));
        0
    }
    unsafe extern "C-unwind" fn nobody(_: *mut sys::lua_State) -> c_int {
        0
    }
    let lua = Lua::new();
    // SAFETY: a live state on its thread, with room for two values.
    unsafe {
        let guest = Guest::attach(lua.l).unwrap();
        guest.on_interrupt(go_on);
        let id = guest.id(lua.l).unwrap();
        assert!(id < 1 << 53);
        sys::lua_pushnumber(lua.l, id as f64);
        sys::lua_pushcclosure(lua.l, myself, 1);
        sys::lua_setglobal(lua.l, c"myself".as_ptr());
        sys::lua_pushcclosure(lua.l, nobody, 0);
        sys::lua_setglobal(lua.l, c"nobody".as_ptr());
    }
    let rounds = |interrupts: &str| -> f64 {
        let limits = Limits::new().instructions(100_000).timeout(SOON);
        let code = format!("N = 0 while true do N = N + 1 {interrupts}() end");
        assert_eq!(
            lua.run(&code, &limits).unwrap_err().reason,
            Reason::Instructions
        );
        lua.ok("return N").parse().unwrap()
    };
    let (plain, interrupted) = (rounds("nobody"), rounds("myself"));
    println!("{plain} rounds, {interrupted} with an interrupt in each");
    assert!(
        (10.0..=plain * 1.1).contains(&interrupted),
        "{interrupted}, {plain} without interrupts"
    );
    lua.assert_healthy();
}
