//! LuaJIT: errors that arise while a trace is being left.
//!
//! When a trace is left because the collector has to go on, `lj_trace_exit` calls it (`lj_gc_step`). Finalizers run there, and most versions raise the error of a finalizer in the code that it has
//! interrupted; memory may run out there in all versions. But an error has no way out of there: the C library unwinds the stack by tables, LuaJIT's table says that its assembler code keeps its frame
//! right where the stack pointer is, and the code that has called `lj_trace_exit` has saved all registers below that. The unwinder takes one of these for a `lua_State`, and the process crashes.
//! (So does plain LuaJIT, with `getmetatable(newproxy(true)).__gc = error` and a hot loop that allocates.) A stop is an error: an endless finalizer, which harms nobody but itself, became a crash when it was stopped.
//!
//! So we add the line that is missing in the table, for the one return address at which `lj_trace_exit` comes back ([`landing`]): an error ends there, and becomes what that function returns. It has always
//! been able to return an error (the negative code; `trace_exit_cp` may fail), which is raised again in the right frame. The unwinder looks at what has been registered before it looks at the tables of a library.
//!
//! **The return address** is found by looking at the stack from a finalizer, in a state of our own ([`find`]): of the frames in the interpreter's code, the innermost is that which calls the finalizer, and the
//! next is that which has called the collector. If that has its stack pointer farther down than the interpreter had it before, a trace is being left. Two such looks must agree.
//!
//! **If that does not work** the error must not come about: compiled code is not entered while limits are in force ([`super::Jit::Interpreted`]). But not for memory alone: where the collector prints the errors of
//! finalizers (LuaJIT from April 2023 on, [`rethrows`]), all is as it was. Nor where LuaJIT has no table at all: then it unwinds by itself, from frame to frame of its own, which works.

#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod find;
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod landing;

/// Machines for which nobody has tried it.
#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod find {
    pub fn is_repaired() -> Option<bool> {
        Some(false)
    }
}

use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_int};

/// Sees that an error that arises while a trace is left does no harm. False: it would. None: there is no memory to find out. One caller at a time.
pub fn repair() -> Option<bool> {
    Some(find::is_repaired()? || !rethrows())
}

/// Fails where the collector raises the error of a finalizer in the code that it has interrupted. (Where it prints them instead, it does so in the handler of an event, which here does nothing.)
const RETHROWS: &CStr = c"
    jit.attach(function() end, 'errfin')
    getmetatable(newproxy(true)).__gc = error
    assert(pcall(collectgarbage))";

fn rethrows() -> bool {
    let prints = in_new_state(|l| {
        // SAFETY: a state of our own, with free slots.
        unsafe {
            let loaded = sys::luaL_loadstring(l, RETHROWS.as_ptr()) == sys::LUA_OK;
            (loaded && sys::lua_pcall(l, 0, 0, 0) == sys::LUA_OK).then_some(())
        }
    });
    prints.is_none()
}

/// Calls `f` with a new state that is not attached, and closes it.
fn in_new_state<R>(f: impl FnOnce(*mut lua_State) -> Option<R>) -> Option<R> {
    // SAFETY: a state of our own, on this thread. `f` raises no error. Opening the libraries fails for want of memory only, and is protected from that.
    unsafe {
        let l = sys::luaL_newstate();
        if l.is_null() {
            return None;
        }
        let opened = sys::protected(l, open, std::ptr::null_mut()) == sys::LUA_OK;
        let result = if opened { f(l) } else { None };
        sys::lua_close(l);
        result
    }
}

unsafe extern "C-unwind" fn open(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe { sys::luaL_openlibs(l) };
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jit::trial;

    #[test]
    fn this_build_is_repaired() {
        assert!(trial::is_passed()); // one caller at a time
        assert_eq!(find::is_repaired(), Some(true));
        assert_eq!(repair(), Some(true));
    }

    #[test]
    fn the_vendored_version_prints_errors() {
        assert!(!rethrows() || cfg!(not(feature = "vendored")));
    }
}
