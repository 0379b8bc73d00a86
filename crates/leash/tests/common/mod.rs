//! A Lua state for tests: made, attached, driven by source text.
#![allow(dead_code)] // each test binary uses its part

pub mod host;

use leash::{Limits, Stop, Vm, sys};
use std::ffi::{CStr, CString, c_int};
use std::time::Duration;

/// What ends sooner has not been missed: those bugs put a stop off for half a minute, or for ever. It is no measure of speed, and the machine may be as busy as it likes.
pub const SOON: Duration = Duration::from_secs(20);

/// An attached state with the standard libraries.
pub struct Lua {
    pub l: *mut sys::lua_State,
    vm: Option<Vm>,
}

impl Lua {
    pub fn new() -> Lua {
        // SAFETY: a new state, used on this thread only.
        unsafe { Lua::attach(sys::luaL_newstate()) }
    }

    /// # Safety
    /// A new state, which is used on this thread only.
    pub unsafe fn attach(l: *mut sys::lua_State) -> Lua {
        // SAFETY: by the caller.
        unsafe {
            let vm = Vm::attach(l).expect("attach");
            sys::luaL_openlibs(l);
            Lua { l, vm: Some(vm) }
        }
    }

    pub fn vm(&self) -> &Vm {
        self.vm.as_ref().unwrap()
    }

    fn load(&self, code: &str) {
        let code = CString::new(code).unwrap();
        // SAFETY: protected by `luaL_loadbuffer` itself.
        let status = unsafe {
            sys::luaL_loadbuffer(
                self.l,
                code.as_ptr(),
                code.as_bytes().len(),
                c"=test".as_ptr(),
            )
        };
        assert_eq!(status, 0, "syntax error: {}", self.text(-1));
    }

    /// Runs `code` under `limits`: its first result as text, its error, or the stop.
    pub fn run(&self, code: &str, limits: &Limits) -> Result<Result<String, String>, Box<Stop>> {
        self.load(code);
        // SAFETY: a function without arguments is on the stack.
        unsafe {
            let top = sys::lua_gettop(self.l) - 1;
            let status = self.vm().call(self.l, 0, 1, 0, limits).inspect_err(|_| {
                assert_eq!(sys::lua_gettop(self.l), top, "a stop left something");
            })?;
            let text = self.text(-1);
            sys::lua_settop(self.l, -2);
            Ok(if status == 0 { Ok(text) } else { Err(text) })
        }
    }

    /// Runs `code`, which is not to be stopped and not to fail.
    pub fn ok(&self, code: &str) -> String {
        match self.run(code, &Limits::new()) {
            Ok(Ok(text)) => text,
            Ok(Err(e)) => panic!("error: {e}"),
            Err(stop) => panic!("{stop}\n{}", stop.traceback),
        }
    }

    pub fn text(&self, idx: c_int) -> String {
        // SAFETY: a valid index; the string is copied at once.
        unsafe {
            let s = sys::lua_tostring(self.l, idx);
            if s.is_null() {
                CStr::from_ptr(sys::lua_typename(self.l, sys::lua_type(self.l, idx)))
            } else {
                CStr::from_ptr(s)
            }
            .to_string_lossy()
            .into_owned()
        }
    }

    /// The state computes, yields, collects, and runs hooks as a new one does, and nothing of ours is left on it.
    pub fn assert_healthy(&self) {
        // A hook that the script has set itself stands, and may well be endless. Ours must be gone: it is the one C function
        // that is not the debug library's.
        // SAFETY: a live state on its thread.
        unsafe {
            if let Some(h) = sys::lua_gethook(self.l) {
                assert!(
                    !leash::is_our_hook(h),
                    "our hook is still on the main state"
                );
                sys::lua_sethook(self.l, None, 0, 0);
            }
        }
        let v = self.ok(
            "local s = 0 for i = 1, 1e5 do s = s + i end assert(s == 5000050000)
             local co = coroutine.wrap(function(...) local a = ... while true do a = coroutine.yield(a * 2) end end)
             assert(co(1) == 2 and co(21) == 42)
             local n = 0
             if jit then jit.off() end -- compiled code does not count
             debug.sethook(function() n = n + 1 end, '', 10)
             for i = 1, 1000 do end
             debug.sethook()
             assert(n > 10, n)
             if jit then jit.on() end
             local ok, e = pcall(error, 'x') assert(not ok and e == 'x')
             assert(select(2, xpcall(error, function(m) return m .. '!' end, 'y')) ~= nil)
             collectgarbage() collectgarbage()
             return 'healthy'",
        );
        assert_eq!(v, "healthy");
    }

    /// Closes the state under `limits`.
    pub fn close(mut self, limits: &Limits) -> Option<Box<Stop>> {
        // SAFETY: no call is open.
        unsafe { self.vm.take().unwrap().close(limits) }
    }
}

impl Drop for Lua {
    fn drop(&mut self) {
        if let Some(vm) = self.vm.take() {
            // SAFETY: no call is open.
            unsafe { vm.close(&Limits::new()) };
        }
    }
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn timeout(n: u64) -> Limits {
    Limits::new().timeout(ms(n))
}
