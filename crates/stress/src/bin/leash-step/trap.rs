//! Something happens before the n-th machine instruction of a stretch.
//!
//! **Recording.** With the processor's trap flag set, the kernel sends a SIGTRAP after each instruction; the handler notes its address. So the stretch is known
//! as a list of places: an address, and how often it has been executed up to there.
//!
//! **Landing.** A [breakpoint](crate::breakpoint) on the place, and its SIGTRAP makes the request and pokes its own thread, as another thread would have done just
//! then. SIGURG is blocked while the handler runs, so it arrives when that returns: exactly before the instruction, by the handler that is always there.
//!
//! One thread at a time.

use crate::breakpoint::{self, Breakpoint};
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};

/// The trap flag in the flags register.
const TRAP_FLAG: i64 = 0x100;

/// The longest stretch that can be recorded, in instructions.
const LONGEST: usize = 2_000_000;

/// An instruction of a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it lies.
    pub address: usize,
    /// How often it has been executed then, this time included.
    pub occurrence: u64,
}

/// What is to be done in the next stretch.
#[derive(Clone, Copy)]
pub enum Plan {
    Nothing,
    Record,
    Land(fn()),
}

// Relaxed everywhere: all of it is one thread and its signal handler.
static RECORDING: AtomicBool = AtomicBool::new(false);
static RECORDED: AtomicUsize = AtomicUsize::new(0);
static RECORD: [AtomicUsize; LONGEST] = [const { AtomicUsize::new(0) }; LONGEST];
/// The breakpoint that is enabled; -1: none.
static ENABLED: AtomicI32 = AtomicI32::new(-1);
static LANDED_AT: AtomicUsize = AtomicUsize::new(0);
static ACTION: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Installs the handler.
///
/// # Errors
/// If the system refuses.
pub fn install() -> io::Result<()> {
    // SAFETY: a set of signals and a `sigaction` are plain data; the handler does what a signal handler may do.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = trapped as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaddset(&mut action.sa_mask, libc::SIGURG);
        match libc::sigaction(libc::SIGTRAP, &action, ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The stretch begins. `breakpoint` is for [`Plan::Land`].
pub fn begin(plan: Plan, breakpoint: Option<&Breakpoint>) {
    LANDED_AT.store(0, Ordering::Relaxed);
    match plan {
        Plan::Nothing => {}
        Plan::Record => {
            RECORDED.store(0, Ordering::Relaxed);
            RECORDING.store(true, Ordering::Relaxed);
            // SAFETY: sets one flag, which only makes the processor trap. (Not `nostack`: the compiler keeps nothing below the stack pointer.)
            unsafe { std::arch::asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq") };
        }
        Plan::Land(action) => {
            let fd = breakpoint.map_or(-1, Breakpoint::fd);
            ACTION.store(action as *mut (), Ordering::Relaxed);
            ENABLED.store(fd, Ordering::Relaxed);
            breakpoint::enable(fd);
        }
    }
}

/// The stretch is over.
pub fn end() {
    // The handler clears the flag when it finds this.
    RECORDING.store(false, Ordering::Relaxed);
    let fd = ENABLED.swap(-1, Ordering::Relaxed);
    if fd >= 0 {
        breakpoint::disable(fd);
    }
}

/// The address at which the action was called in the last stretch; 0: it was not reached.
pub fn landed_at() -> usize {
    LANDED_AT.load(Ordering::Relaxed)
}

/// The instructions of the stretch that was recorded last.
///
/// # Panics
/// If it was too long.
pub fn recorded() -> Vec<Place> {
    let n = RECORDED.load(Ordering::Relaxed);
    assert!(n < LONGEST, "a stretch of {n} instructions");
    let mut seen = HashMap::new();
    let place = |address: &AtomicUsize| {
        let address = address.load(Ordering::Relaxed);
        let occurrence = seen.entry(address).or_insert(0);
        *occurrence += 1;
        Place {
            address,
            occurrence: *occurrence,
        }
    };
    RECORD[..n].iter().map(place).collect()
}

/// An address, so that it can be found again in the file that it comes from (`addr2line -f -e FILE ADDRESS`).
pub fn show(address: usize) -> String {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `dladdr` looks an address up, whatever it is; zeros are a value of `Dl_info`. The names it gives are static strings.
    unsafe {
        if libc::dladdr(address as *const c_void, info.as_mut_ptr()) == 0 {
            return format!("{address:#x}, in no file");
        }
        let info = info.assume_init();
        let file = CStr::from_ptr(info.dli_fname).to_string_lossy();
        format!("{file} {:#x}", address - info.dli_fbase as usize)
    }
}

/// **Signal context.**
unsafe extern "C" fn trapped(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: what the kernel passes to a handler with SA_SIGINFO. Nothing else refers to it.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let address = registers[libc::REG_RIP as usize] as usize;
    if RECORDING.load(Ordering::Relaxed) {
        let n = RECORDED.load(Ordering::Relaxed);
        if n < LONGEST {
            RECORD[n].store(address, Ordering::Relaxed);
            RECORDED.store(n + 1, Ordering::Relaxed);
        }
        return; // the flag is restored with the others
    }
    registers[libc::REG_EFL as usize] &= !TRAP_FLAG;
    let fd = ENABLED.swap(-1, Ordering::Relaxed);
    if fd >= 0 {
        breakpoint::disable(fd);
        LANDED_AT.store(address, Ordering::Relaxed);
        // SAFETY: only `begin` stores here, and what it stores is a `fn()`.
        let action: fn() = unsafe { mem::transmute(ACTION.load(Ordering::Relaxed)) };
        action();
    }
}
