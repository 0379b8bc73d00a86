//! LuaJIT: a userdata that knows when its state is being closed.
//!
//! `lua_close` of LuaJIT frees its own allocator's arena only if that allocator is in force by then (`close_state` in `lj_state.c`), and with
//! ours in front of it each closed state would leak one. PUC Lua has no such condition, and its allocator is told of the main block ([`crate::alloc`]), which is freed last.
//! Here that is too late.
//!
//! So there is a userdata whose finalizer, called by `lua_close`, says that the state is being closed. But it is not the last one: what finalizers of the script make in their turn is
//! finalized afterwards, up to nine times over, and may be endless. So the host's allocator is put back when the **block** of the userdata is freed: that is in `lj_gc_freeall`, after all finalizers,
//! and there is no other time for it, unless a finalizer removes it from the registry, and collects. Then one is running (`HOOK_GC`), and nothing is done: an arena is lost.
//!
//! A script with the `debug` library can reach the userdata. Under a limit it gains nothing by calling the finalizer (a state is closed
//! by [`crate::Vm::close`] then), nor by removing it from the registry (it must still be there).

use crate::hookless;
use crate::registry;
use crate::state::State;
use crate::sys::{self, lua_Debug, lua_State};
use std::ffi::{c_int, c_void};
use std::ptr;

static KEY: u8 = 0;

fn key() -> *mut c_void {
    (&raw const KEY).cast_mut().cast()
}

/// Makes the userdata. A status other than 0 is a Lua error, its object on the stack.
///
/// # Safety
/// `l` is a coroutine of `state` that runs on this thread, with free stack.
pub unsafe fn plant(state: &State, l: *mut lua_State) -> c_int {
    if !cfg!(feature = "luajit") {
        return 0;
    }
    // SAFETY: by the caller; `make` takes the state.
    let status = unsafe { sys::protected(l, make, ptr::from_ref(state).cast_mut().cast()) };
    state.has_sentinel.set(status == 0);
    status
}

/// Takes the userdata away again: the state goes on without us. It must succeed, whether or not there is memory: what the userdata refers to is
/// about to be freed.
///
/// # Safety
/// As [`plant`].
pub unsafe fn uproot(state: &State, main: *mut lua_State) {
    if state.has_sentinel.take() {
        // SAFETY: by the caller; `make` has used the key.
        unsafe { registry::forget(main, key()) };
    }
}

unsafe extern "C-unwind" fn make(l: *mut lua_State) -> c_int {
    // SAFETY: a C function with LUA_MINSTACK slots; the argument is the state. Errors jump over nothing.
    unsafe {
        let state = sys::lua_touserdata(l, 1);
        let u = sys::lua_newuserdata(l, size_of::<*const State>());
        u.cast::<*const State>().write(state.cast());
        sys::lua_createtable(l, 0, 1);
        sys::lua_pushcfunction(l, closing);
        sys::lua_setfield(l, -2, c"__gc".as_ptr());
        sys::lua_setmetatable(l, -2);
        sys::lua_pushlightuserdata(l, key());
        sys::lua_insert(l, -2);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
    }
    0
}

/// `__gc`.
unsafe extern "C-unwind" fn closing(l: *mut lua_State) -> c_int {
    // SAFETY: a C function; `lua_rawequal` and friends take any value. The userdata is ours if it is the one in the registry,
    // and then its state is attached (`uproot` runs before the detach).
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        sys::lua_pushlightuserdata(l, key());
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        let planted = sys::lua_touserdata(l, -1);
        if planted.is_null() || planted != sys::lua_touserdata(l, 1) {
            return 0;
        }
        let state = &*planted.cast::<*const State>().read();
        // `lua_close` calls finalizers from no frame, with the collector off: on the main state, and since 2025 on a coroutine
        // of LuaJIT's own (`gc_call_finalizer`), while the main state runs nothing. Inside a call of ours it is
        // `os.exit(true, true)` that closes the state, if at all: then the arena goes with the process.
        let main = state.main.get();
        if main.is_null() {
            return 0; // detached, and nothing is left to do
        }
        let called_by_a_script = sys::lua_getstack(l, 1, &mut ar) != 0
            || l != main && sys::lua_getstack(main, 0, &mut ar) != 0
            || sys::gc(l, sys::COLLECTOR_IS_RUNNING) != 0
            || !(state.closing.get() || state.is_quiet());
        if called_by_a_script {
            return 0;
        }
        if state.is_elsewhere() {
            // Another thread has run it until now, and the allocator has not been called on this one yet: its handler may be looking at the state, which is about to go.
            state.follow_to_this_thread();
        }
        if state.allocator_is_ours() && hookless::hookmask(state).is_some() {
            state.landmark.set(planted as usize);
        } else {
            // Nobody may tell us of its block, or whether a finalizer runs then.
            retire(state);
        }
    }
    0
}

/// The landmark's block is being freed: whether that is the sentinel's, by `lua_close`. If not, the main block's is waited for.
pub fn goes(state: &State) -> bool {
    if state.landmark.get() == state.main.get() as usize {
        return false;
    }
    let goes = !hookless::in_finalizer(state);
    if !goes {
        state.landmark.set(state.main.get() as usize);
    }
    goes
}

/// The state goes on without us. It may be gone afterwards.
///
/// # Safety
/// The state is live, on this thread, and is being closed: it runs no code, but for finalizers that nobody is to stop.
pub unsafe fn retire(state: &State) {
    // SAFETY: by the caller.
    unsafe {
        // Somebody may have put an allocator of his own in front of ours, which goes on calling it.
        let nobody_calls = state.allocator_is_ours();
        state.unwrap_allocator();
        state.main_is_gone();
        if state.belongs_to_lua.get() && nobody_calls {
            State::free(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::guest::Guest;
    use crate::hook::state_of;
    use crate::sys;
    use std::sync::atomic::Ordering;
    use std::thread;

    /// LuaJIT: a state that was closed by another thread than had run it was freed under the signal handler of the first: a crash, in one of six runs of the stress of 25 s.
    #[test]
    fn whoever_closes_a_state_takes_it_over_first() {
        // SAFETY: one thread after the other uses the new state. Its record stays.
        unsafe {
            let l = sys::luaL_newstate();
            let _guest = Guest::attach(l).unwrap();
            let record = state_of(l).unwrap().place.get();
            let first = record.home.load(Ordering::Relaxed);
            assert_ne!(first, 0);
            if cfg!(feature = "luajit") {
                // The allocator would do it, too (and elsewhere it is what does): so the host has put its own back.
                let (f, ud) = state_of(l).unwrap().memory.base();
                sys::lua_setallocf(l, f, ud);
            }
            let address = l as usize;
            let closing = thread::spawn(move || sys::lua_close(address as *mut sys::lua_State));
            closing.join().unwrap();
            assert_ne!(record.home.load(Ordering::Relaxed), first);
        }
    }
}
