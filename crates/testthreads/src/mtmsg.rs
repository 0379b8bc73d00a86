//! The names of mtmsg in Lua.
//!
//! Where this differs from mtmsg: `newbuffer` ignores its arguments (names and sizes), errors are strings that begin with
//! mtmsg's name for the error, and what is not listed in [`FUNCTIONS`] and `METHODS` does not exist.

use std::ffi::c_int;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua_sys::*;

use crate::Function;
use crate::buffer::{Buffer, Message, duration};
use crate::object::{Object, check, push_new};
use crate::value::{check_all, push_all, read_all};

/// The module's functions.
pub const FUNCTIONS: &[Function] = &[
    (c"newbuffer", newbuffer),
    (c"buffer", buffer),
    (c"sleep", sleep),
];

/// A script's reference to a buffer. Empty only until it is filled, before the script sees it.
#[derive(Default)]
struct BufferRef(Option<Arc<Buffer>>);

impl Object for BufferRef {
    const NAME: &'static std::ffi::CStr = c"mtmsg.buffer";
    const METHODS: &'static [Function] = &[(c"id", id), (c"addmsg", addmsg), (c"nextmsg", nextmsg)];
}

/// Keeps a message while its values are pushed. Scripts never see it.
#[derive(Default)]
pub struct Received(pub Message);

impl Object for Received {
    const NAME: &'static std::ffi::CStr = c"leash.testthreads.received";
    const METHODS: &'static [Function] = &[];
}

/// The buffer in the first argument. The reference is good as long as the argument is on the stack.
///
/// # Safety
/// As [`check`].
unsafe fn this<'a>(l: *mut lua_State) -> &'a Buffer {
    // SAFETY: by the caller.
    unsafe {
        match &(*check::<BufferRef>(l, 1)).0 {
            Some(buffer) => buffer,
            None => unreachable!("references are filled before a script has them"),
        }
    }
}

/// `mtmsg.newbuffer()`
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn newbuffer(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { (*push_new::<BufferRef>(l)).0 = Some(Buffer::new()) };
    1
}

/// `mtmsg.buffer(id)`
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn buffer(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. What `find` returns is in the userdata before anything raises.
    unsafe {
        #[allow(clippy::useless_conversion)] // `lua_Integer` is as wide as a pointer in 5.1
        let id = i64::try_from(luaL_checkinteger(l, 1)).unwrap_or(0);
        let reference = push_new::<BufferRef>(l);
        (*reference).0 = Buffer::find(id);
        if (*reference).0.is_none() {
            return luaL_error(
                l,
                c"mtmsg.error.unknown_object: buffer id %d".as_ptr(),
                id as c_int,
            );
        }
    }
    1
}

/// `mtmsg.sleep(seconds)`
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn sleep(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    let seconds = unsafe { luaL_checknumber(l, 1) };
    std::thread::sleep(duration(seconds).unwrap_or(Duration::MAX));
    0
}

/// `buffer:id()`
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn id(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { lua_pushinteger(l, this(l).id() as lua_Integer) };
    1
}

/// `buffer:addmsg(...)`: true.
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn addmsg(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. What can raise comes first; the message has moved into the buffer before the last push, which
    // needs no memory.
    unsafe {
        let buffer = this(l);
        check_all(l, 2);
        buffer.add(read_all(l, 2));
        lua_settop(l, 1);
        lua_pushboolean(l, 1);
    }
    1
}

/// `buffer:nextmsg([seconds])`: the values of the oldest message, or nothing when the time is over.
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn nextmsg(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. The message is taken into a userdata that only this call knows: a finalizer that runs while its
    // values are pushed cannot touch it.
    unsafe {
        let buffer = this(l);
        let deadline = if lua_isnoneornil(l, 2) != 0 {
            None
        } else {
            duration(luaL_checknumber(l, 2)).and_then(|wait| Instant::now().checked_add(wait))
        };
        let received = push_new::<Received>(l);
        match buffer.next(deadline) {
            None => return 0,
            Some(message) => (*received).0 = message,
        }
        push_received(l, received)
    }
}

/// Pushes the values that `received`, on the stack, holds, and frees them. Returns how many they were.
///
/// # Safety
/// As [`push_all`].
pub unsafe fn push_received(l: *mut lua_State, received: *mut Received) -> c_int {
    // SAFETY: by the caller; nobody else knows this userdata.
    unsafe {
        let n = push_all(l, &(*received).0);
        (*received).0 = Message::new();
        n
    }
}
