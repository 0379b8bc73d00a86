//! The atomics that the lock-free parts are built from.
//!
//! `request`, `slab` and `record/lookout` name their types through `crate::sync`. `tests/loom.rs` includes the very same files into a crate whose `sync` is loom's, so
//! that what loom explores is what runs in production (as in `watchdog`, where the reasons are).

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, compiler_fence};
pub use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// How many records a chunk of a slab holds: the bits of its words. loom takes fewer.
pub const CHUNK: usize = 64;

/// Stores to a word that other threads change by read-modify-write: see `watchdog/src/sync.rs`, which has the same for the same reason.
pub fn overwrite(word: &AtomicU64, value: u64, ordering: Ordering) {
    word.store(value, ordering);
}

/// The owner's half of a fence whose other half is [`fence_others`].
#[inline(always)]
pub fn fence_of_the_owner() {
    compiler_fence(Ordering::SeqCst);
}

/// Whether [`fence_others`] can be relied on, as far as is known.
static FENCES_OTHERS: AtomicBool = AtomicBool::new(false);

/// See [`can_fence_others`].
#[inline(always)]
pub fn fences_others() -> bool {
    FENCES_OTHERS.load(Ordering::Relaxed)
}

/// Asks the kernel for [`fence_others`], unless that has been done. The first time it may take milliseconds, where there are several threads: so the timer thread does it. Meanwhile the answer is no: whoever waited
/// for it could wait for ever in the child of a fork.
pub fn can_fence_others() -> bool {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if !ASKED.swap(true, Ordering::Relaxed) {
        FENCES_OTHERS.store(membarrier(REGISTER_PRIVATE_EXPEDITED), Ordering::Relaxed);
    }
    fences_others()
}

/// [`can_fence_others`] at once, if there is no other thread yet: then it takes no time. (Where there is, the kernel waits until each processor has been seen at rest, for 10 to 20 ms on some machines; and a process that ends meanwhile ends no sooner.)
pub fn ask_while_alone() {
    if is_alone() {
        can_fence_others();
    }
}

/// Whether this is the only thread of the process: its folder of threads has two links of its own and one for each (`proc(5)`).
fn is_alone() -> bool {
    // SAFETY: all zero is a value of it; a constant path, and a place that is valid for writing.
    unsafe {
        let mut folder: libc::stat = std::mem::zeroed();
        libc::stat(c"/proc/self/task".as_ptr(), &mut folder) == 0 && folder.st_nlink == 3
    }
}

/// A full fence on every thread of this process that runs, and on this one. False where the kernel has no such thing (any more).
pub fn fence_others() -> bool {
    // A child of a fork may have to register again.
    let done = membarrier(PRIVATE_EXPEDITED)
        || membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED);
    if !done {
        FENCES_OTHERS.store(false, Ordering::Relaxed);
    }
    done
}

/// `linux/membarrier.h`.
const PRIVATE_EXPEDITED: c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;

fn membarrier(command: c_int) -> bool {
    // SAFETY: the system call has no effects on memory.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alone_before_it_has_another_thread() {
        assert!(!is_alone()); // the thread of this test has been made by another
        // SAFETY: the child makes system calls alone, and ends. (The function `fork` would have our own handlers start a timer thread in it.)
        let status = unsafe {
            let child = libc::syscall(libc::SYS_fork) as libc::pid_t;
            if child == 0 {
                libc::_exit(if is_alone() { 7 } else { 8 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            status
        };
        assert_eq!(libc::WEXITSTATUS(status), 7);
    }
}
