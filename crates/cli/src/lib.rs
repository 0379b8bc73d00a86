//! The command `leash`: `leash run [OPTIONS] SCRIPT [ARGS]...` is a complete standard `lua` whose scripts run under limits.
//!
//! What must always be true:
//! 1. A script that ends within its limits cannot tell `leash run` from the `lua` of the same version: the same output, the
//!    same messages but for the program's name, the same exit code. ([`interpreter`], [`compat`])
//! 2. The process ends. A limit or Ctrl-C first stops the script in good order; if it does not answer, the process
//!    ends without it. ([`signals`], [`stuck`], [`stdio`])
//! 3. What the user asked for is what is in force: a limit is never rounded, clamped or guessed. ([`quantity`])
//!
//! The way of a run: [`args`] reads the command line into a [`plan`]; [`run`] makes a Lua state, hands it to the engine and
//! calls the [`interpreter`] in one guarded call; [`stop`] puts into words what ended it.
//!
//! This library exists for the binary and its tests. Programs that embed Lua want the crate `lua-leash`.

pub mod args;
pub mod arguments;
pub mod compat;
pub mod interpreter;
mod leaving;
mod newstate;
pub mod plan;
pub mod quantity;
pub mod run;
pub mod signals;
pub mod stdio;
pub mod stop;
pub mod stuck;

pub use arguments::Arguments;

/// What the exit codes of the command mean, where they are not the script's own.
pub mod exit {
    use std::ffi::c_int;

    /// The script ended by itself.
    pub const SUCCESS: c_int = 0;
    /// A Lua error that nobody caught.
    pub const LUA_ERROR: c_int = 1;
    /// Wrong usage of the command.
    pub const USAGE: c_int = 2;
    /// A limit stopped the script; the code that `timeout(1)` uses.
    pub const LIMIT: c_int = 124;
    /// A signal stopped the script: this plus the signal's number, as shells have it.
    pub const SIGNAL: c_int = 128;
}

/// Runs the command and returns its exit code.
///
/// Does not return where `--help`, `--version`, wrong usage or `os.exit` end the process earlier.
pub fn main(arguments: Arguments) -> std::ffi::c_int {
    match args::parse(&arguments) {
        Ok(args::Request::Run(options)) => run::run(&arguments, options),
        Err(usage) => usage.exit(),
    }
}
