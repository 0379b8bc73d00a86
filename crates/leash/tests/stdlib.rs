//! Guarded library functions in a state of a host: without Lua's module, attached or not.

mod common;
use common::SOON;
use leash::{Limits, Reason, Vm, stdlib, sys};
use std::ffi::{CString, c_int};
use std::time::{Duration, Instant};
use sys::lua_State;

/// A state with libraries whose functions are guarded.
unsafe fn guarded() -> *mut lua_State {
    // SAFETY: a new state, used as the C API says, on one thread.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        sys::lua_getglobal(l, c"string".as_ptr());
        // 5.1 and LuaJIT may have `gfind` besides.
        assert!((5..=6).contains(&stdlib::guard(l, -1)));
        assert_eq!(stdlib::guard(l, -1), 0, "twice");
        assert_eq!(sys::lua_gettop(l), 1);
        sys::lua_settop(l, 0);
        sys::lua_getglobal(l, c"table".as_ptr());
        assert!((2..=5).contains(&stdlib::guard(l, -1)));
        assert_eq!(stdlib::guard(l, -1), 0, "twice");
        sys::lua_settop(l, 0);
        sys::lua_getglobal(l, c"_G".as_ptr());
        // `load`; `pcall` and `xpcall`; on 5.1 to 5.3 and LuaJIT there may be `loadstring` besides.
        let expected = if cfg!(feature = "luajit") {
            1..=2
        } else {
            3..=4
        };
        assert!(expected.contains(&stdlib::guard(l, -1)));
        assert_eq!(stdlib::guard(l, -1), 0, "twice");
        sys::lua_settop(l, 0);
        l
    }
}

unsafe fn load(l: *mut lua_State, code: &str) {
    let code = CString::new(code).expect("no zero byte");
    // SAFETY: by the caller: a live state.
    unsafe { assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0) };
}

#[test]
fn a_state_that_is_not_attached_is_never_stopped() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = guarded();
        load(
            l,
            "local s = ('a'):rep(400)
             assert(not s:find('a*a*b')) -- hundreds of looks
             assert(s:gsub('a', '%0%0') == ('a'):rep(800) and #('xy'):rep(1000000) == 2000000)
             local n = 0 for w in ('one two three'):gmatch('%a+') do n = n + #w end assert(n == 11)",
        );
        assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        sys::lua_close(l);
    }
}

#[test]
fn an_attached_state_is_stopped() {
    let limits = Limits::new().timeout(Duration::from_millis(20));
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = guarded();
        let vm = Vm::attach(l).expect("it can be attached");
        for code in [
            "while true do pcall(string.find, ('a'):rep(1000), ('a*'):rep(30) .. 'b') end",
            "return (('a'):rep(1000)):gsub(('a-'):rep(30) .. 'b', '')",
            "for _ in (('a'):rep(3000)):gmatch(('a*'):rep(30) .. 'b') do end",
            "return ('ab'):rep(300000000)",
            "while true do local t = {} for i = 1, 1e4 do t[i] = i end table.insert(t, 1, 0) table.remove(t, 1) table.sort(t) table.concat(t) end",
            "if table.move then table.move({}, 1, 2^53, 2) elseif table.unpack then table.remove(setmetatable({}, { __len = function() return 2^30 end }), 1)
             else table.insert({}, -2^31, 1) end",
        ] {
            load(l, code);
            let stop = vm.call(l, 0, 0, 0, &limits).expect_err(code);
            assert_eq!(stop.reason, Reason::Timeout, "{code}");
            assert_eq!(sys::lua_gettop(l), 0);
        }
        load(l, "assert(('abc'):rep(2) == 'abcabc')");
        assert_eq!(vm.call(l, 0, 0, 0, &Limits::new()).expect("no stop"), 0);
        vm.close(&Limits::new());
    }
}

/// Two seconds for the first 180 kB, and it is five times as long. (LuaJIT gives up by itself, when it has read all of it.)
#[test]
fn a_text_that_takes_compilers_the_square_of_its_length() {
    unsafe extern "C-unwind" fn compile(l: *mut lua_State) -> c_int {
        // SAFETY: called by Lua with the text, which is not touched meanwhile. Nothing is owned here.
        unsafe {
            let mut length = 0;
            let text = sys::lua_tolstring(l, 1, &mut length).cast();
            let text = std::slice::from_raw_parts(text, length);
            stdlib::load_buffer(l, text, c"=text", Some(c"t"));
        }
        1
    }
    let limits = Limits::new().timeout(Duration::from_millis(20));
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = guarded();
        let vm = Vm::attach(l).expect("it can be attached");
        sys::lua_pushcfunction(l, compile);
        sys::lua_setglobal(l, c"compile".as_ptr());
        load(
            l,
            "text = 'local a return ' .. ('a and '):rep(150000) .. 'a'",
        );
        assert_eq!(vm.call(l, 0, 0, 0, &Limits::new()).expect("no stop"), 0);
        for code in [
            "return (loadstring or load)(text)",
            "return load(function() return text end)",
            "return compile(text)",
        ] {
            let began = Instant::now();
            load(l, code);
            let stop = vm.call(l, 0, 0, 0, &limits).expect_err(code);
            assert_eq!(stop.reason, Reason::Timeout, "{code}");
            assert!(began.elapsed() < SOON, "{code}: {:?}", began.elapsed());
        }
        vm.close(&Limits::new());
    }
}

/// A C function of a host that works for long, and looks up.
unsafe extern "C-unwind" fn works(l: *mut lua_State) -> c_int {
    loop {
        // SAFETY: called by Lua, with free slots. Nothing is owned here.
        unsafe { stdlib::look_up(l) };
    }
}

#[test]
fn a_function_of_the_host_is_stopped_where_it_looks_up() {
    let limits = Limits::new().timeout(Duration::from_millis(20));
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        let vm = Vm::attach(l).expect("it can be attached");
        sys::lua_pushcfunction(l, works);
        let stop = vm.call(l, 0, 0, 0, &limits).expect_err("it is endless");
        assert_eq!(stop.reason, Reason::Timeout);
        vm.close(&Limits::new());
    }
}

#[test]
fn only_the_originals_are_replaced() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        load(
            l,
            "return { find = print, rep = function() end, gsub = string.gsub, x = 1 }",
        );
        assert_eq!(sys::lua_pcall(l, 0, 1, 0), 0);
        assert_eq!(stdlib::guard(l, 1), 1);
        sys::lua_close(l);
    }
}
