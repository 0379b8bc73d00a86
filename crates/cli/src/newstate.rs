//! Makes the state that the script runs in, as `luaL_newstate` does, but with an allocator of our own choice.
//!
//! Why: the timer thread makes the process one of several threads, and from then on each `malloc` and `free` of glibc that misses the
//! thread's small cache takes a lock. A script that makes many objects, which the collector frees in long rows, was slower by
//! 8 to 15 % than under `lua`. mimalloc gives each thread its own heap, and is faster than either.
//!
//! What comes with that: `luaL_newstate` also sets the function that is called in a panic and, from 5.4 on, the one that
//! prints warnings, and neither can be had otherwise. So both are here, with the words of `lauxlib.c`. LuaJIT keeps its own
//! allocator, which needs addresses that no other gives.

use mlua_sys as ffi;
use mlua_sys::lua_State;

/// A new state, or null.
pub fn new() -> *mut lua_State {
    #[cfg(feature = "luajit")]
    // SAFETY: no preconditions.
    unsafe {
        ffi::luaL_newstate()
    }
    #[cfg(not(feature = "luajit"))]
    puc::new()
}

#[cfg(not(feature = "luajit"))]
mod puc {
    use super::*;
    use crate::stdio;
    use std::ffi::{c_int, c_void};
    use std::ptr;

    pub fn new() -> *mut lua_State {
        // SAFETY: `allocate` is a `lua_Alloc`; it needs no user data.
        let l = unsafe {
            #[cfg(not(feature = "lua55"))]
            let l = ffi::lua_newstate(allocate, ptr::null_mut());
            #[cfg(feature = "lua55")]
            let l = ffi::lua_newstate(
                allocate,
                ptr::null_mut(),
                ffi::luaL_makeseed(ptr::null_mut()),
            );
            l
        };
        if !l.is_null() {
            // SAFETY: the state is new.
            unsafe {
                ffi::lua_atpanic(l, panic);
                #[cfg(any(feature = "lua54", feature = "lua55"))]
                super::warnings::start(l);
            }
        }
        l
    }

    /// From this size on blocks are the C library's: it grows them by moving pages, without a copy (`mremap`), which counts for
    /// the stack of a deep recursion and for large tables. Lua tells the size of what it gives back, so each goes where it came from.
    const LARGE: usize = 1 << 20;

    /// A `lua_Alloc`.
    unsafe extern "C" fn allocate(
        _: *mut c_void,
        block: *mut c_void,
        old: usize,
        size: usize,
    ) -> *mut c_void {
        // SAFETY: a block that is not null came from here with the size `old`; a null one may be freed.
        unsafe {
            if size == 0 {
                if !block.is_null() && old >= LARGE {
                    libc::free(block);
                } else {
                    libmimalloc_sys::mi_free(block);
                }
                return ptr::null_mut();
            }
            if block.is_null() {
                return make(size);
            }
            match (old >= LARGE, size >= LARGE) {
                (false, false) => libmimalloc_sys::mi_realloc(block, size),
                (true, true) => libc::realloc(block, size),
                _ => {
                    let new = make(size);
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(
                            block.cast::<u8>(),
                            new.cast::<u8>(),
                            old.min(size),
                        );
                        allocate(ptr::null_mut(), block, old, 0);
                    }
                    new
                }
            }
        }
    }

    unsafe fn make(size: usize) -> *mut c_void {
        // SAFETY: `size` is not zero.
        unsafe {
            if size >= LARGE {
                libc::malloc(size)
            } else {
                libmimalloc_sys::mi_malloc(size)
            }
        }
    }

    /// Called for an error that nobody catches; Lua aborts the process afterwards.
    unsafe extern "C-unwind" fn panic(l: *mut lua_State) -> c_int {
        // SAFETY: the error object is on the stack; a string is read in place.
        unsafe {
            let message = if ffi::lua_type(l, -1) == ffi::LUA_TSTRING {
                ffi::lua_tostring(l, -1)
            } else {
                c"error object is not a string".as_ptr()
            };
            stdio::error_text(c"PANIC: unprotected error in call to Lua API (".as_ptr());
            stdio::error_text(message);
            stdio::error_text(c")\n".as_ptr());
        }
        0
    }
}

/// The warnings of 5.4 and 5.5: a message in pieces, `@on` and `@off` between messages.
#[cfg(any(feature = "lua54", feature = "lua55"))]
mod warnings {
    use super::*;
    use crate::stdio;
    use std::ffi::{CStr, c_char, c_int, c_void};

    /// As in `luaL_newstate`: off in 5.4, on in 5.5.
    ///
    /// # Safety
    /// `l` is a live state.
    pub unsafe fn start(l: *mut lua_State) {
        let f = if cfg!(feature = "lua54") { off } else { on };
        // SAFETY: by the caller. The functions below get the state, which outlives its warnings.
        unsafe { ffi::lua_setwarnf(l, Some(f), l.cast()) };
    }

    /// Whether the message is a control message; then it is obeyed.
    unsafe fn control(l: *mut c_void, message: *const c_char, to_continue: c_int) -> bool {
        // SAFETY: Lua passes a C string, and the state is live.
        unsafe {
            if to_continue != 0 || *message != b'@' as c_char {
                return false;
            }
            match CStr::from_ptr(message).to_bytes() {
                b"@off" => ffi::lua_setwarnf(l.cast(), Some(off), l),
                b"@on" => ffi::lua_setwarnf(l.cast(), Some(on), l),
                _ => {}
            }
            true
        }
    }

    unsafe extern "C-unwind" fn off(l: *mut c_void, message: *const c_char, to_continue: c_int) {
        // SAFETY: as Lua promises.
        unsafe { control(l, message, to_continue) };
    }

    /// A message begins.
    unsafe extern "C-unwind" fn on(l: *mut c_void, message: *const c_char, to_continue: c_int) {
        // SAFETY: as Lua promises.
        unsafe {
            if !control(l, message, to_continue) {
                stdio::error_text(c"Lua warning: ".as_ptr());
                more(l, message, to_continue);
            }
        }
    }

    /// A message goes on.
    unsafe extern "C-unwind" fn more(l: *mut c_void, message: *const c_char, to_continue: c_int) {
        // SAFETY: as Lua promises.
        unsafe {
            stdio::error_text(message);
            if to_continue != 0 {
                ffi::lua_setwarnf(l.cast(), Some(more), l);
            } else {
                stdio::error_text(c"\n".as_ptr());
                ffi::lua_setwarnf(l.cast(), Some(on), l);
            }
        }
    }
}
