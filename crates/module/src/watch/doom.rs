//! The error that ends a coroutine: a [stop](crate::stop), also for who has resumed it by a function that is not ours.
//!
//! The engine ends a coroutine by an error that it raises in a hook, again and again. The object of that error is what the last resume
//! returns; so it is the stop. It is made in the hook, once; the engine has stopped the collector, so no finalizer runs there. A table with weak values
//! keeps it meanwhile.
//!
//! It is made on a coroutine of our own, whose stacks are empty: what runs may be at the end of its own ("C stack overflow"), and then cannot call what makes it. (Not on LuaJIT,
//! which does not count C calls, and which takes the coroutine of the last call from C for the one that runs.)
//!
//! The error of a coroutine that `corowatch` watches is the [message](crate::corowatch::message) of the kill. It is made in the same way.
//!
//! LuaJIT: a message handler (`xpcall`) might be called for it, in the hook, where C code is between what runs and the coroutine's first function: the engine cannot take it away there. So where one may be
//! waiting then, the error is that of the engine, `not enough memory`.

use crate::corowatch::message;
use crate::stop;
use leash::info;
use leash::sys::{self, lua_State};
use leash::{Guest, Stop};
use std::ffi::{c_int, c_void};
use std::ptr;

/// Registry keys: the addresses.
static OBJECTS: u8 = 0;
static MAKE: u8 = 1;
static XPCALL: u8 = 2;
static MAKER: u8 = 3;

fn key(of: &'static u8) -> *const c_void {
    ptr::from_ref(of).cast()
}

/// Deeper stacks are not searched for message handlers.
const DEEPEST: c_int = 200;

/// Makes the table, and keeps what the hook needs.
///
/// # Safety
/// In a C function, with four free slots. May raise.
pub unsafe fn open(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        let known = sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&OBJECTS)) == sys::LUA_TTABLE;
        sys::lua_settop(l, -2);
        if known {
            return;
        }
        sys::lua_createtable(l, 0, 0);
        sys::lua_createtable(l, 0, 1);
        sys::lua_pushstring(l, c"v".as_ptr());
        sys::lua_setfield(l, -2, c"__mode".as_ptr());
        sys::lua_setmetatable(l, -2);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&OBJECTS));
        sys::lua_pushcfunction(l, make);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&MAKE));
        if sys::HOOK_PER_COROUTINE {
            sys::lua_newthread(l);
            sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&MAKER));
        }
        sys::lua_getglobal(l, c"xpcall".as_ptr());
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&XPCALL));
    }
}

/// Makes the object that is offered, and keeps it under the light userdata at index 1.
unsafe extern "C-unwind" fn make(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua.
    unsafe {
        let co = sys::lua_touserdata(l, 1);
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&OBJECTS));
        stop::build(l);
        sys::lua_pushvalue(l, -1);
        sys::lua_rawsetp(l, -3, co);
    }
    1
}

/// The coroutine to make it on, in a hook: ours, or `l` itself, where a script with the `debug` library has put another in its place.
unsafe fn maker(l: *mut lua_State) -> *mut lua_State {
    if !sys::HOOK_PER_COROUTINE {
        return l;
    }
    // SAFETY: in a hook, with a free slot. The registry keeps it.
    unsafe {
        let mut ar = std::mem::zeroed();
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&MAKER));
        let maker = sys::lua_tothread(l, -1);
        sys::lua_settop(l, -2);
        let idle = !maker.is_null()
            && sys::lua_status(maker) == sys::LUA_OK
            && sys::lua_gettop(maker) == 0
            && sys::lua_getstack(maker, 0, &mut ar) == 0;
        if !idle {
            return l;
        }
        // Hooks are off in `l`, but not there: it may have inherited one, or been given one by `debug.sethook`.
        sys::set_hook(maker, None, 0, 0);
        maker
    }
}

/// Pushes what is known of the end of `co`, or the error that keeps it from being made; `maker` makes it. True if it was.
unsafe fn push_made(
    l: *mut lua_State,
    maker: *mut lua_State,
    co: *mut lua_State,
    stop: &Stop,
) -> bool {
    // SAFETY: in a hook or C function, with three free slots. `make` is called in protected mode. `maker` is `l`, or idle, and no code but `make` runs
    // there, since neither our hook nor the collector does anything now (`State::push_doom`).
    unsafe {
        sys::lua_rawgetp(maker, sys::LUA_REGISTRYINDEX, key(&MAKE));
        sys::lua_pushlightuserdata(maker, co.cast());
        let made = stop::offer(stop, || sys::lua_pcall(maker, 1, 1, 0)) == sys::LUA_OK;
        if maker != l {
            sys::lua_xmove(maker, l, 1);
        }
        made
    }
}

/// Pushes the object that was made before, or makes it by `maker`; false: neither, and what is on top is an error.
unsafe fn push_object(
    l: *mut lua_State,
    maker: *mut lua_State,
    guest: Guest,
    co: *mut lua_State,
) -> bool {
    // SAFETY: as `push_made`. The report is dropped before anybody raises.
    unsafe {
        if guest.has_doom_object(co) {
            sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&OBJECTS));
            sys::lua_rawgetp(l, -1, co.cast());
            sys::lua_remove(l, -2);
            if sys::lua_type(l, -1) == sys::LUA_TUSERDATA {
                return true;
            }
            sys::lua_settop(l, -2);
        }
        match guest.doom_of(co) {
            Some(stop) => push_made(l, maker, co, &stop),
            None if guest.is_killed(co) => message::push_in_hook(l, maker, co),
            None => {
                sys::lua_pushnil(l);
                false
            }
        }
    }
}

/// For [`Guest::on_ward`]: the object, in the hook. `unseen`: no message handler is called for it.
///
/// # Safety
/// `l` runs a hook, to end `co`.
pub unsafe extern "C-unwind" fn push(l: *mut lua_State, co: *mut lua_State, unseen: bool) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let Some(guest) = Guest::of(l) else {
            return false;
        };
        if cfg!(feature = "luajit") && (co == guest.main() || !unseen && may_have_handler(l)) {
            return false;
        }
        let top = sys::lua_gettop(l);
        let pushed = push_object(l, maker(l), guest, co);
        if !pushed {
            sys::lua_settop(l, top);
        }
        pushed
    }
}

/// Whether `xpcall` is on the stack of `l`, or the stack is too deep to tell. (Not at the top: the hook runs when it is called, and no handler is in force yet. An error goes past it there, so
/// who has resumed `l` would get the engine's.)
unsafe fn may_have_handler(l: *mut lua_State) -> bool {
    // SAFETY: in a hook, with three free slots; `ar` is filled before it is read. Pushing functions allocates nothing.
    unsafe {
        let mut ar = std::mem::zeroed();
        // First of all: each look walks from the top to its level, and a tower of protected calls asks here once for each of them.
        if sys::lua_getstack(l, DEEPEST, &mut ar) != 0 {
            return true;
        }
        let mut found = false;
        let mut level = 1;
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&XPCALL));
        while !found && sys::lua_getstack(l, level, &mut ar) != 0 {
            if !info::of(l, level, c"f", &mut ar) {
                found = true; // it may be that
                break;
            }
            found = sys::lua_rawequal(l, -1, -2) != 0;
            sys::lua_settop(l, -2);
            level += 1;
        }
        sys::lua_settop(l, -2);
        found
    }
}

/// Pushes false and why a coroutine is dead that was killed: the stop, the first time. Returns 2.
///
/// # Safety
/// In a C function called by Lua. May raise.
pub unsafe fn say_why(l: *mut lua_State, guest: Guest, co: *mut lua_State) -> c_int {
    // SAFETY: by the caller. The report is gone when an error is raised.
    unsafe {
        sys::luaL_checkstack(l, 5, ptr::null());
        sys::lua_pushboolean(l, 0);
        if !guest.tell_doom(co) {
            sys::lua_pushstring(l, c"cannot resume dead coroutine".as_ptr());
        } else if !push_object(l, l, guest, co) {
            sys::lua_error(l);
        }
    }
    2
}
