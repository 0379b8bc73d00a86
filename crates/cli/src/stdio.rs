//! The C library's streams, which are the script's too.
//!
//! Messages go through the same `stderr` as the script's `io.stderr:write`, so that they come in order even if the script
//! has changed its buffering. What Rust prints by `println!` has a buffer of its own; nothing here uses it.
//!
//! Flushing can take for ever: a pipe whose reader sleeps, a file on a dead server, or a stream whose lock a stuck thread
//! holds. So where the end of the process depends on it, a helper thread flushes, and gets only so long ([`flush_within`]).

use std::ffi::{CStr, c_char, c_int};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

unsafe extern "C" {
    #[cfg_attr(
        any(target_os = "macos", target_os = "freebsd"),
        link_name = "__stderrp"
    )]
    static mut stderr: *mut libc::FILE;
}

/// The command's name in front of messages; fixed, whatever path it was called by.
const NAME: &CStr = c"leash: ";

/// Prints `leash: MESSAGE` and flushes, as `lua` does. For a message that has no end mark, see [`message`].
///
/// # Safety
/// `message` is a C string.
pub unsafe fn c_message(message: *const c_char) {
    // SAFETY: `stderr` is set before `main` and stays; the other two are C strings. Errors are ignored, as in `lua`: there
    // is nowhere left to report them.
    unsafe {
        libc::fputs(NAME.as_ptr(), stderr);
        libc::fputs(message, stderr);
        libc::fputs(c"\n".as_ptr(), stderr);
        libc::fflush(stderr);
    }
}

/// Prints this and nothing else, and flushes: `lua_writestringerror`.
///
/// # Safety
/// `text` is a C string.
pub unsafe fn error_text(text: *const c_char) {
    // SAFETY: as in `c_message`.
    unsafe {
        libc::fputs(text, stderr);
        libc::fflush(stderr);
    }
}

/// Prints `leash: MESSAGE` and flushes. No Lua error can pass through here, so this may own memory.
pub fn message(text: &str) {
    message_bytes(text.as_bytes());
}

/// As [`message`], for text of any encoding.
pub fn message_bytes(text: &[u8]) {
    let line = line(text);
    // SAFETY: as many bytes as the vector has; `stderr` as above.
    unsafe {
        libc::fwrite(line.as_ptr().cast(), 1, line.len(), stderr);
        libc::fflush(stderr);
    }
}

/// Prints `leash: MESSAGE` past the C library's buffers and locks, which a stuck thread may hold.
pub fn message_unbuffered(text: &str) {
    let line = line(text.as_bytes());
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        // SAFETY: as many bytes as the slice has.
        let written = unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(n) if n > 0 => rest = &rest[n..],
            _ => return, // closed or full: there is nowhere left to report it
        }
    }
}

fn line(text: &[u8]) -> Vec<u8> {
    [NAME.to_bytes(), text, b"\n"].concat()
}

/// How long unwritten output may take where no time is left: as long as a helper thread needs, and a reader that is awake.
pub const A_MOMENT: Duration = Duration::from_millis(200);

/// Flushes all C streams, but waits no longer than this, or [a moment](A_MOMENT). Whether it is done.
///
/// If not, a thread still holds the lock of some stream, so that the process must end by [`end_process`]: `exit` would wait.
pub fn flush_within(time: Duration) -> bool {
    let (done, flushed) = mpsc::channel();
    let helper = thread::Builder::new()
        .name("leash-flush".to_owned())
        .spawn(move || {
            // SAFETY: a null stream means all of them.
            unsafe { libc::fflush(std::ptr::null_mut()) };
            let _ = done.send(()); // nobody waits any longer
        });
    helper.is_ok() && flushed.recv_timeout(time.max(A_MOMENT)).is_ok()
}

/// Keeps the numbers of closed standard streams taken while this process opens descriptors of its own: a pipe of ours that
/// got number 0 would be the script's standard input. Dropping it closes them again, for the script is to find them closed.
#[derive(Debug)]
pub struct Placeholders(Vec<c_int>);

impl Placeholders {
    /// Takes the numbers that are free.
    pub fn take() -> Placeholders {
        let mut taken = Vec::new();
        for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
            // SAFETY: asks about a descriptor; opens another. The lowest free number is given out, which is this one.
            unsafe {
                if libc::fcntl(stream, libc::F_GETFD) == -1
                    && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) == stream
                {
                    taken.push(stream);
                }
            }
        }
        Placeholders(taken)
    }
}

impl Drop for Placeholders {
    fn drop(&mut self) {
        for &stream in &self.0 {
            // SAFETY: opened by us, and nobody else was told.
            unsafe { libc::close(stream) };
        }
    }
}

/// Ends the process now: no destructors, no `atexit`, no flush.
pub fn end_process(code: c_int) -> ! {
    // SAFETY: takes the process with it, and whatever could be in the way.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// It gave up before its helper had begun, and the process ended without what the script had written.
    #[test]
    fn no_time_is_still_enough_for_streams_that_nobody_blocks() {
        for _ in 0..50 {
            let started = Instant::now();
            assert!(flush_within(Duration::ZERO) || started.elapsed() >= A_MOMENT);
        }
    }
}
