//! Interrupt handlers: what a coroutine has set to be called when it is interrupted, by `mtint.sethook` or `leash.on_interrupt`.
//!
//! They are in a table in the registry: the coroutine is the key, its handler the value; the main state's is at index 1. The keys are
//! weak, so a handler goes with its coroutine. (A handler that refers to its own coroutine does not keep it alive, since the
//! tables of 5.2 and later are ephemerons; on 5.1 and LuaJIT such a handler does, and has to be taken back.)
//!
//! [`interrupted`] is what the engine calls, inside the hook, on the interrupted coroutine. It is one for all modules of this
//! library. Hooks are off while it runs: a handler is not interrupted itself, and may take all the time that it likes. There is
//! room for what is pushed: Lua gives a hook `LUA_MINSTACK` slots.

use leash::info;
use leash::sys::{self, lua_Debug, lua_State};
use leash::{Guest, How};
use std::ffi::{CStr, c_int, c_void};

static KEY: u8 = 0;
/// Where the table holds the main state's handler. (5.1 and LuaJIT cannot push the main state from a coroutine.)
const MAIN: sys::lua_Integer = 1;
/// Where it notes that `mtint` is in use.
const MTINT: sys::lua_Integer = 2;

const INTERRUPTED: &CStr = c"mtint.error.interrupted";
/// In a state that knows nothing of `mtint`.
const INTERRUPTED_PLAINLY: &CStr = c"interrupted";

fn key() -> *const c_void {
    (&raw const KEY).cast()
}

/// From now on an interrupt without a handler is an error of `mtint`.
///
/// # Safety
/// In a C function, with four free slots. May raise.
pub unsafe fn for_mtint(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        push_table(l);
        sys::lua_pushboolean(l, 1);
        sys::lua_rawseti(l, -2, MTINT);
        sys::lua_settop(l, -2);
    }
}

/// Pushes the table, a new one if there is none.
unsafe fn push_table(l: *mut lua_State) {
    // SAFETY: as `for_mtint`.
    unsafe {
        if sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key()) != sys::LUA_TTABLE {
            sys::lua_settop(l, -2);
            sys::lua_createtable(l, 2, 0);
            sys::lua_createtable(l, 0, 1);
            sys::lua_pushstring(l, c"k".as_ptr());
            sys::lua_setfield(l, -2, c"__mode".as_ptr());
            sys::lua_setmetatable(l, -2);
            sys::lua_pushvalue(l, -1);
            sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key());
        }
    }
}

/// The arguments `([co,] func|nil)` of a function that sets a handler: the index of the coroutine, 0 for the running one, and that of the
/// handler.
///
/// # Safety
/// In a C function that Lua has called. Raises `bad argument`.
pub unsafe fn arguments(l: *mut lua_State) -> (c_int, c_int) {
    // SAFETY: by the caller.
    unsafe {
        let (thread, handler) = split(l);
        if sys::lua_type(l, handler) != sys::LUA_TNIL {
            sys::luaL_checktype(l, handler, sys::LUA_TFUNCTION);
        }
        (thread, handler)
    }
}

/// The arguments `([co,] value)`: the index of the coroutine, 0 for the running one, and that of the value, which is there.
///
/// # Safety
/// In a C function that Lua has called. Raises `bad argument`.
pub unsafe fn split(l: *mut lua_State) -> (c_int, c_int) {
    // SAFETY: by the caller.
    unsafe {
        let first = sys::lua_type(l, 1);
        // A nil in front of something else stands for the running coroutine; a nil alone is the value.
        let with_co = first == sys::LUA_TTHREAD || first == sys::LUA_TNIL && sys::lua_gettop(l) > 1;
        let value = if with_co { 2 } else { 1 };
        sys::luaL_checkany(l, value);
        (if first == sys::LUA_TTHREAD { 1 } else { 0 }, value)
    }
}

/// Pushes the handler of the coroutine at index `thread`, or of the running one, or nil.
///
/// # Safety
/// As [`set`].
pub unsafe fn push(l: *mut lua_State, guest: Guest, thread: c_int) {
    // SAFETY: by the caller.
    unsafe {
        push_table(l);
        let co = match thread {
            0 => l,
            _ => sys::lua_tothread(l, thread),
        };
        if co == guest.main() {
            sys::lua_rawgeti(l, -1, MAIN);
        } else {
            match thread {
                0 => _ = sys::lua_pushthread(l),
                _ => sys::lua_pushvalue(l, thread),
            }
            sys::lua_rawget(l, -2);
        }
        sys::lua_remove(l, -2);
    }
}

/// Sets the handler of a coroutine: the function or nil at index `handler`. `thread` is the index of the coroutine; 0: the running one.
///
/// # Safety
/// In a C function, with seven free slots. `guest` is the state, attached. May raise.
pub unsafe fn set(l: *mut lua_State, guest: Guest, thread: c_int, handler: c_int) {
    // SAFETY: by the caller.
    unsafe {
        push_table(l);
        let co = if thread == 0 {
            l
        } else {
            sys::lua_tothread(l, thread)
        };
        if co == guest.main() {
            sys::lua_pushvalue(l, handler);
            sys::lua_rawseti(l, -2, MAIN);
        } else {
            if thread == 0 {
                sys::lua_pushthread(l);
            } else {
                sys::lua_pushvalue(l, thread);
            }
            sys::lua_pushvalue(l, handler);
            sys::lua_rawset(l, -3);
        }
        sys::lua_settop(l, -2);
    }
}

/// Calls the handler of `who`, or raises the error that it is interrupted, in `l`, which runs. For [`Guest::on_interrupt`].
///
/// # Safety
/// In the hook of an attached state. Raises.
pub unsafe extern "C-unwind" fn interrupted(l: *mut lua_State, who: *mut lua_State) {
    // SAFETY: by the caller. Nothing here owns anything.
    unsafe {
        let mut message = INTERRUPTED_PLAINLY;
        if sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key()) == sys::LUA_TTABLE {
            if sys::lua_rawgeti(l, -1, MTINT) == sys::LUA_TBOOLEAN {
                message = INTERRUPTED;
            }
            sys::lua_settop(l, -2);
            if push_handler(l, who) == sys::LUA_TFUNCTION {
                let nargs = push_said(l).into();
                sys::lua_call(l, nargs, 0);
                sys::lua_settop(l, -2);
                return;
            }
            sys::lua_settop(l, -2);
        }
        sys::lua_settop(l, -2);
        push_position(l);
        sys::lua_pushstring(l, message.as_ptr());
        sys::lua_pushstring(l, c": ".as_ptr());
        if push_said(l) {
            sys::lua_concat(l, 4);
        } else {
            sys::lua_settop(l, -2);
            sys::lua_concat(l, 2);
        }
        sys::lua_error(l);
    }
}

/// Pushes what was said with the interrupt, if anything was.
unsafe fn push_said(l: *mut lua_State) -> bool {
    // SAFETY: as `interrupted`; the text stays where it is.
    unsafe {
        let Some((start, len)) = Guest::of(l).and_then(|g| g.said().map(|s| (s.as_ptr(), s.len())))
        else {
            return false;
        };
        sys::lua_pushlstring(l, start.cast(), len);
        true
    }
}

/// Pushes the handler of `who`, which is `l`, or the main state, or nobody in particular; the table is on top. Returns its type.
unsafe fn push_handler(l: *mut lua_State, who: *mut lua_State) -> c_int {
    // SAFETY: as `interrupted`.
    unsafe {
        let main = Guest::of(l).map(|g| g.main());
        if main == Some(who) {
            return sys::lua_rawgeti(l, -1, MAIN);
        }
        sys::lua_pushthread(l);
        let kind = sys::lua_rawget(l, -2);
        if kind != sys::LUA_TNIL || !who.is_null() {
            return kind;
        }
        // Whatever runs was meant, and has none of its own.
        sys::lua_settop(l, -2);
        sys::lua_rawgeti(l, -1, MAIN)
    }
}

/// Pushes `file:line: `, as `luaL_where` does. In a hook level 0 is the function that was interrupted; when that is a C function
/// which is about to return, the line of its caller reads best. A guarded function of `string` is one level further out: it has called one that does
/// nothing, for which the hook runs.
pub unsafe fn push_position(l: *mut lua_State) {
    // SAFETY: as `interrupted`.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        let mut level = 0;
        while level < 2
            && sys::lua_getstack(l, level, &mut ar) != 0
            && (!info::of(l, level, c"l", &mut ar) || ar.currentline <= 0)
        {
            level += 1;
        }
        sys::luaL_where(l, level);
    }
}

/// How to interrupt, from the optional flag at `index`: none or nil once, true always, false no more.
///
/// # Safety
/// In a C function that Lua has called. Raises `bad argument` for anything but a boolean or nil.
pub unsafe fn how(l: *mut lua_State, index: c_int) -> How {
    // SAFETY: by the caller.
    unsafe {
        if sys::lua_isnoneornil(l, index) != 0 {
            return How::Once;
        }
        sys::luaL_checktype(l, index, sys::LUA_TBOOLEAN);
        if sys::lua_toboolean(l, index) != 0 {
            How::Always
        } else {
            How::NoMore
        }
    }
}
