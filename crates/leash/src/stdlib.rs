//! Library functions that can be interrupted.
//!
//! A C function sees no hook: until it returns, no limit reaches it. `string.find(("a"):rep(1e5), ("a*"):rep(30) .. "b")` takes longer than
//! anybody lives. So here are `find`, `match`, `gmatch`, `gsub` and `rep`, and those of `table` that work for long ([`tables`]), once more, which do the same on every input, error messages
//! included, and look up from their work every few thousand [steps](steps). [`guard`] puts them in the place of the originals.
//!
//! **The same** means: as the originals of the engine that is running. What the versions do differently is in [`dialect`], and what only the
//! running library can tell (releases of one version differ) is asked of it, in a state of our own ([`stock`]). Proof is a
//! comparison over millions of random calls, `tests/lua/guard_stdlib.lua` and `guard_stdlib_tables.lua`.
//!
//! **How they stop.** The signal handler sets the hook on every coroutine, so also on the one that is in here. A function that looks up sees it,
//! and calls a C function that does nothing: Lua calls the hook for that, and from there on all is as everywhere ([`crate::hook`]): an error is
//! raised, or a handler called, or nothing is due and the work goes on. Where no hook is set by us, also in states that are not
//! attached, nothing ever happens.
//!
//! What must be true, since an error may leave these functions wherever they look up: they own nothing but what lies on Lua's stack.
//! Results are built in `luaL_Buffer` or a userdata, so the memory limit counts them.
//!
//! `load` and `loadstring` look up while they compile: [`load`].
//!
//! **`pcall` and `xpcall`** are not long themselves. But where hooks are off, in finalizers, they would take back what a delivery has done; theirs is to look up: [`protected`].
//!
//! On LuaJIT a Lua function stands in front of three of them, for the sake of compiled code: `stdlib/front.rs`.
//!
//! Only the originals are replaced. What a host has put in their place, or taken away, stays so.

mod buffer;
mod captures;
mod classes;
mod dialect;
mod find;
#[cfg(feature = "luajit")]
mod front;
mod gmatch;
mod gsub;
mod load;
mod matcher;
#[cfg(not(feature = "luajit"))]
mod protected;
mod rep;
mod steps;
mod stock;
mod tables;

use crate::sys::{self, lua_CFunction, lua_State};
use std::ffi::c_int;
use stock::Stock;

pub use load::load_buffer;
pub use steps::look_up;

/// The functions of `string`, and what stands in for each.
fn strings(stock: &Stock) -> [(lua_CFunction, lua_CFunction); 5] {
    [
        (stock.find, find::find),
        (stock.find_match, find::find_match),
        (stock.gmatch, gmatch::gmatch),
        (stock.gsub, gsub::gsub),
        (stock.rep, rep::rep),
    ]
}

/// Those that begin a protected call, and what stands in for each.
fn catchers(stock: &Stock) -> [(Option<lua_CFunction>, lua_CFunction); CATCHERS] {
    #[cfg(feature = "luajit")]
    let (_, all) = (stock, []);
    #[cfg(not(feature = "luajit"))]
    let all = [
        (stock.pcall, protected::pcall as lua_CFunction),
        (stock.xpcall, protected::xpcall),
    ];
    all
}

const CATCHERS: usize = if cfg!(feature = "luajit") { 0 } else { 2 };

/// Those that compile, and what stands in for each. (They begin a protected call of their own.)
fn compilers(stock: &Stock) -> [(Option<lua_CFunction>, lua_CFunction); 2] {
    #[cfg(feature = "lua51")]
    let loadstring = load::loadstring;
    #[cfg(not(feature = "lua51"))]
    let loadstring = load::load;
    [
        (stock.load, load::load as lua_CFunction),
        (stock.loadstring, loadstring),
    ]
}

/// The functions of both libraries, as far as they are C functions, and what stands in for each.
fn workers(stock: &Stock) -> impl Iterator<Item = (Option<lua_CFunction>, lua_CFunction)> {
    strings(stock)
        .into_iter()
        .map(|(original, ours)| (Some(original), ours))
        .chain(stock.tables.replacements())
}

/// What stands in for this function, if it is one of the originals.
fn replacement(stock: &Stock, f: lua_CFunction) -> Option<lua_CFunction> {
    let all = workers(stock)
        .chain(catchers(stock))
        .chain(compilers(stock));
    let mut found = all.filter(|(original, _)| original.is_some_and(|o| o as usize == f as usize));
    found.next().map(|(_, ours)| ours)
}

/// Whether the C function at this address is one that stands in for another, or the iterator that one of them makes; but for those of the basic functions. It begins no protected call, and an error may leave it
/// anywhere. **Hook**: asks for no memory.
pub(crate) fn is_ours(address: usize) -> bool {
    // Who has installed one has looked at the originals.
    let stands_in = |stock| workers(stock).any(|(_, ours)| ours as usize == address);
    address == gmatch::next as *const () as usize || stock::seen().is_some_and(stands_in)
}

/// Whether the C function at this address stands in for `pcall` or `xpcall`. **Hook**: asks for no memory.
pub(crate) fn is_our_catcher(address: usize) -> bool {
    let stands_in = |stock| {
        catchers(stock)
            .into_iter()
            .any(|(_, ours)| ours as usize == address)
    };
    stock::seen().is_some_and(stands_in)
}

/// Replaces the functions of the libraries `string` and `table`, and the basic functions `load`, `loadstring` and, on 5.1 to 5.5, `pcall` and `xpcall`, in the table at `index`, under whatever names they are there. How many it were; none if
/// it has been done before. None, too, if there was no memory to look at the originals.
///
/// # Safety
/// In a C function that Lua has called, in `l`, with a free slot. A table is at `index`. May raise for want of memory. The library that
/// holds this code is never unloaded.
pub unsafe fn guard(l: *mut lua_State, index: c_int) -> usize {
    let Some(stock) = stock::stock() else {
        return 0;
    };
    let mut replaced = 0;
    // SAFETY: by the caller. Fields that are there are assigned to, which a traversal allows.
    unsafe {
        sys::luaL_checkstack(l, sys::LUA_MINSTACK, std::ptr::null());
        let table = match index {
            1.. => index,
            _ => sys::lua_gettop(l) + 1 + index,
        };
        sys::lua_pushnil(l);
        while sys::lua_next(l, table) != 0 {
            let f = sys::lua_tocfunction(l, -1);
            if let Some(ours) = f.and_then(|f| replacement(stock, f)) {
                sys::lua_pushvalue(l, -2);
                push(l, stock, ours);
                sys::lua_rawset(l, table);
                replaced += 1;
            }
            sys::lua_settop(l, -2);
        }
    }
    replaced
}

/// Pushes what stands in for the original below the top, where its name is.
unsafe fn push(l: *mut lua_State, stock: &Stock, ours: lua_CFunction) {
    // SAFETY: by the caller, `guard`.
    unsafe {
        #[cfg(feature = "luajit")]
        if front::push(l, -2, stock, ours) {
            return;
        }
        let _ = stock;
        sys::lua_pushcfunction(l, ours);
    }
}
