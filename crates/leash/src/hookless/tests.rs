//! What is remembered of where hooks are off, and what the allocator does about it. (How finalizers are stopped is in the engine's tests and in the corpus.)

use super::few::MOST;
use super::*;
use crate::guest::Guest;
use crate::limits::Limits;
use crate::request::{CHECK, WATCH};
use std::time::{Duration, Instant};
use watchdog::Ticks;

const MANY: usize = 3 * MOST;

/// Runs `f`, protected, in the main state of a new guest.
pub fn in_a_state(f: sys::lua_CFunction) {
    // SAFETY: a new state, on this thread, closed at the end.
    unsafe {
        let l = sys::luaL_newstate();
        let _guest = Guest::attach(l).unwrap();
        sys::lua_pushcfunction(l, f);
        assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
        sys::lua_close(l);
    }
}

/// A finalizer whose coroutines were all stopped in hooks of their own was never found: they had taken all places.
#[test]
fn those_that_do_not_run_make_room() {
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        // SAFETY: live coroutines of this state, which are kept on its stack.
        unsafe {
            let switch_on_in = |co| {
                allowhook(state, co).unwrap().write_volatile(0);
                switch_on(state, co);
            };
            switch_on_in(l);
            sys::lua_checkstack(l, MANY as c_int);
            for _ in 0..MANY {
                let co = sys::lua_newthread(l);
                switch_on_in(co);
                assert!(state.hookless.known.has(co));
                assert!(state.hookless.known.has(l));
            }
            allowhook(state, l).unwrap().write_volatile(1);
        }
        0
    }
    in_a_state(main);
}

/// Where they are may be no memory any more. (The fuzzer found, under AddressSanitizer, that they were read before it was asked whether they are alive.)
#[test]
fn those_that_are_gone_are_not_looked_at() {
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        for (n, known) in state.hookless.known.places.iter().enumerate() {
            known.set(4096 * (n + 1)); // where nothing can be read
        }
        state.hookless.known.count.set(MOST);
        // SAFETY: this runs in it.
        unsafe {
            allowhook(state, l).unwrap().write_volatile(0);
            switch_on(state, l);
        }
        assert!(state.hookless.known.has(l));
        0
    }
    in_a_state(main);
}

/// A finalizer that begins with `debug.sethook()` had taken the hook away before it first allocated.
#[test]
fn a_hook_that_was_taken_away_comes_back() {
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        // SAFETY: this runs in it.
        unsafe {
            allowhook(state, l).unwrap().write_volatile(0);
            switch_on(state, l);
            wait(state, l);
            sys::lua_sethook(l, None, 0, 0);
            sys::lua_createtable(l, 0, 0);
            assert!(hook::is_ours(SavedHook::of(l)));
            forget(state);
            sys::lua_sethook(l, None, 0, 0);
            sys::lua_createtable(l, 0, 0);
            assert!(!hook::is_ours(SavedHook::of(l)));
        }
        0
    }
    in_a_state(main);
}

/// A finalizer that caught each stop in a coroutine of its own made a million of them until the next delivery, which then went through all.
#[cfg(any(feature = "lua51", feature = "lua52"))]
#[test]
fn what_goes_on_in_spite_of_a_stop_gets_some_megabytes_and_no_more() {
    unsafe extern "C-unwind" fn make(l: *mut lua_State) -> c_int {
        // SAFETY: this runs in the state.
        unsafe {
            sys::lua_newuserdata(l, 1 << 20);
            sys::lua_settop(l, 0);
        }
        0
    }
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        // SAFETY: this runs in it.
        unsafe {
            let make_some = || {
                (0..20).position(|_| {
                    sys::lua_pushcfunction(l, make);
                    let status = sys::lua_pcall(l, 0, 0, 0);
                    sys::lua_settop(l, 0);
                    status == sys::LUA_ERRMEM
                })
            };
            wait(state, l);
            assert_eq!(make_some(), Some(MOST_NEW / (1 << 20) - 1));
            wait(state, l); // the same stop
            assert_eq!(make_some(), Some(0));
            forget(state);
            assert_eq!(make_some(), None);
        }
        0
    }
    in_a_state(main);
}

/// A finalizer of a coroutine that was late, which did nothing but call with limits, was met by chance: each of its calls had the vain deliveries counted anew.
#[test]
fn deliveries_are_not_counted_anew_by_what_a_finalizer_calls() {
    unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
        0
    }
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        // SAFETY: this runs in it.
        unsafe {
            let guest = Guest::of(l).unwrap();
            let limits = Limits::new().instructions(1 << 40); // what counts is taken away at the end
            for unseen in [true, false] {
                let allow = allowhook(state, l).unwrap();
                allow.write_volatile(u8::from(!unseen));
                let request = &state.record().request;
                assert!(request.ask(request.generation(), WATCH));
                state.unanswered.set(2);
                sys::lua_pushcfunction(l, nothing);
                assert_eq!(guest.call(l, 0, 0, 0, &limits).unwrap(), 0);
                assert_eq!(state.unanswered.get() >= 2, unseen); // the timer thread may have asked once
                state.answer(WATCH);
            }
        }
        0
    }
    in_a_state(main);
}

/// A finalizer that was found with hooks off, and is over, kept the hook from collecting before the memory limit: on a busy machine the string buffers of 5.3 are such.
#[cfg(not(any(feature = "lua51", feature = "luajit")))] // 5.1 cannot tell; LuaJIT has a bit for it
#[test]
fn a_finalizer_that_is_over_is_none() {
    unsafe extern "C-unwind" fn finalize(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        // SAFETY: this runs in it, with hooks off.
        unsafe { switch_on(state, l) };
        assert!(may_be_finalizing(state, l));
        0
    }
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        // SAFETY: this runs in it.
        unsafe {
            sys::lua_newuserdata(l, 1);
            sys::lua_createtable(l, 0, 1);
            sys::lua_pushcfunction(l, finalize);
            sys::lua_setfield(l, -2, c"__gc".as_ptr());
            sys::lua_setmetatable(l, -2);
            sys::lua_settop(l, 0);
            sys::gc(l, sys::LUA_GCCOLLECT);
            assert!(state.hookless.known.has(l));
            assert!(!may_be_finalizing(state, l));
        }
        0
    }
    in_a_state(main);
}

/// What runs in `l` with hooks off, and is late, is seen to while the thread rests: without a walk. `fall_due` has it be late.
unsafe fn is_seen_to_meanwhile(l: *mut lua_State, flag: u64, fall_due: impl Fn(&State)) {
    let state = hook::state_of(l).unwrap();
    let record = state.record();
    // SAFETY: `l` runs in it, a C function. The other is kept on its stack.
    unsafe {
        let other = sys::lua_newthread(l);
        record.walked(Duration::from_secs(100), Ticks::now()); // there is no other walk in this test
        allowhook(state, l).unwrap().write_volatile(0);
        fall_due(state);
        state.ask_self(flag);
        assert!(hook::is_ours(SavedHook::of(other)));
        sys::set_hook(other, None, 0, 0);
        let began = Instant::now();
        while allowhook(state, l).unwrap().read_volatile() == 0 {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        assert!(!hook::is_ours(SavedHook::of(other)));
        record.walked(Duration::ZERO, Ticks::now());
    }
}

/// An endless finalizer among very many coroutines took four walks through all of them, with a rest between two that was four times as long as a walk. If it made those coroutines, there were
/// ever more: half a second to seven.
#[test]
fn a_thread_that_rests_sees_to_what_runs_unseen() {
    unsafe extern "C-unwind" fn late(l: *mut lua_State) -> c_int {
        // SAFETY: this runs in it.
        unsafe {
            is_seen_to_meanwhile(l, CHECK, |state| {
                state.for_each_scope(|s| s.deadline.set(Ticks::from_nanos(1)));
                state.publish();
            });
        }
        0
    }
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        // SAFETY: this runs in it.
        unsafe {
            let guest = Guest::of(l).unwrap();
            sys::lua_pushcfunction(l, late);
            let limits = Limits::new().timeout(Duration::from_secs(3600));
            assert!(guest.call(l, 0, 0, 0, &limits).is_err());
        }
        0
    }
    in_a_state(main);
}

/// The same in a watched coroutine that is late: 0.2 s, where it had overflowed the stack, through all calls of which each walk goes from 5.4 on.
#[test]
fn a_thread_that_rests_sees_to_what_runs_unseen_in_a_late_coroutine() {
    unsafe extern "C-unwind" fn late(l: *mut lua_State) -> c_int {
        // SAFETY: this runs in it.
        unsafe { is_seen_to_meanwhile(l, WATCH, |state| while !state.is_ward_late() {}) };
        0
    }
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        // SAFETY: this runs in it. The coroutine is on its stack.
        unsafe {
            let guest = Guest::of(l).unwrap();
            let co = sys::lua_newthread(l);
            sys::lua_pushcfunction(co, late);
            assert!(guest.ward(co, Some(Duration::from_millis(1)), None, 0));
            guest.resume(l, co, 0);
        }
        0
    }
    in_a_state(main);
}
