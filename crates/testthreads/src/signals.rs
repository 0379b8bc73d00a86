//! `testsignals`: a host's own handler of SIGINT.
//!
//! `count_interrupts()` installs one that counts, `interrupts()` tells how often it was called. And `fork()`, as a server that starts its
//! workers does it: it returns 0 in the child, and in the parent, once the child has ended, its exit code.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use mlua_sys::{lua_State, lua_pushnumber};

use crate::Function;

static COUNT: AtomicU32 = AtomicU32::new(0);

pub const FUNCTIONS: &[Function] = &[
    (c"count_interrupts", count_interrupts),
    (c"interrupts", interrupts),
    (c"fork", fork),
];

/// **Signal context.**
extern "C" fn count(_: c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C-unwind" fn count_interrupts(_: *mut lua_State) -> c_int {
    let handler: extern "C" fn(c_int) = count;
    // SAFETY: the handler adds to an atomic.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
    0
}

unsafe extern "C-unwind" fn interrupts(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua, with a free slot.
    unsafe { lua_pushnumber(l, COUNT.load(Ordering::Relaxed).into()) };
    1
}

unsafe extern "C-unwind" fn fork(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua, with a free slot. The child goes on with this thread alone.
    unsafe {
        let mut status = 0;
        let child = libc::fork();
        if child > 0 {
            libc::waitpid(child, &mut status, 0);
        }
        let code = match child {
            0 => 0,
            _ if libc::WIFEXITED(status) => libc::WEXITSTATUS(status),
            _ => -1,
        };
        lua_pushnumber(l, code.into());
    }
    1
}
