//! `require "llthreads2.ex"` and `require "mtmsg"`, as far as the examples of mtint go. For tests; never shipped.
//!
//! The documentation of mtint shows its use with two other libraries: llthreads2, which runs a function in a new OS thread
//! with a Lua state of its own, and mtmsg, which carries messages between states. This library offers the names that those
//! examples use, so that one file runs here and with the real libraries:
//!
//! | name | see |
//! |---|---|
//! | `llthreads.new(f or source, ...)`, `thread:start([detached [, joinable]])`, `thread:join([0])` | `llthreads.rs` |
//! | `mtmsg.newbuffer()`, `mtmsg.buffer(id)`, `mtmsg.sleep(seconds)` | `mtmsg.rs` |
//! | `buffer:id()`, `buffer:addmsg(...)`, `buffer:nextmsg([seconds])` | `mtmsg.rs` |
//!
//! `require "testsignals"` stands in for a host that handles Ctrl-C (`signals.rs`).
//!
//! One shared object holds both. It is found when it lies in a folder of `package.cpath` under the names `llthreads2.so` (Lua
//! looks for `luaopen_llthreads2_ex` in the file of the root module) and `mtmsg.so`: two links, or two copies. Two copies are
//! two libraries in the process, and that is fine: the only state that belongs to the process, the table of buffers, is used
//! by `mtmsg` alone.
//!
//! What must always be true:
//! - A Lua error leaves a C function by `longjmp`. So nothing with a destructor is alive in a Rust frame, and no lock is held,
//!   where Lua may raise. What must survive until then is owned by a userdata (`object.rs`) or by a frame below the protected
//!   call (`child.rs`).
//! - A thread that waits (`nextmsg`, `sleep`, `join`) calls no Lua.
//!
//! It knows nothing of the crate `leash`: to `mtint` it is a stranger that starts threads, as the real libraries are.

use std::ffi::{CStr, c_int};

use mlua_sys::{lua_CFunction, lua_State, lua_createtable, lua_pushcfunction, lua_setfield};

mod buffer;
mod child;
mod llthreads;
mod mtmsg;
mod object;
mod signals;
mod value;

/// A function and its name in Lua.
type Function = (&'static CStr, lua_CFunction);

/// Pushes a new table of these functions.
///
/// # Safety
/// `l` is a live state on its own thread, with two free stack slots. May raise a memory error.
unsafe fn push_functions(l: *mut lua_State, functions: &[Function]) {
    // SAFETY: by the caller.
    unsafe {
        lua_createtable(l, 0, functions.len() as c_int);
        for (name, function) in functions {
            lua_pushcfunction(l, *function);
            lua_setfield(l, -2, name.as_ptr());
        }
    }
}

/// `require "llthreads2.ex"`.
///
/// # Safety
/// Called by Lua.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_llthreads2_ex(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { push_functions(l, llthreads::FUNCTIONS) };
    1
}

/// `require "testsignals"`.
///
/// # Safety
/// Called by Lua.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_testsignals(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { push_functions(l, signals::FUNCTIONS) };
    1
}

/// `require "mtmsg"`.
///
/// # Safety
/// Called by Lua.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_mtmsg(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { push_functions(l, mtmsg::FUNCTIONS) };
    1
}
