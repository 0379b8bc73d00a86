//! The counterexample: `lua_sethook` called from another thread.
//!
//! It is what comes to mind first, and it seems to work. But `lua_sethook` walks through the frames of the coroutine (5.3: looks at the current one), which
//! the other thread makes, frees and moves at the same time. Deep recursion with a collector that gives back frames makes it likely: under
//! AddressSanitizer a heap-use-after-free within seconds. `cargo xtask sanitize` runs this and expects the report. Nothing of Leash is in here, and
//! no lock would help: the thread that runs the state never looks at one.

use crate::lua;
use leash::sys::{self, lua_Debug, lua_State};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CODE: &str = "
    local function rec(k) if k == 0 then return 0 end return 1 + rec(k - 1) end
    while not over() do
        rec(math.random(1, 15000))
        collectgarbage('step', 1000)
        local t = {} for i = 1, 50 do t[i] = {} end
    end";

static OVER: AtomicBool = AtomicBool::new(false);
static HOOKS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C-unwind" fn hook(l: *mut lua_State, _: *mut lua_Debug) {
    HOOKS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: in a hook.
    unsafe { sys::set_hook(l, None, 0, 0) };
}

unsafe extern "C-unwind" fn over(l: *mut lua_State) -> std::ffi::c_int {
    // SAFETY: a C function called by Lua.
    unsafe { sys::lua_pushboolean(l, OVER.load(Ordering::Relaxed).into()) };
    1
}

/// Does it for so long, if the process lives.
pub fn run(time: Duration) {
    let l = lua::open();
    let (state, end) = (l as usize, Instant::now() + time);
    let other = thread::spawn(move || {
        let mut calls = 0u64;
        while Instant::now() < end {
            // SAFETY: none. That is the point: the state runs on another thread, and may be anywhere.
            unsafe { sys::lua_sethook(state as *mut lua_State, Some(hook), sys::MASK_ALL, 1) };
            calls += 1;
        }
        OVER.store(true, Ordering::Relaxed);
        calls
    });
    // SAFETY: a state of our own; what the other thread does to it is not safe.
    let outcome = unsafe {
        lua::function(l, c"over", over);
        lua::run(l, CODE)
    };
    let calls = other.join();
    println!(
        "{outcome:?}, {calls:?} calls of lua_sethook, {} hooks",
        HOOKS.load(Ordering::Relaxed)
    );
}
