//! A script that leaves the process: `os.exit`.
//!
//! The C library's `exit` does not come back, so nothing that [`crate::run`] does after a call happens. But a stop has to be told all the
//! same: `os.exit(code, true)` closes the state inside the call, and an endless finalizer is stopped there; or a finalizer calls `os.exit`
//! after a stop. So there is something to do at the exit ([`with`]), for which `exit` calls us (`atexit`).
//!
//! Considered and dropped: an `os.exit` of our own. A script could tell, and a C module calls `exit` itself.

use std::cell::Cell;
use std::mem;
use std::sync::Once;

thread_local! {
    /// What is to be done if this thread exits. (Another thread that does so, of a C module, knows nothing of the script.)
    static AT_EXIT: Cell<Option<&'static dyn Fn()>> = const { Cell::new(None) };
}

/// Does `work`, or, if the process exits meanwhile on this thread, `at_exit` before it does.
pub fn with<R>(at_exit: &dyn Fn(), work: impl FnOnce() -> R) -> R {
    static REGISTERED: Once = Once::new();
    // SAFETY: a function for the C library to call. Where it has no memory to note it, scripts leave as they like.
    REGISTERED.call_once(|| unsafe {
        libc::atexit(leaves);
    });
    // SAFETY: it is taken away below, before it goes. Where `work` does not return, this frame and those below it stay until the end.
    let at_exit = unsafe { mem::transmute::<&dyn Fn(), &'static dyn Fn()>(at_exit) };
    AT_EXIT.set(Some(at_exit));
    let result = work();
    AT_EXIT.set(None);
    result
}

/// For `exit` to call.
extern "C" fn leaves() {
    if let Some(at_exit) = AT_EXIT.take() {
        at_exit();
    }
}
