//! Where a trace is left: the return address of `lj_trace_exit`, found by looking at the stack from finalizers.

use super::in_new_state;
use super::landing::{self, Context, Reason};
use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_int, c_void};

/// Sees that errors that arise where a trace is left [land](landing). False: they do not. None: there is no memory to find out.
pub fn is_repaired() -> Option<bool> {
    Some(match find()? {
        Found::At(exit) => landing::make(exit),
        Found::NoTable => true,
        Found::Nothing => false,
    })
}

/// What a look at the stack from a C function has shown.
#[derive(Default)]
struct Look {
    /// How many frames have been seen.
    frames: usize,
    /// The innermost frame of the interpreter: where its code begins, and the stack pointer.
    inner: Option<(usize, usize)>,
    /// The next: where it goes on, and the stack pointer.
    outer: Option<(usize, usize)>,
}

/// So many frames are looked at.
const MOST_FRAMES: usize = 64;

impl Look {
    /// From its own caller on: the innermost frame that is seen is that of the C function, which is not the interpreter's.
    #[inline(always)]
    fn begin() -> Look {
        let mut look = Look::default();
        landing::each_frame(see, (&raw mut look).cast());
        look
    }
}

unsafe extern "C" fn see(frame: *mut Context, look: *mut c_void) -> Reason {
    // SAFETY: the unwinder passes on what `Look::begin` has given it, and a frame that can be asked.
    let (look, address, stack) = unsafe {
        let look = &mut *look.cast::<Look>();
        (look, landing::goes_on_at(frame), landing::stack_of(frame))
    };
    let code = landing::code_of(address);
    look.frames += 1;
    match look.inner {
        None if look.frames > 1 => look.inner = Some((code, stack)),
        Some((interpreter, _)) if code == interpreter || landing::is_at(address) => {
            look.outer = Some((address, stack));
            return landing::STOP;
        }
        _ => {}
    }
    if code == 0 || look.frames == MOST_FRAMES {
        return landing::STOP;
    }
    landing::CONTINUE
}

/// What all looks have shown.
#[derive(Default)]
struct Search {
    /// The interpreter, as the Lua code of the search runs in it: where its code begins, and its stack pointer.
    interpreter: Option<(usize, usize)>,
    /// It calls C functions, but LuaJIT has no table.
    has_no_table: bool,
    /// Where a trace is left.
    exit: Option<usize>,
    /// How often that has been seen.
    times: usize,
    /// In two places.
    is_ambiguous: bool,
}

impl Search {
    fn called(&mut self, look: &Look) {
        self.interpreter = look.inner;
        self.has_no_table = matches!(look.inner, Some((0, _)));
    }

    fn finalizes(&mut self, look: &Look) {
        if let (Some((code, stack)), Some((inner, _)), Some((exit, its_stack))) =
            (self.interpreter, look.inner, look.outer)
            && code == inner
            && its_stack < stack
        {
            self.is_ambiguous |= self.exit.is_some_and(|known| known != exit);
            self.exit = Some(exit);
            self.times += 1;
        }
    }

    fn found(&self) -> Found {
        match self.exit {
            _ if self.has_no_table => Found::NoTable,
            Some(exit) if self.times >= 2 && !self.is_ambiguous => Found::At(exit),
            _ => Found::Nothing,
        }
    }
}

/// What has been found.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// `lj_trace_exit` returns to this address.
    At(usize),
    /// LuaJIT unwinds by itself.
    NoTable,
    Nothing,
}

/// `probe()` looks at the stack, and returns whether it has seen enough; it is the finalizer, too.
unsafe extern "C-unwind" fn probe(l: *mut lua_State) -> c_int {
    let look = Look::begin();
    // SAFETY: the upvalue is the search, in the frame of `find`, where nobody looks at it now. A C function has LUA_MINSTACK free slots.
    unsafe {
        let search = &mut *sys::lua_touserdata(l, sys::lua_upvalueindex(1)).cast::<Search>();
        match sys::lua_gettop(l) {
            0 => search.called(&look),
            _ => search.finalizes(&look),
        }
        let is_over = search.times >= 2 || search.has_no_table;
        sys::lua_pushboolean(l, c_int::from(is_over));
    }
    1
}

/// Compiled code that makes garbage, and finalizers for the collector to call when it is left.
const GARBAGE: &CStr = c"
    local probe = ...
    local t = {}
    for _ = 1, 30 do
        if probe() then return end
        getmetatable(newproxy(true)).__gc = probe
        for i = 1, 5000 do t[1] = { i } end
    end";

/// Looks for the place. None: no memory for that.
fn find() -> Option<Found> {
    let mut search = Search::default();
    let found = in_new_state(|l| {
        // SAFETY: a state of our own, with free slots. `probe` gets the search, which outlives the call.
        unsafe {
            if sys::luaL_loadstring(l, GARBAGE.as_ptr()) != sys::LUA_OK {
                return None;
            }
            sys::lua_pushlightuserdata(l, (&raw mut search).cast());
            sys::lua_pushcclosure(l, probe, 1);
            (sys::lua_pcall(l, 1, 0, 0) == sys::LUA_OK).then_some(())
        }
    });
    // The state has been closed, and the last finalizers have run.
    found.map(|()| search.found())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jit::trial;

    #[test]
    fn the_exit_is_found() {
        assert!(trial::is_passed()); // one caller at a time
        let Some(Found::At(exit)) = find() else {
            panic!("not found");
        };
        assert!(landing::make(exit));
        assert_eq!(find(), Some(Found::At(exit)), "not found any more");
    }

    #[test]
    fn looks_that_do_not_agree() {
        let look = |exit, stack| Look {
            frames: 3,
            inner: Some((1000, 40)),
            outer: Some((exit, stack)),
        };
        let called = |looks: &[Look]| {
            let mut search = Search::default();
            search.called(&Look {
                inner: Some((1000, 80)),
                ..Look::default()
            });
            looks.iter().for_each(|look| search.finalizes(look));
            search.found()
        };
        assert_eq!(called(&[look(1100, 60), look(1100, 50)]), Found::At(1100));
        assert_eq!(called(&[look(1100, 60)]), Found::Nothing);
        assert_eq!(called(&[look(1100, 60), look(1200, 60)]), Found::Nothing);
        assert_eq!(called(&[look(1100, 80), look(1100, 80)]), Found::Nothing);
    }
}
