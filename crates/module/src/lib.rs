//! The Lua modules `leash`, `leash.ctrlc`, `mtint` and `corowatch`, in one shared library.
//!
//! One library, so that all three share the engine: one timer thread, one table of ids, one signal handler. `require "leash"` loads
//! it and calls [`luaopen_leash`]. `require "leash.mtint"` finds no file of that name; Lua's all-in-one loader then looks for the root
//! of the name, `leash`, on `package.cpath`, and calls [`luaopen_leash_mtint`] in it. `mtint.lua` is one line that requires that.
//!
//! What must be true of every function that Lua calls:
//!
//! - **Nothing that owns anything is alive where Lua may raise.** An error of Lua's is a `longjmp` over our frames (or an exception, if
//!   Lua was built as C++): no destructor runs. So no `String`, `Vec`, `Box` or guard near the C API; text goes through
//!   [`text::Text`], which lies on the stack, and what the engine returns is turned into plain values first.
//! - **No panic.** It would abort the host.
//! - **The library is never unloaded** (`build.rs`): a hook, a signal handler or the timer thread may be in it when a state closes.

mod args;
mod attach;
mod call;
mod compat;
mod corowatch;
mod ctrlc;
mod guard;
mod handlers;
mod ids;
mod leash_module;
mod limits;
mod mtint;
mod prepared;
mod stop;
mod table;
mod text;
mod watch;

use leash::sys::lua_State;
use std::ffi::c_int;

/// `require "leash"`.
///
/// # Safety
/// Called by Lua, as a C function.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_leash(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { leash_module::open(l) }
}

/// `require "leash.mtint"`, and `require "mtint"` by way of `mtint.lua`.
///
/// # Safety
/// Called by Lua, as a C function.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_leash_mtint(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { mtint::open(l) }
}

/// `require "leash.corowatch"`, and `require "corowatch"` by way of `corowatch.lua`.
///
/// # Safety
/// Called by Lua, as a C function.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_leash_corowatch(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { corowatch::open(l) }
}

/// `require "leash.ctrlc"`.
///
/// # Safety
/// Called by Lua, as a C function.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_leash_ctrlc(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { ctrlc::open(l) }
}
