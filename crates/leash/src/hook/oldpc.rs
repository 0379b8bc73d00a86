//! 5.2 and 5.3: the instruction whose line was looked at last (`oldpc` of a `lua_State`), which setting our hook must not change.
//!
//! It has to belong to the function that runs when a line hook is due the next time: Lua does not ask whether it does, and would read lines from anywhere (`traceexec` in
//! lvm.c). `lua_sethook` makes it that of the Lua function that runs. Where a signal interrupts the return of a function, after Lua has set it to the
//! caller's and before the caller runs, that is the wrong one. If the function was the script's hook, which waits for counts and for lines, the next thing that is done is to
//! compare lines. Found by the stress under AddressSanitizer.
//!
//! Our hook waits for no lines; and when the script's comes back, that is set by the function that runs, or by a C function, at whose return Lua sets it right.
//!
//! 5.4 and 5.5 look whether it is an instruction of the function; 5.1 keeps it elsewhere.

use crate::state::State;
use crate::sys::lua_State;

/// What is there; none where it matters to nobody, or its place is not known.
#[must_use]
pub struct LastInstruction(Option<(*mut usize, usize)>);

impl LastInstruction {
    /// **Signal context.**
    ///
    /// # Safety
    /// `co` is a live, initialised coroutine of this state, on its thread.
    #[inline]
    pub unsafe fn of(state: &State, co: *mut lua_State) -> LastInstruction {
        LastInstruction(state.layout.get().oldpc.map(|offset| {
            // SAFETY: the offset was found inside a `lua_State`.
            let place = unsafe { co.byte_add(offset) }.cast::<usize>();
            // SAFETY: a word of it. Volatile: the compiler does not know what `lua_sethook` changes.
            (place, unsafe { place.read_volatile() })
        }))
    }

    /// Puts it back. **Signal context.**
    ///
    /// # Safety
    /// As [`of`](Self::of), for the same coroutine.
    #[inline]
    pub unsafe fn put_back(self) {
        if let Some((place, value)) = self.0 {
            // SAFETY: it was read there.
            unsafe { place.write_volatile(value) };
        }
    }
}

#[cfg(all(test, any(feature = "lua52", feature = "lua53")))]
mod tests {
    use super::*;
    use crate::guest::Guest;
    use crate::hook::placing::{set_on, take_off};
    use crate::hook::state_of;
    use crate::sys;
    use std::cell::Cell;

    thread_local! {
        static SEEN: Cell<u32> = const { Cell::new(0) };
    }

    /// In the midst of a Lua function: `lua_sethook` changes the word, and our hook, when it is set, does not.
    unsafe extern "C-unwind" fn at_an_instruction(l: *mut lua_State, _: *mut sys::lua_Debug) {
        let state = state_of(l).unwrap();
        let place = state.layout.get().oldpc.expect("it is found");
        // SAFETY: in a hook, in the main state, which is attached.
        unsafe {
            let word = l.byte_add(place).cast::<usize>();
            let before = word.read_volatile();
            sys::set_hook(l, sys::lua_gethook(l), sys::LUA_MASKCOUNT, 1);
            assert_ne!(word.read_volatile(), before, "it is another word");
            for mask in [sys::MASK_ALL, sys::LUA_MASKCOUNT] {
                word.write_volatile(before);
                set_on(state, l, &state.main_entry, mask, 1, false);
                assert_eq!(word.read_volatile(), before);
                take_off(state, l, Some(&state.main_entry));
            }
        }
        SEEN.set(SEEN.get() + 1);
    }

    #[test]
    fn setting_our_hook_leaves_it_alone() {
        // SAFETY: a new state, on this thread.
        unsafe {
            let l = sys::luaL_newstate();
            Guest::attach(l).unwrap();
            let code = c"local a = 1 local b = 2 return a + b";
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            sys::set_hook(l, Some(at_an_instruction), sys::LUA_MASKCOUNT, 1);
            assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
            sys::lua_close(l);
        }
        assert!(SEEN.get() >= 4);
    }
}
