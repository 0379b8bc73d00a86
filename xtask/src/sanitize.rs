//! `cargo xtask sanitize address|thread`: the engine's tests and the stress under a sanitizer, and the counterexample that must be caught.
//!
//! Everything is built on the nightly toolchain with `-Zsanitizer`, and Lua's C sources with clang's `-fsanitize`, into folders of their own. A
//! report ends the program with [`REPORTED`], so that it cannot be overlooked. One report
//! of ThreadSanitizer is suppressed, by the argument in `xtask/tsan-suppressions.txt`.
//!
//! **The counterexample** (`leash-stress --unsafe-cross-thread`) calls `lua_sethook` from another thread, as is often done. It runs under the same
//! options, and a sanitizer that does not object to it fails the task: then its silence about Leash would say nothing either.
//!
//! Two functions of Lua 5.2 are not checked, for reads of their own before an array: `xtask/sanitize-ignore.txt`.
//!
//! What is not seen: code that is not instrumented. That is the machine code that LuaJIT makes, its interpreter, which is
//! written in assembler, and libc but for the functions that the sanitizer replaces. Under `thread`, the standard library is built anew
//! (`-Zbuild-std`), for it would otherwise be such code too, and its locks and channels would look like races: that takes the component
//! `rust-src`, and a minute. Its runtime keeps signals back until the program calls into libc (malloc will do): a loop that never does cannot be
//! stopped, so the stress runs only what ends by itself (`--ends`). LuaJIT is not run under `thread`: nearly all that matters happens in its assembler parts.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::cargo;
use crate::engine::Engine;
use crate::process;
use crate::steps::Steps;
use crate::stress::{self, MARGIN};

/// What to run.
#[derive(Debug, Args)]
pub struct Options {
    /// The sanitizer
    sanitizer: Sanitizer,

    /// The engines; all that the sanitizer can judge if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,

    /// How long the stress runs, for each engine
    #[arg(long, default_value_t = 60)]
    seconds: u32,

    /// Leaves the tests of lua-leash out
    #[arg(long)]
    only_stress: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sanitizer {
    /// Memory that is used after it was freed, or beyond its end
    Address,
    /// Memory that two threads use without order
    Thread,
}

/// The exit code of a program that a sanitizer has objected to.
const REPORTED: i32 = 86;

/// Scenarios that run under ThreadSanitizer.
const FOR_THREAD: [&str; 8] = [
    "finalizers",
    "coroutines",
    "recursion",
    "hooks",
    "errors",
    "metamethods",
    "strings",
    "numbers",
];

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// clang's flags for the functions of Lua that are not checked; nothing for most engines.
pub fn unchecked(engine: Engine) -> String {
    if engine != Engine::Lua52 {
        return String::new();
    }
    let ignored = cargo::root().join("xtask/sanitize-ignore.txt");
    // The number is for cargo, which builds anew where the flags have changed, but not where the list has.
    let list = std::fs::read(&ignored).unwrap_or_default();
    let sum = list.iter().fold(0u32, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    let ignored = ignored.display();
    format!(" -fsanitize-ignorelist={ignored} -DLEASH_IGNORELIST={sum}")
}

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Sanitizer::Address => "address",
            Sanitizer::Thread => "thread",
        }
    }

    fn can_judge(self, engine: Engine) -> bool {
        self == Sanitizer::Address || engine != Engine::Luajit
    }

    /// The options of its runtime, as `NAME=VALUE`, each with its reason.
    fn runtime(self) -> (&'static str, String) {
        let options: &[&str] = match self {
            Sanitizer::Address => &[
                // What the process owns to its end on purpose (slabs, the timer, threads that look on) is no leak.
                "detect_leaks=0",
                // It moves locals of C functions to the heap. Leash tells by an address in a `lua_State` whether it lies on the
                // stack of the thread (`home.rs`), and `lua_longjmp` lies in a local of `luaD_rawrunprotected`.
                "detect_stack_use_after_return=0",
                // The memory limit of a state is made of refusals; so is this.
                "allocator_may_return_null=1",
            ],
            Sanitizer::Thread => &[
                // Deep recursion makes long histories; with the usual length the other side of a race is often forgotten.
                "history_size=7",
                "second_deadlock_stack=1",
                // The default, for what it says: a handler that allocates or locks is reported.
                "report_signal_unsafe=1",
            ],
        };
        let name = match self {
            Sanitizer::Address => "ASAN_OPTIONS",
            Sanitizer::Thread => "TSAN_OPTIONS",
        };
        let mut value = format!("exitcode={REPORTED}:{}", options.join(":"));
        if self == Sanitizer::Thread {
            let known = cargo::root().join("xtask/tsan-suppressions.txt");
            value.push_str(&format!(":suppressions={}", known.display()));
        }
        (name, value)
    }

    /// What cargo and the compilers are told.
    fn environment(self, engine: Engine) -> Vec<(&'static str, String)> {
        let sanitizer = self.name();
        let mut flags = format!("-fsanitize={sanitizer} -g -fno-omit-frame-pointer");
        flags.push_str(&unchecked(engine));
        if self == Sanitizer::Thread {
            // `_longjmp`, which Lua takes where it can, is not known to the runtime on Linux: each jump would leave frames on its own stack, until that runs over.
            // In glibc both are the same.
            flags.push_str(" -D_longjmp=longjmp");
        }
        let folder = cargo::target().join("sanitize").join(sanitizer);
        let mut environment = vec![
            ("CC", "clang".to_owned()),
            ("CARGO_TARGET_DIR", folder.display().to_string()),
            // Named, although it is the host: build scripts and macros are then built without the flags.
            ("CARGO_BUILD_TARGET", TARGET.to_owned()),
            (
                "RUSTFLAGS",
                format!("-Zsanitizer={sanitizer} --cfg leash_no_spares"),
            ),
            self.runtime(),
        ];
        if engine == Engine::Luajit {
            // Not its build tools, which would be linked without the runtime. Its own allocator would hide each object in an arena.
            let flags = format!("{flags} -DLUAJIT_USE_SYSMALLOC");
            environment.push(("TARGET_CFLAGS", flags));
            environment.push(("TARGET_LDFLAGS", format!("-fsanitize={sanitizer}")));
        } else {
            environment.push(("CFLAGS", flags));
        }
        environment
    }

    /// Arguments for cargo, before its command.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Sanitizer::Address => &["+nightly"],
            Sanitizer::Thread => &["+nightly", "-Zbuild-std"],
        }
    }
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let sanitizer = options.sanitizer;
    if sanitizer == Sanitizer::Thread {
        look_for_sources()?;
    }
    let mut steps = Steps::new();
    for engine in Engine::or_all(&options.engines) {
        if !sanitizer.can_judge(engine) {
            ensure!(
                options.engines.is_empty(),
                "{engine} cannot be judged by the {} sanitizer: most of it is assembler",
                sanitizer.name()
            );
            continue;
        }
        whole_engine(&mut steps, options, engine)?;
    }
    steps.finish();
    Ok(())
}

/// The stress under AddressSanitizer for so many seconds, and the counterexample: what `cargo xtask test` runs. False if what it takes is not on this machine, of which
/// this has told.
pub fn check(engine: Engine, seconds: u32) -> Result<bool> {
    for (program, arguments) in [
        ("rustc", &["+nightly", "--version"][..]),
        ("clang", &["--version"]),
    ] {
        let mut command = process::command(program);
        command
            .args(arguments)
            .env("RUSTUP_AUTO_INSTALL", "0") // a question, not a wish
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let there = process::run(&mut command, Duration::from_secs(60)).is_ok_and(|o| o.code == 0);
        if !there {
            println!("`{program} {}` does not work here", arguments.join(" "));
            return Ok(false);
        }
    }
    let program = stressed(Sanitizer::Address, engine, seconds)?;
    if races(engine) {
        counterexample(Sanitizer::Address, &program)?;
    }
    Ok(true)
}

/// Whether the counterexample is one on this engine.
fn races(engine: Engine) -> bool {
    [Engine::Lua53, Engine::Lua54, Engine::Lua55].contains(&engine)
}

/// Builds the stress and runs it; returns where it is.
fn stressed(sanitizer: Sanitizer, engine: Engine, seconds: u32) -> Result<PathBuf> {
    let environment = sanitizer.environment(engine);
    let program = stress::build(engine, stress::PROGRAM, sanitizer.arguments(), &environment)?;
    let time = seconds.to_string();
    let mut arguments = vec!["--seconds", &time, "--patience", "140"];
    if sanitizer == Sanitizer::Thread {
        arguments.extend(["--ends", "--threads", "2"]);
        arguments.extend(FOR_THREAD.iter().flat_map(|name| ["--only", name]));
    }
    let (code, said) = judge(sanitizer, &program, &arguments, seconds)?;
    ensure!(code == 0, "exit code {code}:\n{said}");
    Ok(program)
}

fn whole_engine(steps: &mut Steps, options: &Options, engine: Engine) -> Result<()> {
    let (sanitizer, seconds) = (options.sanitizer, options.seconds);
    let name = sanitizer.name();
    let again = format!("cargo xtask sanitize {name} {engine} --seconds {seconds}");
    if sanitizer == Sanitizer::Address && !options.only_stress {
        steps.run(&format!("{engine}: tests, {name}"), &again, || {
            tests(sanitizer, engine)
        })?;
    }
    let again = format!("{again} --only-stress");
    let mut program = None;
    steps.run(&format!("{engine}: stress, {name}"), &again, || {
        program = Some(stressed(sanitizer, engine, seconds)?);
        Ok(())
    })?;
    if let Some(program) = program.filter(|_| races(engine)) {
        let name = format!("{engine}: lua_sethook from another thread, {name}");
        steps.run(&name, &again, || counterexample(sanitizer, &program))?;
    }
    Ok(())
}

fn tests(sanitizer: Sanitizer, engine: Engine) -> Result<()> {
    let features = format!("{engine},vendored");
    let mut line = sanitizer.arguments().to_vec();
    line.extend(["test", "--package", "lua-leash", "--tests"]);
    line.extend(["--no-default-features", "--features", &features]);
    // It measures the memory of the process, which the sanitizer does not give back: freed blocks are kept for a while, to see who uses them.
    line.extend(["--", "--skip", "closed_states_leave_no_memory_behind"]);
    // Tens of thousands of collections of all that is alive, one inside the other: a second becomes many minutes.
    line.extend(["--skip", "thousands_of_finalizers_that_collect"]);
    cargo::run_in(&line, &sanitizer.environment(engine))
}

/// Must be objected to.
fn counterexample(sanitizer: Sanitizer, program: &Path) -> Result<()> {
    let seconds = 30;
    let arguments = ["--unsafe-cross-thread", "--seconds", "30"];
    let (code, said) = judge(sanitizer, program, &arguments, seconds)?;
    let found = [
        "heap-use-after-free",
        "heap-buffer-overflow",
        "data race",
        "SEGV",
    ]
    .into_iter()
    .find(|word| said.contains(word));
    ensure!(
        code != 0 && found.is_some(),
        "no report for {seconds} s of what must be reported (exit code {code}):\n{said}"
    );
    println!("as it must be, a report: {}", found.unwrap_or_default());
    for line in said.lines().filter(|line| is_telling(line)).take(12) {
        println!("  {line}");
    }
    Ok(())
}

/// The lines of a report that a reader wants to see.
fn is_telling(line: &str) -> bool {
    let words = [
        "ERROR:", "WARNING:", "SUMMARY:", " #0 ", " #1 ", "freed by", "Previous", "READ of",
        "WRITE of",
    ];
    words.iter().any(|word| line.contains(word))
}

/// Runs the program under the sanitizer; its exit code, and what it said.
fn judge(
    sanitizer: Sanitizer,
    program: &Path,
    arguments: &[&str],
    seconds: u32,
) -> Result<(i32, String)> {
    let (name, value) = sanitizer.runtime();
    let mut command = process::command(program);
    command
        .args(arguments)
        .env(name, value)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let patience = Duration::from_secs((seconds + 2 * MARGIN).into());
    let outcome = process::run(&mut command, patience)?;
    let mut said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&outcome.stderr));
    if outcome.code == 0 {
        print!("{said}");
    }
    Ok((outcome.code, said))
}

/// `-Zbuild-std` needs the sources of the standard library.
fn look_for_sources() -> Result<()> {
    let mut command = process::command("rustc");
    command
        .args(["+nightly", "--print", "sysroot"])
        .stdout(Stdio::piped());
    let outcome = process::run(&mut command, Duration::from_secs(60))?;
    let root = String::from_utf8(outcome.stdout).context("a path in UTF-8")?;
    let sources = Path::new(root.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
    ensure!(
        outcome.code == 0 && sources.is_file(),
        "the sources of the standard library are missing: rustup component add rust-src --toolchain nightly"
    );
    Ok(())
}

#[cfg(test)]
mod tests_of_this {
    use super::*;

    #[test]
    fn a_report_cannot_be_overlooked() {
        for sanitizer in [Sanitizer::Address, Sanitizer::Thread] {
            let (_, options) = sanitizer.runtime();
            assert!(options.starts_with("exitcode=86:"));
            let suppresses = options.contains("suppressions");
            assert_eq!(suppresses, sanitizer == Sanitizer::Thread);
        }
        assert!(is_telling("WARNING: ThreadSanitizer: data race (pid=1)"));
        assert!(!is_telling("    #7 0x55 in main"));
    }

    #[test]
    fn who_is_judged_by_what() {
        assert!(Sanitizer::Address.can_judge(Engine::Luajit));
        assert!(!Sanitizer::Thread.can_judge(Engine::Luajit));
        assert!(Sanitizer::Thread.can_judge(Engine::Lua51));
    }
}
