//! A line in the unwinder's tables: errors of LuaJIT's that come to one return address end there, as what the function returns.
//!
//! The format is that of `.eh_frame` (Linux Standard Base, and the DWARF standard), as LuaJIT itself makes one for its machine code (`lj_err_register_mcode` in `lj_err.c`): a description of how frames
//! are to be unwound, and a description of the code that this goes for. Ours is for one byte, the last one of the call instruction, for it is by that that the unwinder looks an address up. There is nothing beyond this frame for an error to go to, so
//! the rule is that the stack ends here.
//!
//! (ARM64 is by the documents and LuaJIT's source; nobody has run it there.)
//!
//! It stays for as long as the process does, as LuaJIT does, and our own code (`-z nodelete` in the module's `build.rs`).

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of the unwinder: a frame that it has come to.
#[repr(C)]
pub struct Context {
    _opaque: [u8; 0],
}

/// `_Unwind_Reason_Code`.
pub type Reason = c_int;

/// `_URC_NO_REASON`.
pub const CONTINUE: Reason = 0;
/// `_URC_NORMAL_STOP`.
pub const STOP: Reason = 4;

const FATAL: Reason = 3; // _URC_FATAL_PHASE1_ERROR
const HANDLER_FOUND: Reason = 6;
const INSTALL_CONTEXT: Reason = 7;
const CONTINUE_UNWIND: Reason = 8;

const SEARCH_PHASE: c_int = 1;
const FORCE_UNWIND: c_int = 8;

/// The class of LuaJIT's errors (`LJ_UEXCLASS` in `lj_err.c`, "LUAJIT2"); the lowest byte is the status.
const LUAJIT: u64 = 0x4c55_414a_4954_3200;

// Numbers that the ABI gives to registers: the first result, the stack pointer, the return address; and where the stack pointer of the caller is.
#[cfg(target_arch = "x86_64")]
const MACHINE: (c_int, u8, u8, u8) = (0, 7, 16, 8);
#[cfg(target_arch = "aarch64")]
const MACHINE: (c_int, u8, u8, u8) = (0, 31, 30, 0);
const RESULT: c_int = MACHINE.0;

#[repr(C)]
struct Bases {
    text: *mut c_void,
    data: *mut c_void,
    function: *mut c_void,
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        f: unsafe extern "C" fn(*mut Context, *mut c_void) -> Reason,
        data: *mut c_void,
    ) -> Reason;
    fn _Unwind_GetIP(frame: *mut Context) -> usize;
    fn _Unwind_GetCFA(frame: *mut Context) -> usize;
    fn _Unwind_SetGR(frame: *mut Context, register: c_int, value: usize);
    fn __register_frame(section: *const c_void);
    fn _Unwind_Find_FDE(pc: *const c_void, bases: *mut Bases) -> *const c_void;
}

/// As `_Unwind_Backtrace`, in the frame of the caller.
#[inline(always)]
pub fn each_frame(f: unsafe extern "C" fn(*mut Context, *mut c_void) -> Reason, data: *mut c_void) {
    // SAFETY: the unwinder calls `f` with each frame and `data`.
    unsafe { _Unwind_Backtrace(f, data) };
}

/// Where the code to which this return address belongs begins, by the unwinder's tables; zero: it is in none.
pub fn code_of(address: usize) -> usize {
    let mut bases = Bases {
        text: std::ptr::null_mut(),
        data: std::ptr::null_mut(),
        function: std::ptr::null_mut(),
    };
    let pc = address.wrapping_sub(1) as *const c_void;
    // SAFETY: it only compares the address, whatever that is.
    let found = unsafe { _Unwind_Find_FDE(pc, &mut bases) };
    if found.is_null() {
        0
    } else {
        bases.function as usize
    }
}

/// Whether an error has its landing there.
pub fn is_at(address: usize) -> bool {
    MADE.load(Ordering::Relaxed) == address
}

/// Where a frame goes on.
///
/// # Safety
/// The unwinder has passed this frame to the caller, which has not returned yet.
pub unsafe fn goes_on_at(frame: *mut Context) -> usize {
    // SAFETY: by the caller.
    unsafe { _Unwind_GetIP(frame) }
}

/// Its stack pointer, when what it has called returns.
///
/// # Safety
/// As [`goes_on_at`].
pub unsafe fn stack_of(frame: *mut Context) -> usize {
    // SAFETY: by the caller. (It is the end of the frame that has been unwound last; so LuaJIT finds its own frames.)
    unsafe { _Unwind_GetCFA(frame) }
}

/// An error has come to the address (a personality routine of the Itanium C++ ABI). Nothing is to be cleaned up here.
unsafe extern "C" fn land(
    version: c_int,
    actions: c_int,
    class: u64,
    _exception: *mut c_void,
    frame: *mut Context,
) -> Reason {
    if version != 1 {
        return FATAL;
    }
    let status = class ^ LUAJIT;
    if status > 0xff || actions & FORCE_UNWIND != 0 {
        return CONTINUE_UNWIND; // not LuaJIT's; but none of another kind gets through its protected calls
    }
    if actions & SEARCH_PHASE != 0 {
        return HANDLER_FOUND;
    }
    // SAFETY: the frame is that of the code which has called `lj_trace_exit`. It goes on behind the call, with the registers that the function had to preserve, and this result.
    unsafe { _Unwind_SetGR(frame, RESULT, (status as usize).wrapping_neg()) };
    INSTALL_CONTEXT
}

const FRAME_AT: usize = 32;
const SIZE: usize = FRAME_AT + 32 + 8;

/// The section: how to unwind, for which code, and a length of zero.
fn section(address: usize) -> [u8; SIZE] {
    let (_, stack_pointer, return_address, offset) = MACHINE;
    let mut bytes = [0; SIZE]; // zero is also the instruction that does nothing
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, &28_u32.to_ne_bytes()); // the length that follows; then zero: how to unwind
    put(8, b"\x01zP\0"); // a version; the personality routine follows
    put(12, &[1, 0x78, return_address]); // units of code and of data (-8)
    put(15, &[9, 0]); // so many bytes follow: an address as it is
    put(17, &(land as *const () as usize).to_ne_bytes());
    put(25, &[0x0c, stack_pointer, offset]); // DW_CFA_def_cfa
    put(28, &[0x07, return_address]); // DW_CFA_undefined: the outermost frame
    put(FRAME_AT, &28_u32.to_ne_bytes());
    put(FRAME_AT + 4, &36_u32.to_ne_bytes()); // so far back is the description of how
    put(FRAME_AT + 8, &(address - 1).to_ne_bytes());
    put(FRAME_AT + 16, &1_usize.to_ne_bytes());
    bytes
}

/// Where one has been made.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// From now on errors of LuaJIT's that come to this return address end there. False: the unwinder goes on as before.
///
/// One caller at a time.
pub fn make(address: usize) -> bool {
    if MADE.swap(address, Ordering::Relaxed) != address {
        let section: &'static mut [u64; SIZE / 8] = Box::leak(Box::new([0; SIZE / 8]));
        for (word, bytes) in section.iter_mut().zip(section_words(address)) {
            *word = bytes;
        }
        // SAFETY: a section as the unwinder expects it, aligned, which stays for ever.
        unsafe { __register_frame(section.as_ptr().cast()) };
    }
    code_of(address) == address - 1
}

fn section_words(address: usize) -> impl Iterator<Item = u64> {
    let bytes = section(address);
    (0..SIZE / 8).map(move |i| {
        let word = bytes[i * 8..][..8].try_into().expect("eight bytes");
        u64::from_ne_bytes(word)
    })
}
