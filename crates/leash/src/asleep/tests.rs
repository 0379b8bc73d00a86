//! Nothing of a suspended call outlives its coroutine, whatever becomes of that. (What calls do is tested in Lua, `tests/lua/leash_yield.lua`.)

use crate::guest::Guest;
use crate::limits::Limits;
use crate::state::State;
use crate::sys::{self, Continuation, lua_State};
use crate::watch::{Extension, Warning};
use std::cell::RefCell;
use std::ffi::{CString, c_int};
use std::time::{Duration, Instant};

/// A state that is guarded from inside. `call(ms, f)` is a call with limits that may be yielded across: true, or whether it was stopped.
struct Host(*mut lua_State);

impl Host {
    fn new() -> Host {
        // SAFETY: a new state, on this thread. The functions are C functions.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            let guest = Guest::attach(l).unwrap();
            if cfg!(feature = "luajit") {
                sys::lua_pushcfunction(l, begin);
                sys::lua_pushcfunction(l, finish);
                sys::lua_pushcfunction(l, refuse);
                sys::lua_pushcfunction(l, call);
                assert!(guest.glue(l));
            } else {
                sys::lua_pushcfunction(l, call);
            }
            sys::lua_setglobal(l, c"call".as_ptr());
            Host(l)
        }
    }

    fn run(&self, code: &str) {
        let code = CString::new(code).unwrap();
        // SAFETY: live, on this thread.
        unsafe {
            let failed = sys::luaL_loadstring(self.0, code.as_ptr()) != 0
                || sys::lua_pcall(self.0, 0, 0, 0) != 0;
            if failed {
                panic!("{}", crate::vm::pop_message(self.0));
            }
        }
    }

    /// Runs something for a millisecond of CPU time (of all threads), again and again, until this holds.
    fn runs_until(&self, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "it never holds");
            self.run("local start = os.clock() while os.clock() < start + 0.001 do end");
        }
    }

    fn state(&self) -> &State {
        crate::hook::state_of(self.0).unwrap()
    }

    /// How many calls are open.
    fn open(&self) -> usize {
        let (state, mut listed) = (self.state(), 0);
        state.for_each_open(|_| listed += 1);
        super::for_each(&state.parked, |_| listed += 1);
        assert_eq!(listed, state.scopes.in_use());
        let mut loose = 0;
        state.for_each_open(|s| loose += usize::from(State::is_loose(s)));
        assert_eq!(loose, state.loose.get());
        listed
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: not used afterwards.
        unsafe { sys::lua_close(self.0) };
    }
}

unsafe fn limits(l: *mut lua_State) -> Limits {
    // SAFETY: by the caller: an argument.
    let ms = unsafe { sys::lua_tonumber(l, 1) };
    let limits = Limits::new();
    match ms {
        -1.0 => limits.instructions(1_000_000_000),
        -2.0 => limits.memory(1 << 40),
        -3.0 => limits.cpu(Duration::from_secs(100)),
        -4.0 => limits.warn(Duration::from_millis(200), 1),
        -5.0 => limits.warn(Duration::from_millis(5), 2),
        -6.0 => limits
            .warn(Duration::from_millis(5), 3)
            .instructions(1_000_000_000),
        ms => limits.timeout(Duration::from_secs_f64(ms / 1000.0)),
    }
}

/// Whether the call was stopped, or goes on being unwound.
unsafe fn ended(l: *mut lua_State, serial: c_int, status: c_int) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let guest = Guest::of(l).unwrap();
        let stop = guest.end(l, serial, status).stop;
        let (stopped, enclosing) = (stop.is_some(), stop.as_ref().is_some_and(|s| s.enclosing));
        drop(stop);
        if enclosing {
            guest.unwind(l);
        }
        if status != 0 && !stopped {
            sys::lua_error(l);
        }
        stopped
    }
}

unsafe extern "C-unwind" fn call(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. Nothing here owns anything.
    unsafe {
        let guest = Guest::of(l).unwrap();
        let suspends = guest.may_suspend(l);
        let serial = guest
            .begin(l, &limits(l), suspends, false, 0, guest.hook(l))
            .unwrap();
        sys::pcall_across_yields::<End>(l, sys::lua_gettop(l) - 2, serial)
    }
}

struct End;

impl Continuation for End {
    unsafe fn go_on(l: *mut lua_State, status: c_int, serial: c_int) -> c_int {
        // SAFETY: by the caller.
        unsafe { sys::lua_pushboolean(l, ended(l, serial, status).into()) };
        1
    }
}

unsafe extern "C-unwind" fn begin(l: *mut lua_State) -> c_int {
    // SAFETY: as `call`.
    unsafe {
        let guest = Guest::of(l).unwrap();
        let serial = guest
            .begin(
                l,
                &limits(l),
                guest.may_suspend(l),
                guest.state().glue.is_there(),
                0,
                guest.hook(l),
            )
            .unwrap();
        sys::lua_pushinteger(l, serial as _);
    }
    1
}

unsafe extern "C-unwind" fn finish(l: *mut lua_State) -> c_int {
    // SAFETY: as `call`.
    unsafe {
        let status = c_int::from(sys::lua_toboolean(l, 6) == 0);
        let serial = sys::lua_tointeger(l, 1) as c_int;
        sys::lua_pushboolean(l, ended(l, serial, status).into());
    }
    1
}

unsafe extern "C-unwind" fn refuse(l: *mut lua_State) -> c_int {
    // SAFETY: as `call`.
    unsafe { sys::luaL_error(l, c"refused".as_ptr()) }
}

/// Of every kind of limit, two calls in each coroutine.
const SUSPEND: &str = "cos = {}
    for _, limit in ipairs{200, 100000, -1, -2, -3, -4} do
      for i = 1, 100 do
        local co = coroutine.create(function() call(limit, function() call(limit, coroutine.yield) end) end)
        assert(coroutine.resume(co))
        cos[#cos + 1] = co
      end
    end";

#[test]
fn calls_go_when_their_coroutines_are_collected() {
    if !sys::YIELDS_ACROSS_CALLS {
        return;
    }
    let host = Host::new();
    for _ in 0..3 {
        host.run(SUSPEND);
        assert_eq!(host.open(), 1200);
        host.run("cos = nil collectgarbage() collectgarbage()");
        assert_eq!(host.open(), 0);
        assert!(!host.state().has_calls());
    }
    host.run(
        "for i = 1, 1e6 do end assert(not call(100000, function() for i = 1, 1e6 do end end))",
    );
    assert_eq!(host.open(), 0);
}

#[test]
fn calls_go_when_they_end() {
    if !sys::YIELDS_ACROSS_CALLS {
        return;
    }
    let host = Host::new();
    host.run(SUSPEND);
    host.run("for _, co in ipairs(cos) do while coroutine.status(co) ~= 'dead' do coroutine.resume(co) end end");
    assert_eq!(host.open(), 0);
    // By an error, and by a stop.
    host.run(
        "for i = 1, 100 do
           local co = coroutine.create(function() call(100000, function() coroutine.yield() error 'x' end) end)
           coroutine.resume(co) assert(not coroutine.resume(co))
           co = coroutine.create(function() return call(1, function() coroutine.yield() while true do end end) end)
           while coroutine.status(co) ~= 'dead' do coroutine.resume(co) end
           co = coroutine.create(function() call(100000, function() coroutine.yield() while true do pcall(error) end end) end)
           coroutine.resume(co)
           while coroutine.status(co) ~= 'dead' do call(1, function() coroutine.resume(co) end) end
         end",
    );
    assert_eq!(host.open(), 0);
}

#[test]
fn calls_go_when_their_coroutines_are_closed() {
    if !cfg!(any(feature = "lua54", feature = "lua55")) {
        return;
    }
    let host = Host::new();
    host.run(SUSPEND);
    host.run("for _, co in ipairs(cos) do assert(coroutine.close(co)) end");
    // Those that nobody has looked at since are gone at the next look, the others with their coroutines.
    host.run("call(100000, function() end) cos = nil collectgarbage() collectgarbage()");
    assert_eq!(host.open(), 0);
}

/// LuaJIT: the signal handler looks at the coroutine of the newest call that has been published. (AddressSanitizer found that it was read when it had gone.)
#[test]
fn the_coroutine_of_a_call_that_is_put_aside_is_not_looked_at_when_it_is_gone() {
    if !sys::YIELDS_ACROSS_CALLS {
        return;
    }
    let host = Host::new();
    host.run(
        "co = coroutine.create(function() call(100000, coroutine.yield) end)
        coroutine.resume(co)",
    );
    let state = host.state();
    let gone = state.scope_state.get();
    assert_ne!(gone, host.0);
    state.refresh(); // puts it aside
    assert_eq!(host.open(), 1);
    host.run("co = nil collectgarbage() collectgarbage()");
    assert_eq!(host.open(), 0);
    assert_ne!(state.scope_state.get(), gone);
}

#[test]
fn a_state_is_closed_with_suspended_calls() {
    if !sys::YIELDS_ACROSS_CALLS {
        return;
    }
    for wait in [0, 250] {
        let host = Host::new();
        host.run(SUSPEND);
        // SAFETY: live, on this thread.
        let handle = unsafe { Guest::attach(host.0) }.unwrap().handle();
        std::thread::sleep(Duration::from_millis(wait));
        assert!(handle.exists());
        drop(host);
        assert!(!handle.exists());
        std::thread::sleep(Duration::from_millis(wait)); // a deadline passes, and finds nothing
    }
}

#[test]
fn a_call_that_is_due_while_it_is_suspended_is_asked_for_only_now_and_then() {
    if !sys::YIELDS_ACROSS_CALLS {
        return;
    }
    let host = Host::new();
    host.run(
        "repeat
           co = coroutine.create(function() return call(5, function() coroutine.yield() while true do end end) end)
           coroutine.resume(co)
         until coroutine.status(co) == 'suspended'",
    );
    let state = host.state();
    host.runs_until(|| state.dozing.get());
    // One of those times may be just now.
    host.runs_until(|| state.record().request.flags() == 0);
    assert_eq!(
        state
            .record()
            .deadline
            .load(std::sync::atomic::Ordering::Relaxed),
        u64::MAX
    );
    host.run("assert(select(2, coroutine.resume(co)))");
    assert_eq!(host.open(), 0);
    assert!(!state.has_calls());
}

thread_local! {
    /// Where somebody was warned, and of which call.
    static WARNED: RefCell<Vec<(usize, u64)>> = const { RefCell::new(Vec::new()) };
}

unsafe extern "C-unwind" fn on_warn(l: *mut lua_State, w: *const Warning, _: *mut Extension) {
    // SAFETY: what the engine passes.
    let mark = unsafe { (*w).mark };
    WARNED.with_borrow_mut(|w| w.push((l as usize, mark)));
}

unsafe extern "C-unwind" fn push(_: *mut lua_State, _: *mut lua_State, _: bool) -> bool {
    false
}

#[test]
fn a_warning_that_is_due_while_suspended_waits_for_the_coroutine() {
    if !sys::YIELDS_ACROSS_CALLS {
        return;
    }
    for (limit, mark) in [(-5, 2), (-6, 3)] {
        let host = Host::new();
        // SAFETY: live, on this thread.
        unsafe { Guest::attach(host.0) }
            .unwrap()
            .on_ward(on_warn, push);
        host.run(&format!(
            "co = coroutine.create(function() return call({limit}, function()
               coroutine.yield() local start = os.clock() while os.clock() < start + 0.1 do end
             end) end)
             coroutine.resume(co)"
        ));
        let state = host.state();
        let dozes = WARNED.take().is_empty(); // else before it yielded, on a busy machine; then it is over
        if dozes {
            host.runs_until(|| state.dozing.get());
        }
        let deadline = &state.record().deadline;
        assert_eq!(
            deadline.load(std::sync::atomic::Ordering::Relaxed),
            u64::MAX
        );
        host.run("local start = os.clock() while os.clock() < start + 0.05 do end");
        assert!(WARNED.take().is_empty());
        host.run("assert(select(2, assert(coroutine.resume(co))) == false)");
        let warned = WARNED.take();
        assert_eq!(warned.len(), usize::from(dozes), "{warned:?}");
        for (l, of) in warned {
            assert_eq!(of, mark);
            assert_ne!(l, host.0 as usize);
        }
        assert_eq!(host.open(), 0);
        assert!(!state.has_calls());
    }
}
