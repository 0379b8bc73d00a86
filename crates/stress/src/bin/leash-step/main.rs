//! `leash-step`: an interrupt before every single machine instruction in turn.
//!
//! The stress lands interrupts anywhere, but there are places of a single instruction: between the load and the store of a flag that the handler sets,
//! or while a coroutine is half made. So each [stretch](stretches) of code that matters (a resume, a yield, `debug.sethook`, a collection, ...) is
//! [recorded](trap), instruction by instruction, and then run once for each of them, with the interrupt landing right there. After [each run](run) it must
//! have had its effect, and the state be sound.
//!
//! What it finds: a crash or a hang (it [tells](tell) where the interrupt had landed), a stop that is lost, a value that is wrong, a hook that is left.
//!
//! What it does not: a stretch is not the same to the instruction each time (hashes, blocks of memory), so a place may not be reached; the table
//! says how many were. And two interrupts at once, or another thread's view, are the stress's business.
//!
//! x86-64 and Linux only.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod breakpoint;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod run;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod step;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod stretches;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tell;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod trap;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use step::main as step;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn step() -> std::process::ExitCode {
    println!("leash-step: not run, for it is made for Linux on x86-64 only");
    std::process::ExitCode::SUCCESS
}

fn main() -> std::process::ExitCode {
    step()
}
