//! The `leash` command. Everything it does is in the library beside it.
//!
//! `no_main`: this is a C program to the scripts that it runs. Rust's own start-up code would ignore `SIGPIPE` (a script in
//! `leash run x.lua | head` would see write errors where `lua` just ends), install a handler for `SIGSEGV` and open
//! `/dev/null` on closed standard streams; without it all of these are as the parent process left them, as in `lua`.
//! Setting `SIGPIPE` back to its default would be close, but would lose the setting of a parent that ignores it on purpose.
#![no_main]

use std::ffi::{c_char, c_int};

/// The entry point that the C start-up code calls.
///
/// # Safety
/// As for any C `main`: `argv` holds `argc` strings and a null pointer, all of which stay for the life of the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: these are the arguments of the process; the C start-up code keeps the promise.
    let arguments = unsafe { leash_cli::Arguments::from_main(argc, argv) };
    leash_cli::main(arguments)
}
