//! LuaJIT's compiler and profiler, as `luajit.h` has them. On the other engines there is nothing to be told, and these functions do nothing.

use super::lua_State;
use std::ffi::c_int;

// `luajit.h`: the whole engine; off, on, flush.
const ENGINE_OFF: c_int = 0;
const ENGINE_ON: c_int = 0x100;
const ENGINE_FLUSH: c_int = 0x200;

/// `luaJIT_setmode` for the whole engine. Nothing on engines without a compiler.
///
/// # Safety
/// `l` is a live state on its own thread; a mode that LuaJIT knows raises an error in a finalizer.
unsafe fn set_mode(l: *mut lua_State, mode: c_int) {
    #[cfg(feature = "luajit")]
    {
        unsafe extern "C-unwind" {
            fn luaJIT_setmode(l: *mut lua_State, idx: c_int, mode: c_int) -> c_int;
        }
        // SAFETY: by the caller.
        unsafe { luaJIT_setmode(l, 0, mode) };
    }
    #[cfg(not(feature = "luajit"))]
    let _ = (l, mode);
}

/// LuaJIT's profiler (`luajit.h`). LuaJIT 2.0 has none: a library that is loaded into any LuaJIT looks for it.
#[cfg(feature = "luajit")]
pub mod profiler {
    use super::{c_int, lua_State, set_mode};
    use std::ffi::{CStr, c_char, c_void};

    /// `luaJIT_profile_callback`.
    pub type Callback = unsafe extern "C" fn(*mut c_void, *mut lua_State, c_int, c_int);

    type Start = unsafe extern "C-unwind" fn(*mut lua_State, *const c_char, Callback, *mut c_void);
    type Stop = unsafe extern "C-unwind" fn(*mut lua_State);

    #[cfg(feature = "vendored")]
    fn functions() -> Option<(Start, Stop)> {
        unsafe extern "C-unwind" {
            fn luaJIT_profile_start(
                l: *mut lua_State,
                mode: *const c_char,
                f: Callback,
                data: *mut c_void,
            );
            fn luaJIT_profile_stop(l: *mut lua_State);
        }
        Some((luaJIT_profile_start, luaJIT_profile_stop))
    }

    #[cfg(not(feature = "vendored"))]
    fn functions() -> Option<(Start, Stop)> {
        // SAFETY: what `luajit.h` says of these names.
        unsafe {
            let start = libc::dlsym(libc::RTLD_DEFAULT, c"luaJIT_profile_start".as_ptr());
            let stop = libc::dlsym(libc::RTLD_DEFAULT, c"luaJIT_profile_stop".as_ptr());
            (!start.is_null() && !stop.is_null()).then(|| {
                (
                    std::mem::transmute::<*mut c_void, Start>(start),
                    std::mem::transmute::<*mut c_void, Stop>(stop),
                )
            })
        }
    }

    /// Whether this LuaJIT has a profiler.
    pub fn is_there() -> bool {
        functions().is_some()
    }

    /// `luaJIT_profile_start`. Raises no error.
    ///
    /// # Safety
    /// `l` is a live state on its own thread; no other thread calls this module.
    pub unsafe fn start(l: *mut lua_State, mode: &CStr, f: Callback, data: *mut c_void) {
        if let Some((start, _)) = functions() {
            // SAFETY: by the caller.
            unsafe { start(l, mode.as_ptr(), f, data) };
        }
    }

    /// `luaJIT_profile_stop`. Raises no error.
    ///
    /// # Safety
    /// As [`start`].
    pub unsafe fn stop(l: *mut lua_State) {
        if let Some((_, stop)) = functions() {
            // SAFETY: by the caller.
            unsafe { stop(l) };
        }
    }

    /// Gives up the trace that is being recorded, as every call of Lua in its midst must (`jit_profile_callback` in `lib_jit.c`). `luaJIT_setmode` does so
    /// whatever it is asked for; here, for something that it does not know.
    ///
    /// # Safety
    /// `l` runs on this thread, in no finalizer.
    pub unsafe fn abort_recording(l: *mut lua_State) {
        const UNKNOWN_MODE: c_int = 0xff;
        // SAFETY: by the caller.
        unsafe { set_mode(l, UNKNOWN_MODE) };
    }
}

/// No more code of this state is compiled. Nothing on engines without a compiler.
///
/// # Safety
/// `l` is a live state on its own thread, and runs no finalizer (LuaJIT raises an error then).
pub unsafe fn compile_no_more(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { set_mode(l, ENGINE_OFF) };
}

/// Throws away what has been compiled, since it ignores hooks.
///
/// # Safety
/// As [`compile_no_more`]; no compiled code of the state is running, and no recording has been left half given up (`recorder.rs`).
pub unsafe fn forget_compiled(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { set_mode(l, ENGINE_FLUSH) };
}

/// Undoes [`compile_no_more`].
///
/// # Safety
/// `l` is a live state on its own thread.
pub unsafe fn compile_again(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { set_mode(l, ENGINE_ON) };
}
