//! LuaJIT: Lua functions in front of the guarded `find`, `rep` and `table.insert`.
//!
//! LuaJIT compiles three of the originals, `rep`, `find` of plain text and an `insert` that appends, into calls that cost next to nothing and that it moves out of loops; at a
//! C function like ours a trace ends, or is stitched to the next. So into the place of these comes a Lua function, which becomes part of its caller's
//! trace. It calls the original where that surely ends within a millisecond and cannot fail, and the guarded function otherwise ([`TEXTS`]).
//!
//! - **Which patterns are text**, that is without special characters, is looked up in a table. What is not there yet, the function [`note`] notes; when
//!   there are many, it forgets all. Nothing else writes to the table, and a script cannot get at it, but by the library `debug`.
//! - **The guarded functions are tail-called**, which leaves no frame in LuaJIT: error messages name the caller, and the function as it was called there. `...` passes
//!   as many arguments as there were, for "no value" is not "nil".
//! - **The originals are called as others are**, since a trace may have fifteen tail calls (`loopunroll`); with more it is given up, and the loop at last blacklisted. But for
//!   the longest searches that is right: what is between two guards may take as many times as long as there are calls in a trace, which are 150 of the others.
//! - **No trace begins at a vararg function** in LuaJIT. So none can fail there so often that it is blacklisted, and with it every loop that calls it.
//! - **No line information**: the code is stripped. An interrupt that arrives in it names the line of its caller, and a traceback says `[C]`, as of the guarded functions.
//! - **It does not loop**: a loop around it has guards of its own ([`crate::jit`]), and a C function that calls it again and again meets the hook in it.
//! - **`type` and `select`** must be LuaJIT's own. That is seen by calling `type`: no other function that is written in assembler answers so. `select` is told by its address.
//!
//! What `table.insert` moves in the midst of a table is moved by a loop in Lua, too ([`shift`]), which the guarded function calls.
//!
//! In the interpreter this costs some 30 ns a call. So there is nothing in front where the compiler is off when guards are installed.
//!
//! Dropped: a copy of the original whose C function is ours, for LuaJIT tells what to compile by another field; compiled code would never look up.

use super::find::{self, is_plain};
use super::stock::{Stock, stock};
use super::{rep, tables};
use crate::sys::{self, lua_CFunction, lua_State};
use crate::{compiler, library};
use std::ffi::{CStr, c_int, c_void};

/// What is in front of which function, as chunks that make it; each is called with the same values.
///
/// A search takes at most 0.1 ms, or 0.9 ms if it is tail-called: 6 ns for each character, when the first one of the pattern is everywhere; 0.05 ns
/// when it is the only one. A repetition takes at most 0.1 ms. To append to a table cannot fail.
const TEXTS: [&CStr; 4] = [
    c"local find, guarded, type, _, is_text, note = ...
return function(...)
  local s, p, init, plain = ...
  local text = is_text[p]
  if (text or plain and type(p) == 'string') and type(s) == 'string' and (init == nil or type(init) == 'number')
    and #p <= 64 then
    if #s <= 16384 or #p <= 1 and #s <= 524288 then
      local from, to = find(s, p, init, true)
      if from then return from, to end
      return nil
    elseif #s <= 131072 then
      return find(s, p, init, true)
    end
  end
  if text == nil then return note(...) end
  return guarded(...)
end",
    c"local rep, guarded, type = ...
return function(...)
  local s, n, separator = ...
  if type(s) == 'string' and type(n) == 'number' and n >= 0 and (separator == nil or type(separator) == 'string')
    and n <= 131072 and n * (#s + (separator and #separator or 0)) <= 131072 then
    local result = rep(s, n, separator)
    return result
  end
  return guarded(...)
end",
    c"local insert, guarded, type, select = ...
return function(...)
  local t, value, third = ...
  if third == nil and type(t) == 'table' and select('#', ...) == 2 then
    insert(t, value)
    return
  end
  return guarded(...)
end",
    // See `shift`.
    c"return function(t, from, to) for i = to, from, -1 do t[i] = t[i - 1] end end",
];

/// So many of them are in front of a function.
const FRONTS: usize = 3;
/// The last one is not.
const SHIFT: usize = FRONTS;

/// Longer patterns are not noted. As in the text above.
const LONGEST: usize = 64;

/// So many patterns are noted.
const MOST: sys::lua_Integer = 256;

/// A chunk, stripped.
#[derive(Clone, Copy)]
pub struct Code {
    bytes: [u8; Code::ROOM],
    length: usize,
}

impl Code {
    const ROOM: usize = 1024;

    /// Pushes the chunk; or something else, and false.
    ///
    /// # Safety
    /// In a C function that Lua has called, in `l`, with a free slot. This LuaJIT has written the code.
    unsafe fn load(&self, l: *mut lua_State) -> bool {
        let (bytes, name) = (self.bytes.as_ptr().cast(), c"=[C]".as_ptr());
        // SAFETY: by the caller.
        unsafe { sys::luaL_loadbuffer(l, bytes, self.length, name) == 0 }
    }
}

/// A chunk for each text.
pub type Codes = [Code; TEXTS.len()];

/// Translates the texts; the library `string` is at this index. None if there is no room for the code.
///
/// # Safety
/// In a C function that Lua has called, with free slots, in a state that no script has touched. May raise.
pub unsafe fn translate(l: *mut lua_State, string: c_int) -> Option<Codes> {
    let mut codes = [Code {
        bytes: [0; Code::ROOM],
        length: 0,
    }; TEXTS.len()];
    for (text, code) in TEXTS.into_iter().zip(&mut codes) {
        // SAFETY: by the caller. The bytes are copied while their string is on the stack.
        unsafe {
            sys::lua_getfield(l, string, c"dump".as_ptr());
            if sys::luaL_loadstring(l, text.as_ptr()) != 0 {
                return None;
            }
            sys::lua_pushboolean(l, 1);
            sys::lua_call(l, 2, 1);
            let mut length = 0;
            let bytes: *const u8 = sys::lua_tolstring(l, -1, &mut length).cast();
            if bytes.is_null() || length > Code::ROOM {
                return None;
            }
            bytes.copy_to_nonoverlapping(code.bytes.as_mut_ptr(), length);
            code.length = length;
            sys::lua_settop(l, -2);
        }
    }
    Some(codes)
}

/// Their addresses are the keys of the functions in the registry.
static KEYS: [u8; TEXTS.len()] = [0; TEXTS.len()];

/// Pushes what stands in front of `guarded`, always the same function in a state; the original is at `index`, counted from the top. False, and nothing, if
/// there is nothing in front.
///
/// # Safety
/// In a C function that Lua has called, in `l`, with a dozen free slots. May raise. `guarded` guards the original.
pub unsafe fn push(l: *mut lua_State, index: c_int, stock: &Stock, guarded: lua_CFunction) -> bool {
    let have_one: [lua_CFunction; FRONTS] = [find::find, rep::rep, tables::insert];
    let Some(which) = have_one
        .iter()
        .position(|&f| f as usize == guarded as usize)
    else {
        return false;
    };
    let key: *const c_void = (&raw const KEYS[which]).cast();
    // SAFETY: by the caller.
    unsafe {
        let top = sys::lua_gettop(l);
        let original = top + 1 + index;
        let is_there = compiler::is_on(l)
            && (sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key) == sys::LUA_TFUNCTION || {
                let code = stock.fronts.as_ref().map(|codes| &codes[which]);
                code.is_some_and(|code| make(l, (stock, code), original, guarded, key))
            });
        if is_there {
            sys::lua_insert(l, top + 1);
        }
        sys::lua_settop(l, top + c_int::from(is_there));
        is_there
    }
}

/// Makes the function, on top, and keeps it. False if it cannot be made.
unsafe fn make(
    l: *mut lua_State,
    (stock, code): (&Stock, &Code),
    original: c_int,
    guarded: lua_CFunction,
    key: *const c_void,
) -> bool {
    // SAFETY: by the caller, `push`. The code is what this LuaJIT has written.
    unsafe {
        if !push_type(l) {
            return false;
        }
        let own_type = sys::lua_gettop(l);
        if !push_select(l, stock) {
            return false;
        }
        let own_select = sys::lua_gettop(l);
        if !code.load(l) {
            return false;
        }
        sys::lua_pushvalue(l, original);
        sys::lua_pushcfunction(l, guarded);
        sys::lua_pushvalue(l, own_type);
        sys::lua_pushvalue(l, own_select);
        sys::lua_createtable(l, 0, 0);
        sys::lua_pushvalue(l, -1);
        sys::lua_pushinteger(l, 0);
        sys::lua_pushcclosure(l, note, 2);
        sys::lua_call(l, 6, 1);
        sys::lua_pushvalue(l, -1);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key);
    }
    true
}

/// Moves up the elements of the table at index 1, which has no metatable, by one, to `from` and all behind it up to `to`: by a loop in Lua, which LuaJIT compiles
/// to what its own `table.insert` takes, a nanosecond an element (by the C API it is 13), and which stops as all code does. False: there is none, and nothing has been done.
///
/// # Safety
/// In a C function that Lua has called, in `l`, with five free slots. May raise.
pub unsafe fn shift(l: *mut lua_State, from: sys::lua_Integer, to: sys::lua_Integer) -> bool {
    let key: *const c_void = (&raw const KEYS[SHIFT]).cast();
    // SAFETY: by the caller. The code is what this LuaJIT has written.
    unsafe {
        let top = sys::lua_gettop(l);
        if sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key) != sys::LUA_TFUNCTION {
            let code = stock().and_then(|s| s.fronts.as_ref());
            if !code.is_some_and(|codes| codes[SHIFT].load(l)) {
                sys::lua_settop(l, top);
                return false;
            }
            sys::lua_call(l, 0, 1);
            sys::lua_pushvalue(l, -1);
            sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key);
        }
        sys::lua_pushvalue(l, 1);
        sys::lua_pushinteger(l, from);
        sys::lua_pushinteger(l, to);
        sys::lua_call(l, 3, 0);
        sys::lua_settop(l, top);
    }
    true
}

/// Pushes LuaJIT's `type`. False if it is not to be found.
unsafe fn push_type(l: *mut lua_State) -> bool {
    // SAFETY: by the caller. What is called is a function of LuaJIT's that is written in assembler, for it has no address.
    unsafe {
        if !push_global(l, c"type") || sys::lua_tocfunction(l, -1).is_some() {
            return false;
        }
        sys::lua_pushvalue(l, -1);
        sys::lua_pushstring(l, c"".as_ptr());
        if sys::lua_pcall(l, 1, 1, 0) != 0 {
            return false;
        }
        sys::lua_pushstring(l, c"string".as_ptr());
        let is_it = sys::lua_rawequal(l, -1, -2) != 0;
        sys::lua_settop(l, -3);
        is_it
    }
}

/// Pushes LuaJIT's `select`. False if it is not to be found.
unsafe fn push_select(l: *mut lua_State, stock: &Stock) -> bool {
    // SAFETY: by the caller.
    unsafe {
        push_global(l, c"select")
            && sys::lua_tocfunction(l, -1).map(|f| f as usize) == stock.select.map(|f| f as usize)
    }
}

/// Pushes the global function of this name. False if there is none.
unsafe fn push_global(l: *mut lua_State, name: &CStr) -> bool {
    // SAFETY: by the caller.
    unsafe {
        if !library::loaded(l, c"_G") {
            return false;
        }
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_rawget(l, -2);
        sys::lua_iscfunction(l, -1) != 0
    }
}

// --- noting ---

// Upvalues: the table, and how many patterns are in it.
const IS_TEXT: c_int = 1;
const COUNT: c_int = 2;

/// The guarded `find`, of a pattern that is not in the table: it is noted.
unsafe extern "C-unwind" fn note(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua, a closure that `make` has made. Nothing here owns anything.
    unsafe {
        if sys::lua_type(l, 2) == sys::LUA_TSTRING && sys::lua_toboolean(l, 4) == 0 {
            let mut length = 0;
            let p: *const u8 = sys::lua_tolstring(l, 2, &mut length).cast();
            if length <= LONGEST {
                make_room(l);
                sys::lua_pushvalue(l, 2);
                sys::lua_pushboolean(l, c_int::from(is_plain(l, p, length)));
                sys::lua_rawset(l, sys::lua_upvalueindex(IS_TEXT));
            }
        }
        find::find(l)
    }
}

/// One more pattern is to come into the table.
unsafe fn make_room(l: *mut lua_State) {
    let is_text = sys::lua_upvalueindex(IS_TEXT);
    let count = sys::lua_upvalueindex(COUNT);
    // SAFETY: by the caller, `note`. To fields that are there, nil is assigned, which a traversal allows.
    unsafe {
        let mut noted = sys::lua_tointeger(l, count);
        if noted >= MOST {
            noted = 0;
            sys::lua_pushnil(l);
            while sys::lua_next(l, is_text) != 0 {
                sys::lua_settop(l, -2);
                sys::lua_pushvalue(l, -1);
                sys::lua_pushnil(l);
                sys::lua_rawset(l, is_text);
            }
        }
        sys::lua_pushinteger(l, noted + 1);
        sys::lua_replace(l, count);
    }
}
