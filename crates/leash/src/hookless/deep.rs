//! 5.1: protected calls from which nothing is given back, and a stop that goes past them.
//!
//! What [`super::overflow`] makes grow is given back only by a protected call with fewer than 20000 calls below it (`restore_stack_limit` in `ldo.c`). There are others: a handler of
//! `stack overflow` runs beyond, and so does what a function calls that is at the last place. There `while true do pcall(f) end` would be endless in a finalizer.
//!
//! So the error is not thrown to them. A state knows its protected calls as a chain of C frames, `lua_longjmp`, the innermost of which is `errorJmp`; the first word of each is the one
//! outside it. As many as there are `pcall`s and `xpcall`s beyond that place are left out, and the error arrives at the next, which puts back all that they would have. What is jumped over are the frames of the interpreter
//! and of these two, which own nothing.
//!
//! **Only as far as all is known**: a C function of the host may have protected calls of its own, and something to clean up. So nothing is left out that lies outside one, but for those of the library that are known to
//! have none, and those that we put in their place ([`stdlib::guard`](crate::stdlib::guard)). Where such a function of the host catches the error, and goes on, a finalizer outlives its limit (docs/architecture.md). `load` has a protected call and is
//! no function of the host, but gives a buffer back, be it empty, right after `allowhook`: a stop that arrives there is seen again.

use crate::state::State;
use crate::stdlib;
use crate::sys::{self, lua_Debug, lua_State};
use std::ffi::{CStr, c_int};
use std::sync::OnceLock;

/// `LUAI_MAXCALLS` of `luaconf.h`. (A host with another has other places from which nothing is given back. Then this does no harm: those that are left out
/// belong to the script.)
pub const MOST_CALLS: i32 = 20000;

/// No two frames of one C stack are farther apart, in bytes.
const LARGEST_STACK: usize = 1 << 30;

/// C functions, by address.
struct Known {
    /// `pcall`, `xpcall`.
    catchers: [usize; 2],
    /// Those without protected calls.
    others: Vec<usize>,
}

static KNOWN: OnceLock<Known> = OnceLock::new();

const LIBRARIES: [&CStr; 3] = [c"string", c"table", c"math"];

/// Of the basic functions, those that may call others: not `load`.
const BASIC: [&CStr; 20] = [
    c"assert",
    c"collectgarbage",
    c"dofile",
    c"error",
    c"getfenv",
    c"getmetatable",
    c"ipairs",
    c"next",
    c"pairs",
    c"print",
    c"rawequal",
    c"rawget",
    c"rawset",
    c"require",
    c"select",
    c"setfenv",
    c"setmetatable",
    c"tonumber",
    c"tostring",
    c"unpack",
];

/// Leaves them out, if that can be done.
///
/// # Safety
/// `l` runs on this thread, in our hook, which is about to raise an error. `jump` is the place of `errorJmp`.
pub unsafe fn pass(state: &State, l: *mut lua_State) {
    let (Some(known), Some(offset)) = (KNOWN.get(), state.layout.get().jump) else {
        return;
    };
    // SAFETY: by the caller. Each frame of the chain lives until the call ends that it belongs to, and all of them run. They are looked at only while they get farther out.
    unsafe {
        let place = l.byte_add(offset).cast::<usize>();
        let mut jump = place.read();
        for _ in 0..count(known, l) {
            let outside = (jump as *const usize).read();
            if outside <= jump || outside - jump > LARGEST_STACK {
                return;
            }
            jump = outside;
        }
        place.write(jump);
    }
}

/// How many protected calls are at places from which nothing is given back, and inside of everything that nobody knows.
unsafe fn count(known: &Known, l: *mut lua_State) -> usize {
    // SAFETY: by `pass`. `lua_Debug` is plain data, of which zero is a value. Any call may be asked for from the first to the one that runs.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        if sys::lua_getstack(l, 0, &mut ar) == 0 {
            return 0;
        }
        let number = sys::call_number(&mut ar);
        let (top, mut found) = (number.read(), 0);
        // Not the one that runs: the hook sees a C function before it has begun, or when it has ended.
        for i in (MOST_CALLS - 1..top).rev() {
            number.write(i);
            if sys::lua_getinfo(l, c"f".as_ptr(), &mut ar) == 0 {
                break;
            }
            let function = sys::lua_tocfunction(l, -1);
            sys::lua_settop(l, -2);
            let Some(function) = function else {
                continue; // of Lua
            };
            let function = function as usize;
            if known.catchers.contains(&function) || stdlib::is_our_catcher(function) {
                found += 1;
            } else if !known.others.contains(&function) && !stdlib::is_ours(function) {
                break;
            }
        }
        found
    }
}

/// Learns which functions they are, unless that has been done.
pub fn learn() {
    if !cfg!(feature = "lua51") || KNOWN.get().is_some() {
        return;
    }
    let mut known = Known {
        catchers: [0; 2],
        // All its room before Lua is called: no error jumps over what asks for memory.
        others: Vec::with_capacity(256),
    };
    // SAFETY: a state of our own; `look` gets what it takes, and an error in it is caught.
    let status = unsafe {
        let l = sys::luaL_newstate();
        if l.is_null() {
            return; // another attach may have more luck
        }
        let status = sys::protected(l, look, (&raw mut known).cast());
        sys::lua_close(l);
        status
    };
    if status == sys::LUA_OK {
        let _ = KNOWN.set(known); // another thread has found the same
    }
}

/// **longjmp**: may raise; nothing here owns anything.
unsafe extern "C-unwind" fn look(l: *mut lua_State) -> c_int {
    // SAFETY: `learn` passes what lives in its frame. A C function has LUA_MINSTACK free slots.
    unsafe {
        let known = &mut *sys::lua_touserdata(l, 1).cast::<Known>();
        sys::luaL_openlibs(l);
        for (catcher, name) in known.catchers.iter_mut().zip([c"pcall", c"xpcall"]) {
            *catcher = global(l, name);
        }
        for name in BASIC {
            note(known, global(l, name));
        }
        for name in LIBRARIES {
            sys::lua_getglobal(l, name.as_ptr());
            sys::lua_pushnil(l);
            while sys::lua_next(l, -2) != 0 {
                note(known, address(l));
            }
            sys::lua_settop(l, -2);
        }
    }
    0
}

fn note(known: &mut Known, function: usize) {
    if function != 0 && known.others.len() < known.others.capacity() {
        known.others.push(function);
    }
}

/// # Safety
/// As [`look`].
unsafe fn global(l: *mut lua_State, name: &CStr) -> usize {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_getglobal(l, name.as_ptr());
        address(l)
    }
}

/// Of the C function at the top, which is taken away; zero: it is none.
///
/// # Safety
/// As [`look`].
unsafe fn address(l: *mut lua_State) -> usize {
    // SAFETY: by the caller.
    unsafe {
        let function = sys::lua_tocfunction(l, -1);
        sys::lua_settop(l, -2);
        function.map_or(0, |f| f as usize)
    }
}
