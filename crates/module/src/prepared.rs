//! `leash.limits(t)`: limits that have been read once.
//!
//! To read a table of limits takes a fourth of what a call with limits costs: it is walked, its keys are compared, its numbers are checked. Whoever makes the same call again and
//! again can have that done beforehand. What comes back is a userdata that cannot be changed, and goes wherever limits go.
//!
//! It is known by its size and a number that is drawn when the library is loaded, without a look at its metatable: a script that has `debug` can give that to
//! something else, and cannot make the number. Plain data, so there is nothing to finalize. A copy of the table is kept beside it (as its user
//! value, in 5.1 and LuaJIT its environment) if it has `on_warn`, which is a function, and read again at each call.

use crate::limits;
use crate::table::set_functions;
use crate::text::Text;
use leash::Limits;
use leash::sys::{self, lua_State};
use std::ffi::{CStr, c_int, c_void};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the class calls itself.
const CLASS: &CStr = c"leash.limits";

static KEY: u8 = 0;

fn key() -> *const c_void {
    (&raw const KEY).cast()
}

/// What they begin with. Zero: not drawn yet.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The block.
#[repr(C)]
struct Prepared {
    number: u64,
    limits: Limits,
}

/// Draws the number, and makes the class.
///
/// # Safety
/// In a C function, with four free slots. May raise.
pub unsafe fn open(l: *mut lua_State) {
    let drawn = RandomState::new().hash_one(0) | 1;
    // Relaxed: a number by itself. The first thread has drawn it for all.
    let _ = NUMBER.compare_exchange(0, drawn, Ordering::Relaxed, Ordering::Relaxed);
    // SAFETY: by the caller.
    unsafe {
        if sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key()) != sys::LUA_TTABLE {
            sys::lua_createtable(l, 0, 3);
            set_functions(l, &[(c"__tostring", to_string)]);
            for field in [c"__name", c"__metatable"] {
                sys::lua_pushstring(l, CLASS.as_ptr());
                sys::lua_setfield(l, -2, field.as_ptr());
            }
            sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key());
        }
        sys::lua_settop(l, -2);
    }
}

/// The limits that the userdata at `index` is, if it is one of ours. They stay while it is on the stack.
///
/// # Safety
/// There is a userdata at `index`.
#[inline]
pub unsafe fn of<'a>(l: *mut lua_State, index: c_int) -> Option<&'a Limits> {
    // SAFETY: by the caller. Only a block of our size is read, and only one that begins with our number is taken for ours; Lua aligns blocks for any type.
    unsafe {
        if sys::lua_rawlen(l, index) as usize != size_of::<Prepared>() {
            return None;
        }
        let block = sys::lua_touserdata(l, index).cast::<Prepared>();
        let number = (&raw const (*block).number).read_unaligned();
        // Relaxed: it was drawn before the module's functions could be called.
        (number == NUMBER.load(Ordering::Relaxed)).then(|| &(*block).limits)
    }
}

/// Puts the table that was kept for the one at `index` in its place: it has the function.
///
/// # Safety
/// `of` knows it, and it warns. In a C function, with two free slots.
#[cold]
pub unsafe fn unpack(l: *mut lua_State, index: c_int) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_getuservalue(l, index);
        if sys::lua_type(l, -1) != sys::LUA_TTABLE {
            sys::lua_createtable(l, 0, 0); // a script with `debug` has taken it away
            sys::lua_replace(l, -2);
        }
        sys::lua_replace(l, index);
    }
}

/// `leash.limits(seconds | table)`
pub unsafe extern "C-unwind" fn limits(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe {
        if sys::lua_type(l, 1) == sys::LUA_TUSERDATA && of(l, 1).is_some() {
            sys::lua_settop(l, 1);
            return 1;
        }
        let mut room = limits::Room::uninit();
        let read = *limits::check(l, &mut room, 1);
        let block = sys::lua_newuserdata(l, size_of::<Prepared>()).cast::<Prepared>();
        block.write(Prepared {
            number: NUMBER.load(Ordering::Relaxed),
            limits: read,
        });
        let made = sys::lua_gettop(l);
        if read.warns() {
            if let Err(why) = limits::push_on_warn(l, 1) {
                limits::refuse(l, 1, why);
            }
            sys::lua_settop(l, made);
            sys::lua_createtable(l, 0, 4);
            sys::lua_pushnil(l);
            while sys::lua_next(l, 1) != 0 {
                sys::lua_pushvalue(l, -2);
                sys::lua_insert(l, -2);
                sys::lua_rawset(l, made + 1);
            }
            sys::lua_setuservalue(l, made);
        }
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key());
        sys::lua_setmetatable(l, made);
        sys::lua_settop(l, made);
    }
    1
}

/// `tostring(limits)`
unsafe extern "C-unwind" fn to_string(l: *mut lua_State) -> c_int {
    // SAFETY: as `limits`.
    unsafe {
        let limits = match sys::lua_type(l, 1) {
            sys::LUA_TUSERDATA => of(l, 1),
            _ => None,
        };
        let Some(limits) = limits else {
            return sys::luaL_error(l, c"limits expected".as_ptr());
        };
        // The text is on the stack before Lua is called, and owns nothing.
        let text = Text::of(limits);
        sys::lua_pushstring(l, text.as_ptr());
    }
    1
}
