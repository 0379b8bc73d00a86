//! The error of a call that was stopped: a userdata that nobody else can make.
//!
//! It holds plain data, and its texts behind them, in one block: so there is nothing to finalize, and to make it is one allocation. It is known by its
//! metatable, which is in the registry and which scripts cannot get at; and, for scripts that have the `debug` library and put that
//! metatable on something else, by its size and a mark.
//!
//! | field | |
//! |---|---|
//! | `reason` | `"timeout"`, `"cpu"`, `"instructions"`, `"memory"`, `"interrupt"`, `"kill"` |
//! | `message` | `"timeout of 50ms reached after 0.050s"`; `tostring` gives the same, and `..` takes it for its text |
//! | `traceback` | where the code was |
//! | `elapsed` | seconds from the beginning of the call to its end |

use crate::table::{set_functions, set_string};
use leash::sys::{self, lua_State};
use leash::{Reason, Stop};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt::Write;
use std::ptr;

/// How the class calls itself.
const CLASS: &CStr = c"leash.stop";

static KEY: u8 = 0;

fn key() -> *const c_void {
    (&raw const KEY).cast()
}

/// The beginning of the block. The message and the traceback follow.
#[repr(C)]
struct Head {
    mark: usize,
    reason: Reason,
    elapsed: f64,
    message: usize,
    traceback: usize,
}

impl Head {
    /// The address of [`KEY`], which no userdata of others begins with.
    fn mark() -> usize {
        key() as usize
    }

    fn size(&self) -> usize {
        size_of::<Head>()
            .saturating_add(self.message)
            .saturating_add(self.traceback)
    }
}

thread_local! {
    /// The report that [`build`] turns into an object. Null: none.
    static OFFERED: Cell<*const Stop> = const { Cell::new(ptr::null()) };
}

/// Lets [`build`] have `stop` while `f` runs. `f` does not raise. (A function and no argument: a script with the `debug` library can call
/// `build` by itself, but it cannot make it read what it likes.)
pub fn offer<T>(stop: &Stop, f: impl FnOnce() -> T) -> T {
    let before = OFFERED.replace(stop);
    let result = f();
    OFFERED.set(before);
    result
}

/// Makes the metatable.
///
/// # Safety
/// In a C function, with four free slots. May raise.
pub unsafe fn make_class(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        if sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key()) != sys::LUA_TTABLE {
            sys::lua_createtable(l, 0, 5);
            set_functions(
                l,
                &[
                    (c"__index", index),
                    (c"__tostring", to_string),
                    (c"__concat", concat),
                ],
            );
            set_string(l, c"__metatable", CLASS);
            set_string(l, c"__name", CLASS);
            sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, key());
        }
        sys::lua_settop(l, -2);
    }
}

/// Pushes an object with the report that is offered.
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn build(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. What is offered lives until it is taken back. Nothing here owns anything where Lua may raise; writing text
    // into the block calls no Lua, and writes no more than was counted.
    unsafe {
        let Some(stop) = OFFERED.get().as_ref() else {
            return sys::luaL_error(l, c"there is no stop to report".as_ptr());
        };
        let mut message = Count(0);
        let _ = write!(message, "{stop}");
        let head = Head {
            mark: Head::mark(),
            reason: stop.reason,
            elapsed: stop.elapsed.as_secs_f64(),
            message: message.0,
            traceback: stop.traceback.len(),
        };
        let block = sys::lua_newuserdata(l, head.size()).cast::<Head>();
        let mut texts = Bytes {
            to: block.add(1).cast(),
            room: head.message + head.traceback,
        };
        let _ = write!(texts, "{stop}");
        let _ = texts.write_str(&stop.traceback);
        block.write(head);
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key());
        sys::lua_setmetatable(l, -2);
    }
    1
}

/// Counts what is written.
struct Count(usize);

impl Write for Count {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.0 += s.len();
        Ok(())
    }
}

/// Writes into a block, as far as there is room.
struct Bytes {
    to: *mut u8,
    room: usize,
}

impl Write for Bytes {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let n = s.len().min(self.room);
        // SAFETY: `room` bytes from `to` on are ours.
        unsafe {
            self.to.copy_from_nonoverlapping(s.as_ptr(), n);
            self.to = self.to.add(n);
        }
        self.room -= n;
        Ok(())
    }
}

/// The stop at `index`; none if there is something else, whatever it looks like.
///
/// # Safety
/// In a C function, with two free slots.
unsafe fn get<'a>(l: *mut lua_State, index: c_int) -> Option<&'a Head> {
    // SAFETY: by the caller. A userdata with our metatable, of which at least a head can be read; our mark is in nothing but what `build`
    // has made. It lives as long as it is on the stack.
    unsafe {
        if sys::lua_type(l, index) != sys::LUA_TUSERDATA || sys::lua_getmetatable(l, index) == 0 {
            return None;
        }
        sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, key());
        let same = sys::lua_rawequal(l, -1, -2) != 0;
        sys::lua_settop(l, -3);
        let size = sys::lua_rawlen(l, index);
        if !same || size < size_of::<Head>() {
            return None;
        }
        let block = sys::lua_touserdata(l, index).cast::<Head>();
        if (&raw const (*block).mark).read() != Head::mark() {
            return None;
        }
        let head = &*block;
        (head.size() == size).then_some(head)
    }
}

/// `leash.reason(err)`: why, or nil for anything that is no stop.
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn reason(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        sys::luaL_checkany(l, 1);
        match get(l, 1) {
            Some(head) => push(l, head.reason.as_str().as_bytes()),
            None => sys::lua_pushnil(l),
        }
    }
    1
}

/// # Safety
/// One free slot.
unsafe fn push(l: *mut lua_State, text: &[u8]) {
    // SAFETY: by the caller.
    unsafe { sys::lua_pushlstring(l, text.as_ptr().cast::<c_char>(), text.len()) };
}

/// The texts behind the head.
///
/// # Safety
/// From [`get`].
unsafe fn texts(head: &Head) -> (&[u8], &[u8]) {
    // SAFETY: `get` has seen that they are there.
    unsafe {
        let start = ptr::from_ref(head).add(1).cast::<u8>();
        let all = std::slice::from_raw_parts(start, head.message + head.traceback);
        all.split_at(head.message)
    }
}

/// `err.reason` and so on. Nil for other names.
unsafe extern "C-unwind" fn index(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua.
    unsafe {
        let Some(head) = get(l, 1) else {
            return sys::luaL_argerror(l, 1, c"leash.stop expected".as_ptr());
        };
        let (message, traceback) = texts(head);
        let name = match sys::lua_type(l, 2) {
            sys::LUA_TSTRING => CStr::from_ptr(sys::lua_tostring(l, 2)).to_bytes(),
            _ => b"",
        };
        match name {
            b"reason" => push(l, head.reason.as_str().as_bytes()),
            b"message" => push(l, message),
            b"traceback" => push(l, traceback),
            b"elapsed" => sys::lua_pushnumber(l, head.elapsed),
            _ => sys::lua_pushnil(l),
        }
    }
    1
}

/// `tostring(err)`
unsafe extern "C-unwind" fn to_string(l: *mut lua_State) -> c_int {
    // SAFETY: as `index`.
    unsafe {
        let Some(head) = get(l, 1) else {
            return sys::luaL_argerror(l, 1, c"leash.stop expected".as_ptr());
        };
        push(l, texts(head).0);
    }
    1
}

/// `"stopped: " .. err`, with strings, numbers and other stops.
unsafe extern "C-unwind" fn concat(l: *mut lua_State) -> c_int {
    // SAFETY: as `index`.
    unsafe {
        for side in 1..=2 {
            if let Some(head) = get(l, side) {
                push(l, texts(head).0);
            } else if sys::lua_isstring(l, side) != 0 {
                sys::lua_pushvalue(l, side);
            } else {
                let kind = sys::lua_typename(l, sys::lua_type(l, side));
                return sys::luaL_error(l, c"attempt to concatenate a %s value".as_ptr(), kind);
            }
        }
        sys::lua_concat(l, 2);
    }
    1
}
