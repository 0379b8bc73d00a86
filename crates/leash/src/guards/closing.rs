//! LuaJIT: which bytecode instructions may close a loop of compiled code.
//!
//! A trace that ends in a jump to itself, or to another trace, does so at an instruction of one of these kinds (`lj_record_stop` in `lj_record.c`, with a link of kind
//! `LOOP`, `ROOT`, `TAILREC`, `UPREC` or `DOWNREC`):
//!
//! - a loop that is compiled (`JFORI`, `JFORL`, `JITERL`, `JLOOP`), or a function (`JFUNCF`): at any place (`rec_loop_jit`, `rec_func_jit`);
//! - a loop that is not compiled yet (`FORL`, `ITERL`, `LOOP`): where the trace began (`rec_loop_interp`);
//! - `ITERN`, the header of a function, a return: where the trace began as well, which is the first instruction that is recorded or the one before it (`rec_itern`,
//!   `check_call_unroll`, `check_downrec_unroll`: all ask `J->pc == J->startpc`; `rec_setup_root` says where recording starts).
//!
//! **Nothing is guessed.** The numbers of these instructions are seen in functions that the trial compiles ([`learn`]), and their order must be the one that we know. What is neither
//! known nor below them may close a loop; and if the numbers are not known at all, any instruction may. Where a function has its instructions is found in the same way:
//! at the one place of its object that points to what `jit.util.funcbc` tells.

use super::peek;
use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The number of `RETM`; 0: not known.
static RETM: AtomicU8 = AtomicU8::new(0);
/// The number of `FUNCF`.
static FUNCF: AtomicU8 = AtomicU8::new(0);

/// Where a function has the pointer to its instructions.
static PLACE: AtomicUsize = AtomicUsize::new(0);
/// Its bytes: eight, or four in builds without GC64; 0: not known.
static WIDTH: AtomicU8 = AtomicU8::new(0);

// Behind RETM.
const RET1: i16 = 3;
const FORI: i16 = 4;
const JMP: i16 = 15;
const ITERN: i16 = -3;
/// Behind FUNCF.
const FUNCV: i16 = 3;

/// An instruction that is about to be recorded.
pub struct Instruction {
    /// Its number, if it is known.
    pub op: Option<u8>,
    /// Its place in its function.
    pub at: c_int,
    /// Where the recording began, in its function.
    pub begin: c_int,
    /// It is the first that is recorded.
    pub is_first: bool,
}

impl Instruction {
    /// Whether a trace may end with it in anything but a way back to the interpreter.
    pub fn may_close(&self) -> bool {
        // Relaxed: written in the trial, which is published by its result.
        let (retm, funcf) = (RETM.load(Ordering::Relaxed), FUNCF.load(Ordering::Relaxed));
        let Some(op) = self.op.filter(|_| retm != 0) else {
            return true;
        };
        // In whatever function that is: other functions have instructions at these places too.
        let at_the_beginning = self.at == self.begin || self.at == self.begin - 1;
        let from_func = i16::from(op) - i16::from(funcf);
        match i16::from(op) - i16::from(retm) {
            ITERN => at_the_beginning && !self.is_first,
            FORI | JMP => false,
            0..=RET1 => at_the_beginning,
            _ if from_func == 0 || from_func == FUNCV => at_the_beginning,
            behind => behind > 0,
        }
    }
}

/// The number of an instruction, if it is known.
///
/// # Safety
/// `function` is a function object of Lua code, which has an instruction at `at`.
pub unsafe fn op(function: *const c_void, at: c_int) -> Option<u8> {
    // Relaxed: as above.
    let (place, at) = (PLACE.load(Ordering::Relaxed), usize::try_from(at).ok()?);
    // SAFETY: by the caller; the place holds that pointer in all functions of this LuaJIT. The number is the lowest byte of an instruction.
    unsafe {
        let field = function.byte_add(place);
        let instructions = match WIDTH.load(Ordering::Relaxed) {
            8 => field.cast::<u64>().read() as usize,
            4 => field.cast::<u32>().read() as usize,
            _ => return None,
        };
        Some(
            std::ptr::with_exposed_provenance::<u32>(instructions)
                .add(at)
                .read() as u8,
        )
    }
}

/// What a place in the functions of [`SAMPLES`] must hold.
#[derive(Clone, Copy)]
enum Expected {
    Any,
    /// So far behind `RETM`.
    Ret(i16),
    /// The one, or the other: what has been compiled may be marked.
    Either(i16, i16),
    /// So far behind `FUNCF`.
    Func(i16),
    EitherFunc(i16, i16),
}

/// Returns the numbers of the instructions of some functions, as one string; two more functions, which have an upvalue, and their first instructions.
const SAMPLES: &CStr = c"local code = ...
local function hot() local n = 0 for i = 1, 300 do n = n + i end return n end
for i = 1, 100 do hot() end
local s, functions = '', {
  hot,
  function(a) while a do a = a.b end end,
  function(a) repeat a = a.b until a end,
  function(a) for k, v in pairs(a) do end end,
  function(a) for k, v in a do end end,
  function(a) return a, a end,
  function(a) return a, a() end,
  function(a) return a() end,
  function(...) return a(...) end,
}
for _, f in ipairs(functions) do
  for at = 0, 99 do
    local instruction = code(f, at)
    if not instruction then break end
    s = s .. string.char(instruction % 256)
  end
end
local function one() return s end
local function two(a) s = a return s end
return s, one, two, code(one, 0), code(one, 1), code(one, 2), code(two, 0), code(two, 1), (code(two, 2))";

const EXPECTED: &[Expected] = {
    use Expected::*;
    &[
        // hot: the header, four numbers, FORI, ADDVV, FORL, RET1
        EitherFunc(0, 2),
        Any,
        Any,
        Any,
        Any,
        Either(4, 5),
        Any,
        Either(6, 8),
        Ret(3),
        // while: ISF, JMP, LOOP, TGETS, JMP, RET0
        Func(0),
        Any,
        Ret(15),
        Ret(12),
        Any,
        Ret(15),
        Ret(2),
        // repeat: LOOP, TGETS, ISF, JMP, RET0
        Func(0),
        Ret(12),
        Any,
        Any,
        Ret(15),
        Ret(2),
        // pairs: GGET, MOV, CALL, ISNEXT, ITERN, ITERL, RET0
        Func(0),
        Any,
        Any,
        Ret(-7),
        Ret(-1),
        Ret(ITERN),
        Ret(9),
        Ret(2),
        // in: MOV, KNIL, JMP, ITERC, ITERL, RET0
        Func(0),
        Any,
        Any,
        Ret(15),
        Ret(-4),
        Ret(9),
        Ret(2),
        // MOV, MOV, RET
        Func(0),
        Any,
        Any,
        Ret(1),
        // MOV, MOV, CALL, RETM
        Func(0),
        Any,
        Any,
        Ret(-7),
        Ret(0),
        // MOV, CALLT
        Func(0),
        Any,
        Ret(-5),
        // FUNCV, GGET, VARG, CALLMT
        Func(FUNCV),
        Any,
        Ret(-2),
        Ret(-6),
    ]
};

/// Finds the numbers out. They stay unknown if anything is not as expected.
///
/// # Safety
/// `l` is a live state on its own thread with free stack, in which nothing runs; `code`, `funcbc` of `jit.util`, is on top of its stack. It is taken off.
pub unsafe fn learn(l: *mut lua_State) {
    // SAFETY: by the caller. The string is read in place, while it is on the stack.
    unsafe {
        let code = sys::lua_gettop(l);
        if sys::luaL_loadstring(l, SAMPLES.as_ptr()) == 0 {
            sys::lua_insert(l, code);
            let results = 3 + 2 * FIRST as c_int;
            if sys::lua_pcall(l, 1, results, 0) == 0 {
                let mut len = 0;
                let text = sys::lua_tolstring(l, code, &mut len);
                if !text.is_null() {
                    note(std::slice::from_raw_parts(text.cast(), len));
                }
                find(l, code + 1);
            }
        }
        sys::lua_settop(l, code - 1);
    }
}

/// So many instructions of each function are told.
const FIRST: usize = 3;

/// Looks for the place in two functions, at the index and behind it; after them come their instructions.
///
/// Behind the pointer a function has its upvalues, so four bytes are not taken for eight whose upper half is zero.
unsafe fn find(l: *mut lua_State, index: c_int) {
    let mut found = Vec::new();
    for width in [8, 4] {
        for word in 1..16 {
            let fits = |nth: c_int| {
                // SAFETY: by the caller.
                let (function, told) = unsafe {
                    let from = index + 2 + nth * FIRST as c_int;
                    let told =
                        (0..FIRST as c_int).map(|i| sys::lua_tointeger(l, from + i) as c_int);
                    (
                        sys::lua_topointer(l, index + nth),
                        told.collect::<Vec<c_int>>(),
                    )
                };
                let field = peek::words(function.addr() + 4 * word, 2);
                let address = match (width, &field[..]) {
                    (8, &[low, high]) => u64::from(high as u32) << 32 | u64::from(low as u32),
                    (4, &[low, ..]) => u64::from(low as u32),
                    _ => return false,
                };
                peek::words(address as usize, FIRST) == told
            };
            if fits(0) && fits(1) {
                found.push((width, 4 * word));
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    let (width, place) = match found[..] {
        [only] => only,
        _ => (0, 0),
    };
    PLACE.store(place, Ordering::Relaxed);
    WIDTH.store(width, Ordering::Relaxed);
}

fn note(ops: &[u8]) {
    let funcf = ops.get(9).copied().unwrap_or(0);
    let retm = ops.get(8).map_or(0, |ret1| ret1.saturating_sub(RET1 as u8));
    let is = |op: u8, base: u8, behind: i16| i16::from(op) == i16::from(base) + behind;
    let fits = |(&op, &expected): (&u8, &Expected)| match expected {
        Expected::Any => i16::from(op) < i16::from(retm) - 7,
        Expected::Ret(behind) => is(op, retm, behind),
        Expected::Either(one, other) => is(op, retm, one) || is(op, retm, other),
        Expected::Func(behind) => is(op, funcf, behind),
        Expected::EitherFunc(one, other) => is(op, funcf, one) || is(op, funcf, other),
    };
    let known = ops.len() == EXPECTED.len()
        && ops.iter().zip(EXPECTED).all(fits)
        && i16::from(funcf) > i16::from(retm) + JMP;
    RETM.store(if known { retm } else { 0 }, Ordering::Relaxed);
    FUNCF.store(funcf, Ordering::Relaxed);
}
