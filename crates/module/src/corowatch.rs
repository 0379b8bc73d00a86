//! `require "corowatch"`: a coroutine that does not yield in time is warned, then killed.
//!
//! The interface is that of the original module; the mechanism is the engine's ([`leash::Watch`]): no count hook and no clock inside
//! running code, so a watch costs next to nothing, a kill goes through `pcall`, and LuaJIT's compiler may stay on for code that
//! reaches the interpreter.
//!
//! What a resume has to do fast is here, in the function `resume`. The rest (checks, inheritance, messages, `export`) is Lua,
//! `corowatch/glue.lua`, loaded once in each state: it runs when a coroutine is made or late, and reads better there.
//!
//! The core that the glue receives: `watch(co, kill, warn, poll)`, `resume(co, ...)`, `killed(co)`, `gettime()`, `version`, `globals`; it
//! gives `dispatch(event, co)` and `message(co)` in return, which are kept in the registry.
//!
//! What could go wrong: a callback raises. It runs in the hook of the late coroutine, and the error goes to that coroutine as any
//! error would. Nothing here owns anything at that point.

use leash::sys::{self, lua_State};
use leash::{Answer, Event, Guest, Resumed, Watch};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const GLUE: &str = include_str!("corowatch/glue.lua");

/// Registry keys: the addresses.
static DISPATCH: u8 = 0;
static MESSAGE: u8 = 0;
static MODULE: u8 = 0;

/// Some watch in this process follows a clock of the user's.
static POLLED: AtomicBool = AtomicBool::new(false);

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
        let name = c"=corowatch".as_ptr();
        if sys::luaL_loadbuffer(l, GLUE.as_ptr().cast::<c_char>(), GLUE.len(), name) != 0 {
            sys::lua_error(l);
        }
        sys::lua_createtable(l, 0, 8);
        let functions: [(&CStr, sys::lua_CFunction); 4] = [
            (c"watch", watch),
            (c"resume", resume),
            (c"killed", killed),
            (c"gettime", gettime),
        ];
        for (name, f) in functions {
            sys::lua_pushcfunction(l, f);
            sys::lua_setfield(l, -2, name.as_ptr());
        }
        sys::lua_pushlstring(
            l,
            env!("CARGO_PKG_VERSION").as_ptr().cast(),
            env!("CARGO_PKG_VERSION").len(),
        );
        sys::lua_setfield(l, -2, c"version".as_ptr());
        sys::lua_getglobal(l, c"_G".as_ptr());
        sys::lua_setfield(l, -2, c"globals".as_ptr());
        // The glue, the core; and the core again, to take its two functions out afterwards.
        sys::lua_pushvalue(l, -1);
        sys::lua_insert(l, -3);
        sys::lua_call(l, 1, 1);
        for (name, place) in [(c"dispatch", &DISPATCH), (c"message", &MESSAGE)] {
            sys::lua_getfield(l, -2, name.as_ptr());
            sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(place));
        }
        sys::lua_pushvalue(l, -1);
        sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key(&MODULE));
    }
    1
}

/// `core.watch(co | nil, kill, warn, poll)`: the glue has checked the arguments.
unsafe extern "C-unwind" fn watch(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let guest = guest(l);
        let co = match sys::lua_tothread(l, 1) {
            co if co.is_null() => guest.main(),
            co => co,
        };
        let limit = |index| {
            (sys::lua_type(l, index) == sys::LUA_TNUMBER).then(|| {
                Duration::try_from_secs_f64(sys::lua_tonumber(l, index)).unwrap_or(Duration::MAX)
            })
        };
        let poll = (sys::lua_type(l, 4) == sys::LUA_TNUMBER)
            .then(|| sys::lua_tonumber(l, 4).clamp(1.0, 1e9) as u32);
        if poll.is_some() {
            POLLED.store(true, Ordering::Relaxed);
        }
        let limits = Watch {
            kill: limit(2),
            warn: limit(3),
            poll,
        };
        if !guest.watch(co, limits) {
            sys::luaL_error(l, c"not enough memory for a watch".as_ptr());
        }
    }
    0
}

/// `corowatch.resume(co, ...)`, as `coroutine.resume`, under the watch of `co` if it has one.
unsafe extern "C-unwind" fn resume(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let co = sys::lua_tothread(l, 1);
        if co.is_null() {
            sys::luaL_argerror(l, 1, c"coroutine expected".as_ptr());
        }
        // The allocator that tells of the guest is in force since `open`.
        let guest = guest(l);
        if POLLED.load(Ordering::Relaxed) && guest.watch_of(co).is_some_and(|w| w.poll.is_some()) {
            if guest.is_killed(co) {
                return say_why(l);
            }
            sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&DISPATCH));
            sys::lua_pushstring(l, c"start".as_ptr());
            sys::lua_pushvalue(l, 1);
            sys::lua_call(l, 2, 0);
        }
        let nargs = sys::lua_gettop(l) - 1;
        if let Some(why) = not_resumable(l, co) {
            return if guest.is_killed(co) {
                say_why(l)
            } else {
                failed(l, why)
            };
        }
        if sys::lua_checkstack(co, nargs) == 0 {
            return failed(l, c"too many arguments to resume");
        }
        sys::lua_xmove(l, co, nargs);
        match guest.resume(l, co, nargs) {
            Resumed::Killed => say_why(l),
            Resumed::Status(sys::LUA_OK | sys::LUA_YIELD, nres) => {
                if sys::lua_checkstack(l, nres + 1) == 0 {
                    sys::lua_settop(co, -nres - 1);
                    return failed(l, c"too many results to resume");
                }
                sys::lua_pushboolean(l, 1);
                sys::lua_xmove(co, l, nres);
                nres + 1
            }
            Resumed::Status(..) => {
                sys::lua_pushboolean(l, 0);
                sys::lua_xmove(co, l, 1);
                2
            }
        }
    }
}

/// Why a coroutine cannot be resumed, in the words of `coroutine.resume`.
///
/// # Safety
/// `co` is a live coroutine of the state of `l`.
unsafe fn not_resumable(l: *mut lua_State, co: *mut lua_State) -> Option<&'static CStr> {
    // SAFETY: by the caller.
    unsafe {
        let mut ar = std::mem::zeroed();
        match sys::lua_status(co) {
            sys::LUA_YIELD => None,
            sys::LUA_OK if co == l || sys::lua_getstack(co, 0, &mut ar) != 0 => {
                Some(c"cannot resume non-suspended coroutine")
            }
            sys::LUA_OK if sys::lua_gettop(co) > 0 => None,
            _ => Some(c"cannot resume dead coroutine"),
        }
    }
}

/// `false` and the reason.
///
/// # Safety
/// As a `lua_CFunction`.
unsafe fn failed(l: *mut lua_State, why: &'static CStr) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushboolean(l, 0);
        sys::lua_pushstring(l, why.as_ptr());
    }
    2
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

/// `false` and the message of the coroutine at index 1, which was killed.
///
/// # Safety
/// As a `lua_CFunction`.
unsafe fn say_why(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushboolean(l, 0);
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key(&MESSAGE));
        sys::lua_pushvalue(l, 1);
        sys::lua_call(l, 1, 1);
    }
    2
}

/// `core.killed(co)`
unsafe extern "C-unwind" fn killed(l: *mut lua_State) -> c_int {
    // SAFETY: as `open`.
    unsafe {
        let co = sys::lua_tothread(l, 1);
        let dead = !co.is_null() && guest(l).is_killed(co);
        sys::lua_pushboolean(l, dead.into());
    }
    1
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
