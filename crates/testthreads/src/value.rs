//! Values on their way from one Lua state to another: nil, booleans, numbers and strings, owned by Rust.
//!
//! Reading never raises, so it can be done with Rust values alive; pushing may. Hence the order of every transfer: check the
//! types (which may raise), read into a `Vec`, hand that to its owner, and push only from where the owner is a userdata.

use std::ffi::{CStr, c_int};

use mlua_sys::*;

/// One value.
pub enum Value {
    /// `nil`
    Nil,
    /// A boolean.
    Boolean(bool),
    /// A number of subtype integer (5.3 and later).
    Integer(lua_Integer),
    /// Any other number.
    Number(lua_Number),
    /// A string, of any bytes.
    Bytes(Box<[u8]>),
}

/// Only from 5.3 on are integers a subtype that a transfer has to keep.
const HAS_INTEGERS: bool = cfg!(any(feature = "lua53", feature = "lua54", feature = "lua55"));

impl Value {
    /// The value at `idx`, or `None` if it is of a type that belongs to its state. Raises nothing and changes nothing.
    ///
    /// # Safety
    /// `l` is a live state on its own thread and `idx` a valid index.
    pub unsafe fn read(l: *mut lua_State, idx: c_int) -> Option<Value> {
        // SAFETY: by the caller; `lua_tolstring` of a string converts nothing, so it allocates nothing.
        unsafe {
            Some(match lua_type(l, idx) {
                LUA_TNIL => Value::Nil,
                LUA_TBOOLEAN => Value::Boolean(lua_toboolean(l, idx) != 0),
                LUA_TNUMBER if HAS_INTEGERS && lua_isinteger(l, idx) != 0 => {
                    Value::Integer(lua_tointeger(l, idx))
                }
                LUA_TNUMBER => Value::Number(lua_tonumber(l, idx)),
                LUA_TSTRING => Value::Bytes(bytes(l, idx).into()),
                _ => return None,
            })
        }
    }

    /// Pushes the value.
    ///
    /// # Safety
    /// `l` is a live state on its own thread, with a free stack slot. May raise a memory error.
    pub unsafe fn push(&self, l: *mut lua_State) {
        // SAFETY: by the caller.
        unsafe {
            match self {
                Value::Nil => lua_pushnil(l),
                Value::Boolean(b) => lua_pushboolean(l, c_int::from(*b)),
                Value::Integer(i) => lua_pushinteger(l, *i),
                Value::Number(n) => lua_pushnumber(l, *n),
                Value::Bytes(s) => {
                    lua_pushlstring(l, s.as_ptr().cast(), s.len());
                }
            }
        }
    }
}

/// The bytes of the string at `idx`.
///
/// # Safety
/// There is a string at `idx`, and it stays there (or elsewhere in the state) while the slice is used.
pub unsafe fn bytes<'a>(l: *mut lua_State, idx: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: by the caller; Lua's strings are `len` bytes long and do not move.
    unsafe {
        let start = lua_tolstring(l, idx, &mut len);
        std::slice::from_raw_parts(start.cast(), len)
    }
}

/// Raises Lua's usual error if one of the values from `first` to the top cannot be sent.
///
/// # Safety
/// `l` is a live state on its own thread. Raises: nothing with a destructor may be alive in the caller.
pub unsafe fn check_all(l: *mut lua_State, first: c_int) {
    // SAFETY: by the caller.
    unsafe {
        for idx in first..=lua_gettop(l) {
            if !matches!(
                lua_type(l, idx),
                LUA_TNIL | LUA_TBOOLEAN | LUA_TNUMBER | LUA_TSTRING
            ) {
                const NEEDED: &CStr = c"nil, boolean, number or string expected";
                luaL_argerror(l, idx, NEEDED.as_ptr());
            }
        }
    }
}

/// The values from `first` to the top, up to the first that cannot be sent.
///
/// # Safety
/// As [`Value::read`].
pub unsafe fn read_all(l: *mut lua_State, first: c_int) -> Vec<Value> {
    // SAFETY: by the caller.
    unsafe {
        (first..=lua_gettop(l))
            .map_while(|idx| Value::read(l, idx))
            .collect()
    }
}

/// Pushes all the values and returns how many they are.
///
/// # Safety
/// `values` belongs to a userdata on the stack, or to a frame that an error does not pass. May raise.
pub unsafe fn push_all(l: *mut lua_State, values: &[Value]) -> c_int {
    let n = values.len() as c_int;
    // SAFETY: by the caller.
    unsafe {
        luaL_checkstack(l, n, c"too many values".as_ptr());
        for value in values {
            value.push(l);
        }
    }
    n
}
