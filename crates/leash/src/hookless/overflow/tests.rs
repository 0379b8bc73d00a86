use super::*;
use crate::hook;
use crate::hookless::tests::in_a_state;

/// What arrives is not Lua's message, and the array is as large as it may be: also where the very call that asks for the place of the handler finds it full, and where
/// C functions are called as deep as they may be (200).
#[test]
fn what_arrives_is_the_object() {
    static OBJECT: u8 = 0;
    fn object() -> *mut c_void {
        (&raw const OBJECT).cast_mut().cast()
    }
    unsafe extern "C-unwind" fn fail(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        let Place(offset) = state.layout.get().overflow.unwrap();
        // SAFETY: this runs in the state; what is written is what `raise` writes.
        unsafe {
            let is_full = sys::lua_toboolean(l, 1) != 0;
            let word = |before: usize| l.byte_add(offset - before).cast::<usize>();
            let size = || l.byte_add(offset - SIZE).cast::<i32>().read();
            while is_full && size() <= deep::MOST_CALLS / 2 {
                word(END).write(word(CI).read());
                sys::lua_pushcfunction(l, nothing);
                sys::lua_call(l, 0, 0);
            }
            if is_full {
                word(END).write(word(CI).read());
            }
            if sys::lua_toboolean(l, 2) != 0 {
                l.byte_add(offset).cast::<u16>().write(199); // until the protected call ends
            }
            sys::lua_pushlightuserdata(l, object());
            raise(state, l);
        }
        panic!("it has returned");
    }
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        let Place(offset) = state.layout.get().overflow.unwrap();
        // SAFETY: this runs in the state.
        unsafe {
            for (is_full, is_deep) in [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0), (1, 1)] {
                sys::lua_pushcfunction(l, fail);
                sys::lua_pushboolean(l, is_full);
                sys::lua_pushboolean(l, is_deep);
                assert_eq!(sys::lua_pcall(l, 2, 0, 0), sys::LUA_ERRRUN);
                assert_eq!(sys::lua_touserdata(l, -1), object());
                assert!(l.byte_add(offset - SIZE).cast::<i32>().read() <= deep::MOST_CALLS);
                get(l, Kept::Object);
                assert_eq!(sys::lua_type(l, -1), sys::LUA_TBOOLEAN); // not kept any more
                sys::lua_settop(l, 0);
            }
            state.start_collector();
        }
        0
    }
    in_a_state(main);
}

/// A poke may switch hooks on while the place of the handler is asked for. Then the hook raised the same error in there, each time, and what arrived was Lua's message (seen once,
/// `gc_catches_errors`).
#[test]
fn a_hook_leaves_the_question_alone() {
    use crate::guest::Guest;
    use crate::limits::Limits;
    use crate::request::CHECK;
    use std::time::Duration;
    use watchdog::Ticks;

    static OBJECT: u8 = 0;
    unsafe extern "C-unwind" fn ask(l: *mut lua_State) -> c_int {
        let state = hook::state_of(l).unwrap();
        // SAFETY: this runs in it, with hooks on. The hook is set, for a limit that is reached.
        unsafe {
            sys::lua_pushlightuserdata(l, (&raw const OBJECT).cast_mut().cast());
            state.for_each_scope(|s| s.deadline.set(Ticks::from_nanos(1)));
            state.publish();
            state.ask_self(CHECK);
            let errfunc = l
                .byte_add(state.layout.get().errfunc.unwrap())
                .cast::<isize>();
            put_instead(state, l, errfunc);
            assert_ne!(errfunc.replace(0), 0);
        }
        0
    }
    unsafe extern "C-unwind" fn main(l: *mut lua_State) -> c_int {
        // SAFETY: this runs in it.
        unsafe {
            let guest = Guest::of(l).unwrap();
            sys::lua_pushcfunction(l, ask);
            let limits = Limits::new().timeout(Duration::from_secs(3600));
            let _ = guest.call(l, 0, 0, 0, &limits);
        }
        0
    }
    in_a_state(main);
}
