//! A hardware breakpoint on this thread: a SIGTRAP before the k-th execution of the instruction at an address.
//!
//! The processor's debug registers, by way of `perf_event_open`, with a period of k: the kernel counts, and sends the signal, synchronously, once the count is
//! reached (`sigtrap`, Linux 5.13). Other threads do not notice, and the code runs at full speed, which makes this possible at all: with the trap
//! flag the n-th run of a stretch takes n signals.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// `struct perf_event_attr` of `linux/perf_event.h`, of 128 bytes (version 7), in words. Not all of them are named.
type Attributes = [u64; 16];

const TYPE_BREAKPOINT: u64 = 5;
const EXECUTION: u64 = 4;
/// `disabled`, `exclude_kernel`, `exclude_hv`, `remove_on_exec` (which the next needs), `sigtrap`.
const FLAGS: u64 = 1 | 1 << 5 | 1 << 6 | 1 << 36 | 1 << 37;
const ENABLE: libc::c_ulong = 0x2400;
const DISABLE: libc::c_ulong = 0x2401;

/// See the module's header.
pub struct Breakpoint(OwnedFd);

impl Breakpoint {
    /// A breakpoint of the calling thread, not enabled.
    ///
    /// # Errors
    /// If the kernel or its settings do not allow it (`/proc/sys/kernel/perf_event_paranoid`, above 2).
    pub fn new(address: usize, occurrence: u64) -> io::Result<Breakpoint> {
        let mut attributes: Attributes = [0; 16];
        attributes[0] = TYPE_BREAKPOINT | (size_of::<Attributes>() as u64) << 32;
        attributes[2] = occurrence;
        attributes[5] = FLAGS;
        attributes[6] = EXECUTION << 32;
        attributes[7] = address as u64;
        attributes[8] = size_of::<usize>() as u64;
        // SAFETY: `attributes` is as large as it says. This thread, any processor, no group; closed on exec.
        unsafe {
            let fd = libc::syscall(
                libc::SYS_perf_event_open,
                attributes.as_ptr(),
                0,
                -1,
                -1,
                8u64,
            );
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Breakpoint(OwnedFd::from_raw_fd(fd as RawFd)))
        }
    }

    /// For [`enable`] and [`disable`].
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The count begins. Async-signal-safe.
pub fn enable(breakpoint: RawFd) {
    // SAFETY: a system call that takes no pointer.
    unsafe { libc::ioctl(breakpoint, ENABLE, 0) };
}

/// No signal any more. Async-signal-safe.
pub fn disable(breakpoint: RawFd) {
    // SAFETY: as above.
    unsafe { libc::ioctl(breakpoint, DISABLE, 0) };
}
