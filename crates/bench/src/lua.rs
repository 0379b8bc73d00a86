//! A Lua state, driven by source text.

use leash::Jit;
use leash::sys::{self, lua_State};
use std::ffi::{CStr, CString};

/// A new state with the standard libraries. It is closed by whoever attached it, or never: the process ends soon.
pub fn new_state() -> *mut lua_State {
    // SAFETY: a new state.
    unsafe {
        let l = sys::luaL_newstate();
        assert!(!l.is_null(), "no memory for a state");
        sys::luaL_openlibs(l);
        l
    }
}

/// Pushes the function that is this code.
pub fn load(l: *mut lua_State, code: &str) {
    let code = CString::new(code).expect("no zero in it");
    // SAFETY: `l` is live, on this thread, as everywhere here; loading is protected.
    let status = unsafe { sys::luaL_loadstring(l, code.as_ptr()) };
    assert_eq!(status, 0, "{}", pop(l));
}

/// Runs this code, and returns its first result as text; or its error.
pub fn run(l: *mut lua_State, code: &str) -> Result<String, String> {
    load(l, code);
    // SAFETY: a function without arguments is on the stack.
    let status = unsafe { sys::lua_pcall(l, 0, 1, 0) };
    let text = pop(l);
    if status == 0 { Ok(text) } else { Err(text) }
}

/// Takes the value on top of the stack, as text.
fn pop(l: *mut lua_State) -> String {
    // SAFETY: there is a value; the text is copied before the value goes.
    unsafe {
        let text = sys::lua_tostring(l, -1);
        let owned = match text.is_null() {
            true => String::new(),
            false => CStr::from_ptr(text).to_string_lossy().into_owned(),
        };
        sys::lua_settop(l, -2);
        owned
    }
}

/// Code that never ends: calls, arithmetic and a table. On LuaJIT it is compiled, unless the compiler is off.
pub const ENDLESS: &str = "
local t, n = {}, 0
local function f(x) return x + 1 end
while true do
  n = f(n) % 1000003
  t[n % 16] = n
end";

/// LuaJIT: switches the compiler off.
pub fn interpret_only(l: *mut lua_State) {
    run(l, "if jit then jit.off() end").expect("it is off");
}

/// On LuaJIT, makes sure that compiled code is guarded, and not kept from running: Leash decides that by a trial at the first attach, which can
/// fail on a loaded machine. Then the process ends with code 75, and whoever measures starts it again.
pub fn require_guards(jit: Jit) {
    if jit == Jit::Interpreted {
        std::process::exit(75);
    }
}

/// Makes sure that what was meant to be compiled code was, and nothing else. The first trace is still there.
pub fn check_compiled(l: *mut lua_State, compiled: bool) {
    let question = "return tostring(jit ~= nil and require('jit.util').traceinfo(1) ~= nil)";
    let traces = run(l, question).expect("it answers");
    assert_eq!(traces, compiled.to_string(), "whether code was compiled");
}
