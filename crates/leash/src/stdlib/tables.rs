//! The library `table`: `insert`, `remove`, `move`, `concat` and `sort`.
//!
//! How long they work is up to the script. `#t` may be any number that `__len` says; and without a metatable, too, for a table with the keys 1, 2, 4, 8 and so on up to 2^62 may
//! well be 2^62 long. 5.1 and LuaJIT insert at -2^31 if they are told to, and move nothing two billion times. `move` moves what is not there. The old quicksort is quadratic for
//! an order that is easy to find: hours for a million numbers. What remains, a copy of all that there is, still takes seconds for the tables of a large memory.
//!
//! **What is surely short is left to the originals**: appending, removing the last, moving a few, and sorting with a comparison (which is a call, and meets the hook). The C
//! function is called as if Lua had called it, so also what it says of wrong arguments is its own.
//!
//! **Steps.** Elements are looked at one by one, some ten nanoseconds each. But one may take much longer: a nil that is stored under a new key has the whole table
//! rebuilt (5.1 to 5.3, LuaJIT), `__index` may lead through two thousand tables. So the hook is looked at every [`BETWEEN`] elements, which costs next to nothing:
//! one read.
//!
//! **LuaJIT** compiles what is usual, and is fast where it does not. `remove` and `move` are Lua code there, which the hook and the guards in compiled code stop as any other. `concat` becomes
//! part of compiled code, and joins nothing that is not there: a million short fields take it 15 to 80 ms. So these three stay. In front of `insert` is a Lua function ([`super::front`]).
//!
//! What the versions do differently is in [`dialect`].

#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
mod blocks;
#[cfg(not(feature = "luajit"))]
mod concat;
mod dialect;
mod insert;
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
mod relocate;
#[cfg(not(feature = "luajit"))]
mod remove;
mod sort;

use super::steps;
use super::stock::original;
use crate::sys::{self, lua_CFunction, lua_State};
use std::ffi::{CStr, c_int};

#[cfg(feature = "luajit")]
pub use insert::insert;

/// Elements between two looks. A power of two. Each may take as long as it takes to rebuild the table: some ten milliseconds for a large one.
const BETWEEN: dialect::Index = match cfg!(any(
    feature = "lua51",
    feature = "lua52",
    feature = "luajit"
)) {
    true => 4,
    false => 16,
};

/// The originals, as far as they are C functions.
pub struct Stock {
    /// `table.insert`
    pub insert: Option<lua_CFunction>,
    /// `table.remove`
    #[cfg(not(feature = "luajit"))]
    pub remove: Option<lua_CFunction>,
    /// `table.move`
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    pub relocate: Option<lua_CFunction>,
    /// `table.concat`
    #[cfg(not(feature = "luajit"))]
    pub concat: Option<lua_CFunction>,
    /// `table.sort`
    pub sort: Option<lua_CFunction>,
}

impl Stock {
    /// Those of the library at this index.
    ///
    /// # Safety
    /// In a C function that Lua has called, with free slots, in a state that no script has touched. May raise.
    pub unsafe fn of(l: *mut lua_State, library: c_int) -> Stock {
        // SAFETY: by the caller.
        let field = |name: &CStr| unsafe {
            sys::lua_getfield(l, library, name.as_ptr());
            let f = sys::lua_tocfunction(l, -1);
            sys::lua_settop(l, -2);
            f
        };
        Stock {
            insert: field(c"insert"),
            #[cfg(not(feature = "luajit"))]
            remove: field(c"remove"),
            #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
            relocate: field(c"move"),
            #[cfg(not(feature = "luajit"))]
            concat: field(c"concat"),
            sort: field(c"sort"),
        }
    }

    /// Each with what stands in for it.
    pub fn replacements(&self) -> [(Option<lua_CFunction>, lua_CFunction); COUNT] {
        [
            (self.insert, insert::insert),
            (self.sort, sort::sort),
            #[cfg(not(feature = "luajit"))]
            (self.remove, remove::remove),
            #[cfg(not(feature = "luajit"))]
            (self.concat, concat::concat),
            #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
            (self.relocate, relocate::relocate),
        ]
    }
}

/// So many functions are replaced.
pub const COUNT: usize = if cfg!(feature = "luajit") {
    2
} else if cfg!(any(feature = "lua51", feature = "lua52")) {
    4
} else {
    5
};

/// Looks up if it is time, at this element.
///
/// # Safety
/// As [`steps::look_up`].
#[inline(always)]
unsafe fn pass(l: *mut lua_State, i: dialect::Index) {
    if i & (BETWEEN - 1) == 0 {
        // SAFETY: by the caller.
        unsafe { steps::look_up(l) };
    }
}
