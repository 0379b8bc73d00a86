//! The originals: which functions they are, and how those of this very release behave.
//!
//! Both are learned once, in a state of our own that no script has touched. Functions are told by their addresses, which are the same in every
//! state of a process.

use super::tables;
use crate::sys::{self, lua_CFunction, lua_State};
use std::ffi::{CStr, c_int};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// The functions.
pub struct Stock {
    /// `string.find`
    pub find: lua_CFunction,
    /// `string.match`
    pub find_match: lua_CFunction,
    /// `string.gmatch`
    pub gmatch: lua_CFunction,
    /// `string.gsub`
    pub gsub: lua_CFunction,
    /// `string.rep`
    pub rep: lua_CFunction,
    /// Those of `table`.
    pub tables: tables::Stock,
    /// The global function.
    pub load: Option<lua_CFunction>,
    /// The global function, where there is one.
    pub loadstring: Option<lua_CFunction>,
    /// The global function.
    #[cfg(not(feature = "luajit"))]
    pub pcall: Option<lua_CFunction>,
    /// The global function.
    #[cfg(not(feature = "luajit"))]
    pub xpcall: Option<lua_CFunction>,
    /// The global function.
    #[cfg(feature = "luajit")]
    pub select: Option<lua_CFunction>,
    /// The code of what stands in front of some of them, if it could be made.
    #[cfg(feature = "luajit")]
    pub fronts: Option<super::front::Codes>,
}

/// No empty match directly behind another match.
pub const APART: u8 = 1;
/// A start beyond the end of the subject is its end.
pub const END_IS_LAST_START: u8 = 2;
/// An iterator of `gmatch` does not forget how deep it was when an error ended it.
pub const KEEPS_DEPTH: u8 = 4;
/// A string may stand in for a table: what it needs besides `__index` is no `__len`.
pub const TEXT_IS_TABLE: u8 = 8;
/// `table.insert` inserts at any position.
pub const ANY_POSITION: u8 = 16;

/// In the order of the answers to [`QUESTIONS`].
const ASKED: [u8; 5] = [
    APART,
    END_IS_LAST_START,
    KEEPS_DEPTH,
    TEXT_IS_TABLE,
    ANY_POSITION,
];

/// What is so. Written once, before any function is replaced, so before it is read.
static FACTS: AtomicU8 = AtomicU8::new(0);

/// Whether this is so.
#[inline(always)]
pub fn has(fact: u8) -> bool {
    // Relaxed: a state on which a guard has been installed carries what its thread has seen, however it is handed to another.
    FACTS.load(Ordering::Relaxed) & fact != 0
}

static STOCK: OnceLock<Stock> = OnceLock::new();

/// The functions; none for want of memory, and then it is tried again the next time.
pub fn stock() -> Option<&'static Stock> {
    seen().or_else(ask)
}

/// The same, if they have been looked at.
#[inline]
pub fn seen() -> Option<&'static Stock> {
    STOCK.get()
}

/// Has the original do it, as if Lua had called that: so what it says of wrong arguments is its own.
///
/// # Safety
/// In the C function that stands in for it, with its arguments. May raise.
#[inline(always)]
pub unsafe fn original(
    l: *mut lua_State,
    which: impl FnOnce(&Stock) -> Option<lua_CFunction>,
) -> c_int {
    // It has been found, or nothing would stand in for it.
    match seen().and_then(which) {
        // SAFETY: by the caller.
        Some(f) => unsafe { f(l) },
        None => 0,
    }
}

/// Not a part of who asks: it takes ten kilobytes of the C stack, on which a script nests calls of `gsub` and `sort`.
#[cold]
#[inline(never)]
fn ask() -> Option<&'static Stock> {
    // SAFETY: a state of our own, closed before we return. What may raise runs in `learn`, protected.
    let learned = unsafe {
        let l = sys::luaL_newstate();
        if l.is_null() {
            return None;
        }
        let mut learned: Option<(Stock, u8)> = None;
        sys::protected(l, learn, (&raw mut learned).cast());
        sys::lua_close(l);
        learned
    };
    let (learned, facts) = learned?;
    FACTS.store(facts, Ordering::Relaxed);
    Some(STOCK.get_or_init(|| learned))
}

/// Asks the library; returns one boolean for each fact.
const QUESTIONS: &CStr = c"
local string, table, pcall = ...
local iterator, complex = string.gmatch('x', '['), false
for i = 1, 250 do
  local _, message = pcall(iterator)
  complex = complex or string.find(message, 'complex', 1, true) ~= nil
end
return string.gsub('ab', 'a*', 'x') == 'xbx', string.find('a', '', 9) ~= nil, complex,
  (pcall(table.concat, '', '', 1, 0)), (pcall(table.insert, {}, 9, true))
";

/// Fills an `Option<(Stock, u8)>`, to which the argument points.
unsafe extern "C-unwind" fn learn(l: *mut lua_State) -> c_int {
    // SAFETY: called by `stock`. Nothing here owns anything.
    unsafe {
        let into = sys::lua_touserdata(l, 1).cast::<Option<(Stock, u8)>>();
        open(l, sys::luaopen_base, c"");
        let string = open(l, sys::luaopen_string, c"string");
        let table = open(l, sys::luaopen_table, c"table");
        if string == 0 || table == 0 || sys::luaL_loadstring(l, QUESTIONS.as_ptr()) != 0 {
            return 0;
        }
        sys::lua_pushvalue(l, string);
        sys::lua_pushvalue(l, table);
        sys::lua_getglobal(l, c"pcall".as_ptr());
        sys::lua_call(l, 3, ASKED.len() as c_int);
        let mut facts = 0;
        for (i, fact) in ASKED.into_iter().enumerate() {
            if sys::lua_toboolean(l, i as c_int - ASKED.len() as c_int) != 0 {
                facts |= fact;
            }
        }
        let field = |name: &CStr| {
            sys::lua_getfield(l, string, name.as_ptr());
            sys::lua_tocfunction(l, -1)
        };
        let global = |name: &CStr| {
            sys::lua_getglobal(l, name.as_ptr());
            sys::lua_tocfunction(l, -1)
        };
        if let (Some(find), Some(find_match), Some(gmatch), Some(gsub), Some(rep)) = (
            field(c"find"),
            field(c"match"),
            field(c"gmatch"),
            field(c"gsub"),
            field(c"rep"),
        ) {
            let stock = Stock {
                find,
                find_match,
                gmatch,
                gsub,
                rep,
                tables: tables::Stock::of(l, table),
                load: global(c"load"),
                loadstring: global(c"loadstring"),
                #[cfg(not(feature = "luajit"))]
                pcall: global(c"pcall"),
                #[cfg(not(feature = "luajit"))]
                xpcall: global(c"xpcall"),
                #[cfg(feature = "luajit")]
                select: global(c"select"),
                #[cfg(feature = "luajit")]
                fronts: super::front::translate(l, string),
            };
            into.write(Some((stock, facts)));
        }
    }
    0
}

/// Opens a library as `luaL_openlibs` does; where its table is on the stack, or 0.
unsafe fn open(l: *mut lua_State, library: lua_CFunction, name: &CStr) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushcfunction(l, library);
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_call(l, 1, 1);
        match sys::lua_type(l, -1) {
            sys::LUA_TTABLE => sys::lua_gettop(l),
            _ => 0,
        }
    }
}
