//! A Lua state as any host drives it: made, given text to run, closed. Nothing here knows of Leash.

use leash::sys::{self, lua_State};
use std::ffi::{CStr, CString, c_int};

/// What every state is given before it runs programs.
const PRELUDE: &str = "
    DEPTH = jit and 4000 or 12000
    if warn then warn '@off' end -- finalizers that are stopped
    local newproxy, setmetatable, getmetatable = newproxy, setmetatable, getmetatable
    function gc(f)
        if not newproxy then return setmetatable({}, {__gc = f}) end
        local p = newproxy(true)
        getmetatable(p).__gc = f
        return p
    end
    if jit then
        jit.attach(type, 'errfin') -- the same
        -- A `require` that is stopped leaves a module that cannot be loaded, in 5.1 as here.
        require 'jit.profile' require 'string.buffer' require 'bit'
        FFI = require 'ffi'
        FFI.cdef 'int abs(int); void qsort(void *, size_t, size_t, int (*)(const int *, const int *));'
    end";

/// A new state with the standard libraries and what programs expect; `share` does nothing yet.
///
/// # Panics
/// For want of memory.
pub fn open() -> *mut lua_State {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        assert!(!l.is_null(), "out of memory");
        sys::luaL_openlibs(l);
        function(l, c"share", nothing);
        run(l, PRELUDE).expect("the prelude runs");
        l
    }
}

/// Sets a global function.
///
/// # Safety
/// `l` is a live state on this thread.
pub unsafe fn function(l: *mut lua_State, name: &CStr, f: sys::lua_CFunction) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushcfunction(l, f);
        sys::lua_setglobal(l, name.as_ptr());
    }
}

unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
    0
}

/// Puts the function that is `code` on the stack.
///
/// # Panics
/// If it is no Lua.
///
/// # Safety
/// `l` is a live state on this thread.
pub unsafe fn load(l: *mut lua_State, code: &str) {
    let text = CString::new(code).expect("no zeros");
    // SAFETY: by the caller. Loading is protected.
    let status = unsafe {
        sys::luaL_loadbuffer(l, text.as_ptr(), text.as_bytes().len(), c"=stress".as_ptr())
    };
    if status != 0 {
        // SAFETY: the message is on the stack.
        panic!("{}: {code}", unsafe { pop(l) });
    }
}

/// Takes the value on top of the stack, as text.
///
/// # Safety
/// `l` is a live state on this thread, and there is a value.
pub unsafe fn pop(l: *mut lua_State) -> String {
    // SAFETY: by the caller. The text is copied before the value goes.
    unsafe {
        let text = sys::lua_tostring(l, -1);
        let text = if text.is_null() {
            CStr::from_ptr(sys::lua_typename(l, sys::lua_type(l, -1)))
        } else {
            CStr::from_ptr(text)
        };
        let text = text.to_string_lossy().into_owned();
        sys::lua_settop(l, -2);
        text
    }
}

/// Runs `code` without arguments and without limits: its value or its error.
///
/// # Safety
/// `l` is a live state on this thread.
pub unsafe fn run(l: *mut lua_State, code: &str) -> Result<String, String> {
    // SAFETY: by the caller.
    unsafe {
        load(l, code);
        let status = sys::lua_pcall(l, 0, 1, 0);
        let text = pop(l);
        if status == 0 { Ok(text) } else { Err(text) }
    }
}
