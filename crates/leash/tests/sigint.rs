//! Ctrl-C ends calls that ask for it. The signal is the whole process's, so these tests are a program of their own, and run one at a time.

mod common;

use common::{Lua, ms, timeout};
use leash::{Limits, Reason, sys};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_int;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

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
