//! Ctrl-C ends calls that ask for it. The signal is the whole process's, so these tests are a program of their own, and run one at a time.

mod common;

use common::{Lua, SOON, ms, timeout};
use leash::{Limits, Reason, sys};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, c_int};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

static ALONE: Mutex<()> = Mutex::new(());

/// What the host does on Ctrl-C: it counts.
static EARLIER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn earlier(_: c_int) {
    EARLIER.fetch_add(1, Ordering::SeqCst);
}

fn install_earlier() -> usize {
    let earlier = earlier as extern "C" fn(c_int) as usize;
    EARLIER.store(0, Ordering::SeqCst);
    // SAFETY: a handler that counts; nobody else in this process uses the signal.
    unsafe { libc::signal(libc::SIGINT, earlier) };
    earlier
}

fn ctrl_c() {
    // SAFETY: there is a handler.
    unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
}

/// Ctrl-C ends a call that asks for it, the innermost and what is around it as any limit would; then the earlier handler is back.
#[test]
fn ctrl_c_ends_a_call() {
    let _alone = ALONE.lock();
    let earlier = install_earlier();
    let press = || {
        thread::spawn(|| {
            thread::sleep(ms(30));
            ctrl_c();
        })
    };
    let lua = Lua::new();
    for _ in 0..3 {
        let pressed = press();
        let limits = Limits::new().sigint().timeout(ms(20_000));
        let stop = lua
            .run("while true do pcall(error) end", &limits)
            .unwrap_err();
        assert_eq!(stop.reason, Reason::Interrupt);
        pressed.join().unwrap();
        assert_eq!(EARLIER.load(Ordering::SeqCst), 0);
        lua.assert_healthy();
    }
    // SAFETY: asks.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGINT, std::ptr::null(), &mut now);
        assert_eq!(now.sa_sigaction, earlier);
    }
    // Without asking, nothing happens to a call.
    let pressed = press();
    let stop = lua.run("while true do end", &timeout(100)).unwrap_err();
    assert_eq!(stop.reason, Reason::Timeout);
    pressed.join().unwrap();
    assert_eq!(EARLIER.load(Ordering::SeqCst), 1);
}

/// Presses Ctrl-C whenever memory is asked for, while it is told to. (Lua's own memory comes from elsewhere.)
struct Presses;

static PRESSES: AtomicBool = AtomicBool::new(false);
static PRESSED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Presses = Presses;

// SAFETY: it is the system's.
unsafe impl GlobalAlloc for Presses {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if PRESSES.load(Ordering::SeqCst) {
            PRESSED.fetch_add(1, Ordering::SeqCst);
            ctrl_c();
        }
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The call has begun: pressed once more.
unsafe extern "C-unwind" fn begun(_: *mut sys::lua_State) -> c_int {
    PRESSES.store(false, Ordering::SeqCst);
    ctrl_c();
    0
}

/// Pressed while a call begins, it goes to the host, or ends the call. In no case is the call deaf to the next one.
#[test]
fn ctrl_c_while_a_call_begins() {
    let _alone = ALONE.lock();
    install_earlier();
    for _ in 0..10 {
        let lua = Lua::new();
        let limits = Limits::new().sigint().timeout(ms(5000));
        // SAFETY: a live state on its thread.
        let ended = unsafe {
            sys::lua_pushcfunction(lua.l, begun);
            sys::lua_setglobal(lua.l, c"begun".as_ptr());
            let code = c"begun() while true do pcall(error) end";
            assert_eq!(sys::luaL_loadstring(lua.l, code.as_ptr()), 0);
            PRESSES.store(true, Ordering::SeqCst);
            lua.vm().call(lua.l, 0, 0, 0, &limits)
        };
        PRESSES.store(false, Ordering::SeqCst); // if it has ended before that
        assert_eq!(ended.unwrap_err().reason, Reason::Interrupt);
        lua.assert_healthy();
    }
    assert!(
        PRESSED.load(Ordering::SeqCst) >= 10,
        "nothing was allocated"
    );
}

/// A state in which calls that Ctrl-C ends begin and end all the time, and how many of them it has ended.
fn calls_all_the_time(lua: &Lua, done: &AtomicBool, stopped: &AtomicUsize) {
    let limits = Limits::new().sigint().timeout(ms(5000));
    while !done.load(Ordering::SeqCst) {
        if let Err(stop) = lua.run("", &limits) {
            assert_eq!(stop.reason, Reason::Interrupt);
            stopped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Each Ctrl-C ends a call or goes to the host: none is lost where a call just ends, and none is passed on for ever.
///
/// It was: the signal arrives at the end of a system call, and the one that asked which action is in force came before the one that gave it back. The handler
/// then raised it to itself, again and again, and nothing but SIGKILL ended the process: 29 of 120 processes that got one.
#[test]
fn no_ctrl_c_is_lost_or_comes_round() {
    let _alone = ALONE.lock();
    install_earlier();
    let (done, stopped) = (AtomicBool::new(false), AtomicUsize::new(0));
    let lua = Lua::new();
    // SAFETY: this thread.
    let me = unsafe { libc::pthread_self() };
    thread::scope(|s| {
        s.spawn(|| {
            let arrived = || stopped.load(Ordering::SeqCst) + EARLIER.load(Ordering::SeqCst);
            for n in 0..5000 {
                match n % 4 {
                    0 => ctrl_c(),
                    // SAFETY: that thread waits for this one.
                    _ => unsafe { assert_eq!(libc::pthread_kill(me, libc::SIGINT), 0) },
                }
                let start = Instant::now();
                while arrived() <= n {
                    if start.elapsed() > SOON {
                        eprintln!("lost, or goes round: {n} had arrived"); // a thread in such a handler cannot end
                        std::process::abort();
                    }
                    thread::yield_now();
                }
                assert_eq!(arrived(), n + 1);
            }
            done.store(true, Ordering::SeqCst);
        });
        calls_all_the_time(&lua, &done, &stopped);
    });
    println!(
        "{} ended a call, {} went to the host",
        stopped.load(Ordering::SeqCst),
        EARLIER.load(Ordering::SeqCst)
    );
    lua.assert_healthy();
}

/// The handler that a host puts in the place of ours while a call is open, and which calls what was there before it.
static BENEATH: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_top(signal: c_int) {
    EARLIER.fetch_add(1, Ordering::SeqCst);
    if EARLIER.load(Ordering::SeqCst) > 1000 {
        std::process::abort(); // it goes round
    }
    let beneath = BENEATH.load(Ordering::SeqCst);
    // SAFETY: what `signal` has returned, a handler.
    unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(beneath)(signal) };
}

unsafe extern "C-unwind" fn host_installs(_: *mut sys::lua_State) -> c_int {
    let on_top = on_top as extern "C" fn(c_int) as usize;
    // SAFETY: a handler; nobody else in this process uses the signal.
    BENEATH.store(
        unsafe { libc::signal(libc::SIGINT, on_top) },
        Ordering::SeqCst,
    );
    0
}

/// A host that installs its own handler while a call is open, and has it call ours, gets each Ctrl-C once.
#[test]
fn a_handler_that_calls_ours_is_called_once() {
    let _alone = ALONE.lock();
    // From then on a signal handler that finds itself replaced is less sure of what has happened: not in the process of the other tests.
    in_child(each_is_for_the_handler_on_top);
}

fn each_is_for_the_handler_on_top() {
    install_earlier();
    let lua = Lua::new();
    let limits = Limits::new().sigint().timeout(ms(5000));
    // SAFETY: a live state on its thread.
    let run = |code: &CStr| unsafe {
        assert_eq!(sys::luaL_loadstring(lua.l, code.as_ptr()), 0);
        lua.vm().call(lua.l, 0, 0, 0, &limits)
    };
    // SAFETY: a live state on its thread.
    unsafe {
        sys::lua_pushcfunction(lua.l, host_installs);
        sys::lua_setglobal(lua.l, c"host_installs".as_ptr());
        sys::lua_pushcfunction(lua.l, begun);
        sys::lua_setglobal(lua.l, c"press".as_ptr());
    }
    // SAFETY: to this thread, so it has arrived when this returns.
    let press = || unsafe { assert_eq!(libc::raise(libc::SIGINT), 0) };
    assert_eq!(run(c"host_installs()").unwrap(), 0);
    for n in 1..10 {
        press();
        assert_eq!(EARLIER.load(Ordering::SeqCst), n);
    }
    // In a call, ours is there again.
    EARLIER.store(0, Ordering::SeqCst);
    for _ in 0..10 {
        let stop = run(c"press() while true do pcall(error) end").unwrap_err();
        assert_eq!(stop.reason, Reason::Interrupt);
    }
    assert_eq!(EARLIER.load(Ordering::SeqCst), 0);
    press();
    assert_eq!(EARLIER.load(Ordering::SeqCst), 1);
}

/// Runs `f` in the child of a fork, which ends with it.
fn in_child(f: fn()) {
    // SAFETY: the child has this thread only, and leaves by `_exit`. One that hangs dies by its alarm.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above.
        unsafe {
            libc::alarm(20);
            let ended = std::panic::catch_unwind(f);
            libc::_exit(if ended.is_ok() { 0 } else { 1 });
        }
    }
    let mut status = 0;
    // SAFETY: our child.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0, "the child's wait status");
}

/// Another thread of the parent was in a call that Ctrl-C ends. In the child of a fork there is no such thread, and Ctrl-C is the host's.
#[test]
fn in_a_child_a_call_of_a_vanished_thread_takes_no_ctrl_c() {
    let _alone = ALONE.lock();
    install_earlier();
    static RUNS: AtomicBool = AtomicBool::new(false);
    unsafe extern "C-unwind" fn runs(_: *mut sys::lua_State) -> c_int {
        RUNS.store(true, Ordering::SeqCst);
        0
    }
    RUNS.store(false, Ordering::SeqCst);
    thread::scope(|s| {
        let running = s.spawn(|| {
            let lua = Lua::new();
            // SAFETY: a live state on its thread.
            unsafe {
                sys::lua_pushcfunction(lua.l, runs);
                sys::lua_setglobal(lua.l, c"runs".as_ptr());
            }
            let limits = Limits::new().sigint().timeout(SOON);
            let stop = lua.run("runs() while true do end", &limits).unwrap_err();
            assert_eq!(stop.reason, Reason::Interrupt);
        });
        while !RUNS.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        in_child(|| {
            for n in 1..4 {
                // SAFETY: to this thread, so it has arrived when this returns.
                assert_eq!(unsafe { libc::raise(libc::SIGINT) }, 0);
                assert_eq!(EARLIER.load(Ordering::SeqCst), n);
            }
            // A call of the child's own is ended by it.
            let lua = Lua::new();
            let limits = Limits::new().sigint().timeout(ms(5000));
            // SAFETY: a live state on its thread.
            unsafe {
                sys::lua_pushcfunction(lua.l, begun);
                sys::lua_setglobal(lua.l, c"press".as_ptr());
            }
            let stop = lua.run("press() while true do end", &limits).unwrap_err();
            assert_eq!(stop.reason, Reason::Interrupt);
        });
        ctrl_c();
        running.join().unwrap();
    });
    assert_eq!(EARLIER.load(Ordering::SeqCst), 0);
}
