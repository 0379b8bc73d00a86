//! What the attach finds out about a state, and that it leaves no trace.

mod common;
use common::Lua;
use leash::{AttachError, Limits, Vm, sys};

#[test]
fn every_place_is_found() {
    let lua = Lua::new();
    let layout = lua.vm().layout();
    assert!(layout.jump.is_some(), "{layout:?}");
    if cfg!(feature = "luajit") {
        return; // one hook for all coroutines, and other bytes for the rest
    }
    assert!(layout.errfunc.is_some(), "{layout:?}");
    assert!(layout.allowhook.is_some(), "{layout:?}");
    assert_eq!(
        layout.global.is_some(),
        cfg!(feature = "lua51"),
        "{layout:?}"
    );
}

#[test]
fn the_places_are_the_same_in_each_state() {
    let first = Lua::new().vm().layout();
    for _ in 0..50 {
        let lua = Lua::new();
        lua.ok("local t = {} for i = 1, 100 do t[i] = coroutine.create(function() end) end");
        assert_eq!(lua.vm().layout(), first);
    }
}

#[test]
fn a_second_attach_is_refused() {
    let lua = Lua::new();
    // SAFETY: a live state on its thread.
    let second = unsafe { Vm::attach(lua.l) };
    assert!(matches!(second, Err(AttachError::Attached)));
    lua.assert_healthy();
}

#[test]
fn null_is_refused() {
    // SAFETY: null is allowed.
    let none = unsafe { Vm::attach(std::ptr::null_mut()) };
    assert!(matches!(none, Err(AttachError::NoState)));
}

#[test]
fn a_detached_state_has_its_own_allocator_and_hook_again() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        let before = sys::allocator(l);
        for _ in 0..3 {
            let vm = Vm::attach(l).unwrap();
            assert_ne!(sys::allocator(l).1, before.1);
            drop(vm);
            let after = sys::allocator(l);
            assert_eq!((after.0 as usize, after.1), (before.0 as usize, before.1));
            assert!(sys::lua_gethook(l).is_none());
            assert_eq!(sys::lua_gettop(l), 0);
        }
        sys::lua_close(l);
    }
}

#[test]
fn a_state_that_the_host_closes_first_is_noticed() {
    // SAFETY: a state of our own; `Vm` allows for a state that is gone.
    unsafe {
        let l = sys::luaL_newstate();
        let vm = Vm::attach(l).unwrap();
        let handle = vm.handle();
        sys::lua_close(l);
        assert!(!handle.kill());
        drop(vm);
    }
}

#[test]
fn coroutines_older_than_the_attach_are_stopped_too() {
    // SAFETY: a state of our own, on this thread.
    unsafe {
        let l = sys::luaL_newstate();
        sys::luaL_openlibs(l);
        let older = c"t = {} for i = 1, 100 do t[i] = coroutine.create(function() while true do pcall(function() while true do end end) end end) end collectgarbage()";
        assert_eq!(sys::luaL_loadstring(l, older.as_ptr()), 0);
        assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        let vm = Vm::attach(l).unwrap();
        for _ in 0..20 {
            let code = c"local co = table.remove(t) coroutine.resume(co)";
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            let limits = common::timeout(10);
            vm.call(l, 0, 0, 0, &limits).unwrap_err();
        }
        vm.close(&Limits::new());
    }
}
