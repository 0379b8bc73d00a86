//! `cargo xtask`: the project's tasks, for a newcomer, for the daily work and for CI alike.
//!
//! Everything that has to be done to the project and is more than one cargo command is here, in Rust, so that it runs wherever
//! the project builds and needs nothing but cargo, a C compiler and, for comparisons, Debian's Lua interpreters.
//!
//! The way of a test run: [`test`] lists the [`steps`]; each of them calls [`cargo`], or runs the [`corpus`] or the [`examples`]
//! by the commands that [`cargo`] built. [`bench`] measures with the same means.
//!
//! What could go wrong: a task that reports success without having done its work. So each step fails on an empty list of
//! inputs, and a comparison says what it compared with.

mod ahead;
mod asserts;
mod bench;
mod cargo;
mod corpus;
mod ctrlc;
mod engine;
mod evasion;
mod examples;
mod fuzz;
mod interpreter;
mod limits;
mod lint;
mod manifest;
mod miri;
mod modules;
mod parallel;
mod planted;
mod process;
mod rocks;
mod sanitize;
mod stats;
mod step;
mod steps;
mod stress;
mod suites;
mod surroundings;
mod table;
mod test;

use clap::{Parser, Subcommand};

/// The tasks of the Leash project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the Lua modules leash, mtint and corowatch into target/modules/ENGINE
    Modules(modules::Options),
    /// Run the whole test suite, on all six engines or on those named
    Test(test::Options),
    /// Check the formatting, and run clippy for each engine
    Lint(lint::Options),
    /// Interrupt computing states as often as possible, and check what they compute
    Stress(stress::Options),
    /// Interrupt a state before every single machine instruction of what matters
    Step(step::Options),
    /// Run the hostile scripts in three ways, and write what became of them into docs/limits.md
    Limits(limits::Options),
    /// Run the hostile scripts in coroutines, metamethods, finalizers and so on
    Surroundings(surroundings::Options),
    /// Put known bugs into a copy of the sources, one by one, and see whether the tests catch them
    Planted(planted::Options),
    /// Run the tests of unsafe data structures under miri
    Miri(miri::Options),
    /// Run random programs, quantities, patterns and chunks
    Fuzz(fuzz::Options),
    /// Run the tests and the stress under AddressSanitizer or ThreadSanitizer
    Sanitize(sanitize::Options),
    /// Run the engine's tests on a Lua whose own assertions are on
    Asserts(asserts::Options),
    /// Measure what Leash costs, and how late it stops; write docs/benchmarks.md
    Bench(bench::Options),
}

/// A shell that starts this in the background has it ignore Ctrl-C; so would all that is started from here, and tests press it.
fn heed_ctrl_c() {
    // SAFETY: the default is a valid action, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
}

fn main() {
    heed_ctrl_c();
    let outcome = match Cli::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Lint(options) => lint::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Modules(options) => modules::run(&options),
        Task::Stress(options) => stress::run(&options),
        Task::Step(options) => step::run(&options),
        Task::Limits(options) => limits::run(&options),
        Task::Surroundings(options) => surroundings::run(&options),
        Task::Planted(options) => planted::run(&options),
        Task::Miri(options) => miri::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Sanitize(options) => sanitize::run(&options),
        Task::Asserts(options) => asserts::run(&options),
    };
    if let Err(error) = outcome {
        eprintln!("\nxtask: {error:#}");
        std::process::exit(1);
    }
}
