//! The last resort: a script that does not come back.
//!
//! A C function that computes for ever, or a system call that waits for ever, never returns to Lua, so nothing inside the
//! process can stop it in order. When the engine reports that a stop has been unanswered for the grace period, the process
//! is ended here, from the engine's timer thread, while the stuck thread goes on. So nothing here may wait for
//! anything: the message goes past the C library's locks, and unwritten output gets a moment and no more.

use std::sync::OnceLock;
use std::time::Duration;

use crate::args::RunOptions;
use crate::{signals, stdio, stop};
use leash::Reason;

/// What the message needs, for a callback that can carry no data.
static CONTEXT: OnceLock<(String, RunOptions)> = OnceLock::new();

/// Remembers what runs, for [`end`]. The first one counts.
pub fn prepare(script: String, options: RunOptions) {
    let _ = CONTEXT.set((script, options));
}

/// What the script was stopped by, once it has been; what is stuck afterwards is the closing of its state.
static STOPPED: OnceLock<Reason> = OnceLock::new();

/// Remembers that the script was stopped, and why: this is also why the process ends, if it ends here.
pub fn stopped(reason: Reason) {
    let _ = STOPPED.set(reason);
}

/// Ends the process, for the engine to call when the script has not come back.
pub fn end(reason: Reason, elapsed: Duration) {
    let (script, options) = CONTEXT.get_or_init(Default::default);
    let reason = match STOPPED.get() {
        Some(first) => *first,
        None if signals::pending() => Reason::Interrupt,
        None => reason,
    };
    stdio::flush_within(stdio::A_MOMENT); // the stuck thread may hold the lock of a stream for ever
    stdio::message_unbuffered(&stop::stuck_message(script, options, reason, elapsed));
    stdio::end_process(stop::code(reason));
}
