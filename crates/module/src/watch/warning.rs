//! The functions that are called before a limit is reached: `on_warn`.
//!
//! The engine knows a function by a number, its *mark*. A table with weak values has them by their marks; and a table with weak keys keeps each for as long
//! as a coroutine is there whose watch it belongs to. (Each is in a table of its own, for a C function without upvalues is no object, and would
//! stay. The main state's is at index 1: 5.1 and LuaJIT cannot push the main state from a coroutine.)
//!
//! The function runs in the hook of what is running, with hooks off, under the limits that it warns of.

use crate::limits::{Refused, push_on_warn};
use crate::table::set_number;
use leash::sys::{self, lua_State};
use leash::{Extension, Guest, Limits, Warning};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Registry keys: the addresses.
static BY_MARK: u8 = 0;
static BY_COROUTINE: u8 = 1;

const MAIN: sys::lua_Integer = 1;

fn key(of: &'static u8) -> *const c_void {
    std::ptr::from_ref(of).cast()
}

/// A mark that nobody has. Zero is that of no function.
fn new_mark() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // Relaxed: a counter. (A float holds it exactly for longer than a process lives.)
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Makes the tables.
///
/// # Safety
/// In a C function, with four free slots. May raise.
pub unsafe fn open(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        for (of, mode) in [(&BY_MARK, c"v"), (&BY_COROUTINE, c"k")] {
            if sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(of)) != sys::LUA_TTABLE {
                sys::lua_createtable(l, 0, 0);
                sys::lua_createtable(l, 0, 1);
                sys::lua_pushstring(l, mode.as_ptr());
                sys::lua_setfield(l, -2, c"__mode".as_ptr());
                sys::lua_setmetatable(l, -2);
                sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(of));
            }
            sys::lua_settop(l, -2);
        }
    }
}

/// Pushes the key of a coroutine in the second table: the one at index `thread`, 0: the running one.
unsafe fn push_key(l: *mut lua_State, guest: Guest, thread: c_int) {
    // SAFETY: in a C function; one free slot.
    unsafe {
        let co = match thread {
            0 => l,
            _ => sys::lua_tothread(l, thread),
        };
        if co == guest.main() {
            sys::lua_pushinteger(l, MAIN);
        } else if thread == 0 {
            sys::lua_pushthread(l);
        } else {
            sys::lua_pushvalue(l, thread);
        }
    }
}

/// Keeps the function at index `function` (0: none) for a coroutine. Returns its mark.
///
/// # Safety
/// In a C function, with six free slots. May raise. Indices are not relative to the top.
pub unsafe fn keep(l: *mut lua_State, guest: Guest, thread: c_int, function: c_int) -> u64 {
    if function == 0 {
        return 0;
    }
    let mark = new_mark();
    // SAFETY: by the caller.
    unsafe {
        make(l, mark, function);
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&BY_COROUTINE));
        push_key(l, guest, thread);
        sys::lua_pushvalue(l, -3);
        sys::lua_rawset(l, -3);
        sys::lua_settop(l, -3);
    }
    mark
}

/// Pushes the table of a new mark, with the function at index `function` in it, by which it is known as long as that table is.
///
/// # Safety
/// As [`keep`].
unsafe fn make(l: *mut lua_State, mark: u64, function: c_int) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_createtable(l, 1, 0);
        sys::lua_pushvalue(l, function);
        sys::lua_rawseti(l, -2, 1);
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&BY_MARK));
        sys::lua_pushnumber(l, mark as f64);
        sys::lua_pushvalue(l, -3);
        sys::lua_rawset(l, -3);
        sys::lua_settop(l, -2);
    }
}

/// `limits`, which are those at index 1, with the mark of the function in them. Puts its table below everything else, where it has to stay while the call is open: so
/// it goes when that goes, also if its coroutine is dropped while it is suspended.
///
/// # Safety
/// In a C function called by Lua. May raise.
#[cold]
pub unsafe fn for_call(l: *mut lua_State, guest: Guest, limits: Limits) -> Result<Limits, Refused> {
    let mark = new_mark();
    // SAFETY: by the caller. `Limits` own nothing.
    unsafe {
        sys::luaL_checkstack(l, 6, std::ptr::null());
        let after = push_on_warn(l, 1)?;
        guest.on_ward(warn, super::doom::push);
        let function = sys::lua_gettop(l);
        make(l, mark, function);
        sys::lua_remove(l, function);
        sys::lua_insert(l, 1);
        Ok(limits.warn(after, mark))
    }
}

/// Keeps the function of this mark for the coroutine on top of the stack, too.
///
/// # Safety
/// As [`keep`].
pub unsafe fn share(l: *mut lua_State, mark: u64) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&BY_COROUTINE));
        sys::lua_pushvalue(l, -2);
        push_table(l, mark);
        sys::lua_rawset(l, -3);
        sys::lua_settop(l, -2);
    }
}

/// Forgets the function of a coroutine.
///
/// # Safety
/// As [`keep`].
pub unsafe fn forget(l: *mut lua_State, guest: Guest, thread: c_int) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&BY_COROUTINE));
        push_key(l, guest, thread);
        sys::lua_pushnil(l);
        sys::lua_rawset(l, -3);
        sys::lua_settop(l, -2);
    }
}

/// Pushes the table that keeps the functions, by coroutine.
///
/// # Safety
/// In a C function, with a free slot.
pub unsafe fn push_functions(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&BY_COROUTINE)) };
}

/// Pushes the table of a mark, or nil.
unsafe fn push_table(l: *mut lua_State, mark: u64) {
    // SAFETY: in a C function or a hook, with two free slots. Nothing is allocated.
    unsafe {
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&BY_MARK));
        sys::lua_pushnumber(l, mark as f64);
        sys::lua_rawget(l, -2);
        sys::lua_remove(l, -2);
    }
}

/// Calls the function, in the hook. For [`Guest::on_ward`]. **longjmp**: it may raise.
///
/// # Safety
/// In a hook; the pointers are valid.
pub unsafe extern "C-unwind" fn warn(
    l: *mut lua_State,
    warning: *const Warning,
    wanted: *mut Extension,
) {
    // SAFETY: by the caller; a hook has LUA_MINSTACK free slots. Nothing here owns anything.
    unsafe {
        let warning = *warning;
        let top = sys::lua_gettop(l);
        push_table(l, warning.mark);
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            sys::lua_rawgeti(l, -1, 1);
            sys::lua_createtable(l, 0, 2);
            set_number(l, c"elapsed", warning.elapsed.as_secs_f64());
            if let Some(timeout) = warning.timeout {
                set_number(l, c"timeout", timeout.as_secs_f64());
            }
            sys::lua_call(l, 1, 1);
            *wanted = answer(l);
        }
        sys::lua_settop(l, top);
    }
}

/// What the value on top of the stack asks for.
unsafe fn answer(l: *mut lua_State) -> Extension {
    // SAFETY: in a hook; it is there.
    unsafe {
        match sys::lua_type(l, -1) {
            sys::LUA_TBOOLEAN if sys::lua_toboolean(l, -1) != 0 => Extension::Afresh,
            sys::LUA_TNUMBER => match sys::lua_tonumber(l, -1) {
                n if n > 0.0 => {
                    Extension::Grant(Duration::try_from_secs_f64(n).unwrap_or(Duration::MAX))
                }
                _ => Extension::None,
            },
            _ => Extension::None,
        }
    }
}
