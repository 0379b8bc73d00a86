//! `require "corowatch"`: a coroutine that does not yield in time is warned, then killed.
//!
//! The interface is that of the original module; the mechanism is the engine's ([`leash::Watch`]): no count hook and no clock inside
//! running code, so a watch costs next to nothing, a kill goes through `pcall`, and LuaJIT's compiler may stay on for code that
//! reaches the interpreter.
//!
//! What a resume has to do fast is in [`resume`]. The rest (checks, inheritance, callbacks, `export`) is Lua, `corowatch/glue.lua`, loaded
//! once in each state: it runs when a coroutine is made or late, and reads better there.
//!
//! The core that the glue receives, where `co` nil is the running coroutine:
//!
//! | | |
//! |---|---|
//! | `watch(co, kill, warn, hookcount)` | watches it |
//! | `inherit(co)` | watches it with the limits of the running coroutine |
//! | `watched(co)`, `killed(co)` | whether it is |
//! | `warded()`, `plain_wrapper(co)` | the same for `leash.watch`, of the running coroutine; a function like that of `coroutine.wrap` |
//! | `limits(co)` | `kill, warn` |
//! | `resume(co, ...)`, `wrapper(co)` | resumes it; a function that does |
//! | `asks(yes)` | whether each resume has to ask the glue by which clock it goes |
//! | `gettime()`, `version`, `globals` | |
//!
//! It gives `dispatch(event, co)` in return, which is kept in the registry, and the table `callbacks`.
//!
//! What could go wrong: a callback raises. It runs in the hook of the late coroutine, and the error goes to that coroutine as any
//! error would. Nothing here owns anything at that point.

mod callbacks;
pub mod message;
mod place;
pub mod resume;
mod seconds;

use crate::table::{set_functions, set_string};
use leash::sys::{self, lua_State};
use leash::{Answer, Event, Guest, Watch};
use std::ffi::{c_char, c_int, c_void};

const GLUE: &str = include_str!("corowatch/glue.lua");

/// Registry keys: the addresses.
static DISPATCH: u8 = 0;
static MODULE: u8 = 0;

fn key(of: &'static u8) -> *const c_void {
    std::ptr::from_ref(of).cast()
}

/// Opens the module.
///
/// # Safety
/// As a `lua_CFunction`.
pub unsafe extern "C-unwind" fn open(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua, with the stack it is promised. What raises, raises over plain data.
    unsafe {
        let guest = match Guest::attach(l) {
            Ok(guest) => guest,
            Err(e) => return cannot_attach(l, e),
        };
        // One in each state: a second would not know the watches of the first.
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&MODULE));
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            return 1;
        }
        guest.on_watch(on_watch);
        crate::watch::open(l);
        message::open(l);
        guest.on_ward(crate::watch::warning::warn, crate::watch::doom::push);
        let name = c"=corowatch".as_ptr();
        if sys::luaL_loadbuffer(l, GLUE.as_ptr().cast::<c_char>(), GLUE.len(), name) != 0 {
            sys::lua_error(l);
        }
        sys::lua_createtable(l, 0, 12);
        set_functions(
            l,
            &[
                (c"watch", watch),
                (c"inherit", inherit),
                (c"watched", watched),
                (c"warded", warded),
                (c"plain_wrapper", plain_wrapper),
                (c"killed", killed),
                (c"limits", limits),
                (c"resume", resume::resume),
                (c"wrapper", wrapper),
                (c"asks", asks),
                (c"gettime", gettime),
            ],
        );
        set_string(l, c"version", crate::leash_module::VERSION);
        sys::lua_getglobal(l, c"_G".as_ptr());
        sys::lua_setfield(l, -2, c"globals".as_ptr());
        // The glue, the core; and the core again, to take its function out afterwards.
        sys::lua_pushvalue(l, -1);
        sys::lua_insert(l, -3);
        sys::lua_call(l, 1, 1);
        sys::lua_getfield(l, -2, c"dispatch".as_ptr());
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&DISPATCH));
        sys::lua_getfield(l, -2, c"callbacks".as_ptr());
        callbacks::open(l);
        sys::lua_pushvalue(l, -1);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&MODULE));
    }
    1
}

/// The coroutine at `index`, or the running one.
///
/// # Safety
/// As a `lua_CFunction`.
unsafe fn coroutine(l: *mut lua_State, index: c_int) -> *mut lua_State {
    // SAFETY: by the caller.
    match unsafe { sys::lua_tothread(l, index) } {
        co if co.is_null() => l,
        co => co,
    }
}

/// Watches `co`.
///
/// # Safety
/// As a `lua_CFunction` that the glue has called; `co` is a coroutine of the same state. May raise.
unsafe fn watch_with(l: *mut lua_State, co: *mut lua_State, limits: &Watch) {
    // SAFETY: by the caller. What may raise, raises over plain data.
    unsafe {
        let guest = guest(l);
        let place = place::key(l);
        let known = place.filter(|&key| guest.knows_note(key));
        let watched = match known {
            Some(key) => guest.watch(co, limits, key, &[]),
            None => {
                let text = place::push_trace(l);
                let key = place.unwrap_or_else(|| place::key_of(&*text));
                let watched = guest.watch(co, limits, key, &*text);
                sys::lua_settop(l, -2);
                watched
            }
        };
        if guest.ward_of(co).is_some() {
            sys::luaL_error(l, c"leash.watch is watching this coroutine".as_ptr());
        }
        if !watched {
            sys::luaL_error(l, c"not enough memory for a watch".as_ptr());
        }
    }
}

/// `core.watch(co, kill, warn, hookcount)`: the glue has checked the arguments.
unsafe extern "C-unwind" fn watch(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let limits = Watch {
            kill: seconds::limit(l, 2),
            warn: seconds::limit(l, 3),
            poll: sys::lua_tonumber(l, 4).clamp(1.0, 1e9) as u32,
            mark: seconds::mark(l, 2),
        };
        watch_with(l, coroutine(l, 1), &limits);
    }
    0
}

/// `core.inherit(co)`
unsafe extern "C-unwind" fn inherit(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let guest = guest(l);
        if guest.ward_of(l).is_some() || guest.watch_of(l).is_none() {
            sys::lua_settop(l, 1);
            crate::watch::inherit(l, guest);
        } else if let Some(limits) = guest.watch_of(l) {
            watch_with(l, coroutine(l, 1), &limits);
        }
    }
    0
}

/// `core.watched(co)`
unsafe extern "C-unwind" fn watched(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let (guest, co) = (guest(l), coroutine(l, 1));
        let is = guest.watch_of(co).is_some() && guest.ward_of(co).is_none();
        sys::lua_pushboolean(l, is.into());
    }
    1
}

/// `core.warded()`: whether the running coroutine is, or is inside, what `leash.watch` watches.
unsafe extern "C-unwind" fn warded(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let is = guest(l).inside(l).is_some();
        sys::lua_pushboolean(l, is.into());
    }
    1
}

/// `core.plain_wrapper(co)`: as `coroutine.wrap` makes it.
unsafe extern "C-unwind" fn plain_wrapper(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        sys::luaL_checktype(l, 1, sys::LUA_TTHREAD);
        sys::lua_settop(l, 1);
        sys::lua_pushcclosure(l, crate::watch::wrapped, 1);
    }
    1
}

/// `core.killed(co)`
unsafe extern "C-unwind" fn killed(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let is = guest(l).is_killed(coroutine(l, 1));
        sys::lua_pushboolean(l, is.into());
    }
    1
}

/// `core.limits(co)`: the limits, or nil.
unsafe extern "C-unwind" fn limits(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let watch = guest(l).watch_of(coroutine(l, 1)).unwrap_or_default();
        match watch.kill {
            Some(_) => seconds::push(l, watch.mark),
            None => sys::lua_pushnil(l),
        }
        match watch.warn {
            Some(warn) => sys::lua_pushnumber(l, warn.as_secs_f64()),
            None => sys::lua_pushnil(l),
        }
    }
    2
}

/// `core.wrapper(co)`
unsafe extern "C-unwind" fn wrapper(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        sys::luaL_checktype(l, 1, sys::LUA_TTHREAD);
        sys::lua_settop(l, 1);
        sys::lua_pushcclosure(l, resume::wrapped, 1);
    }
    1
}

/// `core.asks(yes)`
unsafe extern "C-unwind" fn asks(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe { guest(l).ask_before_resume(sys::lua_toboolean(l, 1) != 0) };
    0
}

/// The guest of the state of `l`, to which `open` has attached.
///
/// # Safety
/// As a `lua_CFunction`. It raises if the host has changed the allocator since.
#[inline]
unsafe fn guest(l: *mut lua_State) -> Guest {
    // SAFETY: by the caller.
    unsafe {
        match Guest::of(l) {
            Some(guest) => guest,
            None => {
                sys::lua_pushstring(
                    l,
                    c"corowatch: the allocator of this state was changed".as_ptr(),
                );
                sys::lua_error(l)
            }
        }
    }
}

/// Raises what keeps the module from working.
///
/// # Safety
/// As a `lua_CFunction`.
unsafe fn cannot_attach(l: *mut lua_State, e: leash::AttachError) -> c_int {
    // SAFETY: by the caller. The error and its text are gone before the error is raised.
    unsafe {
        {
            let text = e.to_string();
            drop(e);
            sys::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        }
        sys::lua_error(l)
    }
}

/// `corowatch.gettime()`: seconds since the epoch, as LuaSocket's function of this name.
unsafe extern "C-unwind" fn gettime(l: *mut lua_State) -> c_int {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // SAFETY: as `open`.
    unsafe { sys::lua_pushnumber(l, now.unwrap_or_default().as_secs_f64()) };
    1
}

/// In the hook of a late coroutine: asks the glue. **longjmp**: it may raise.
unsafe extern "C-unwind" fn on_watch(l: *mut lua_State, event: Event) -> Answer {
    let name = match event {
        Event::Warn => c"warn",
        Event::Kill => c"kill",
        Event::Poll => c"poll",
    };
    // SAFETY: in a hook, which has LUA_MINSTACK free slots.
    unsafe {
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&DISPATCH));
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_pushthread(l);
        sys::lua_call(l, 2, 1);
        let answer = match sys::lua_tostring(l, -1) {
            s if s.is_null() => Answer::GoOn,
            s => match *s as u8 {
                b'a' => Answer::Afresh,
                b'k' => Answer::Kill,
                _ => Answer::GoOn,
            },
        };
        sys::lua_settop(l, -2);
        answer
    }
}
