//! `cargo xtask asserts`: the engine's tests on a Lua that checks itself.
//!
//! Lua's authors have left assertions in its C code, and checks of what hosts pass to its API; both are off in what people use. What Leash does to a state from a signal handler, in a hook and
//! by an error is just what they are about: a stack with a wrong top, a call that is no more, a slot that is not there. So the tests of the crate run once more with all of them on, and an assertion
//! that fails ends the process.
//!
//! Two may fail, and `xtask/asserts/assert.h` says which and why. It is included first everywhere, and it is what `<assert.h>` means to Lua.
//!
//! What could go wrong: that a flag is not heeded, and nothing is checked. So the library that was built is looked through for the text that a failed assertion prints.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cargo;
use crate::engine::Engine;
use crate::process;
use crate::steps::Steps;

/// What to run.
#[derive(Debug, Args)]
pub struct Options {
    /// The engines; all six if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,
}

/// What LuaJIT prints each time that a signal has switched hooks on inside a hook, ours or the script's, which then returns.
const EXPECTED: &str = "active hook flag removed";

/// LuaJIT: tests that refuse allocations. When such a state is closed, LuaJIT's sum of what it has in use is some bytes off, with Leash or without, and it asserts that it is not.
const WITHOUT_MEMORY: [&str; 2] = [
    "an_attach_that_is_refused_a_block_says_so",
    "events_without_memory",
];

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::new();
    for engine in Engine::or_all(&options.engines) {
        let name = format!("{engine}: tests, with Lua's assertions");
        let again = format!("cargo xtask asserts {engine}");
        steps.run(&name, &again, || tests(engine))?;
    }
    steps.finish();
    Ok(())
}

fn tests(engine: Engine) -> Result<()> {
    let (name, flags) = flags(engine);
    let target = folder(engine, &flags)?;
    let features = format!("{engine},vendored");
    let mut command = process::command("cargo");
    command.args(["test", "--package", "lua-leash", "--tests"]);
    command.args(["--no-default-features", "--features", &features]);
    command.arg("--target-dir").arg(&target);
    if engine == Engine::Luajit {
        command.arg("--");
        for test in WITHOUT_MEMORY {
            command.args(["--skip", test]);
        }
    }
    command.current_dir(cargo::root()).env(name, flags);
    command.stderr(Stdio::piped());
    println!("{name}=... {}", process::show(&command));
    let mut child = command.spawn().context("cannot start cargo")?;
    let said = child.stderr.take().context("no pipe to cargo")?;
    for line in BufReader::new(said).split(b'\n') {
        let line = line.context("cannot read what cargo says")?;
        let line = String::from_utf8_lossy(&line);
        if !line.contains(EXPECTED) {
            eprintln!("{line}");
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    ensure!(status.success(), "the tests of {engine} failed: {status}");
    let text = match engine {
        Engine::Luajit => "LuaJIT ASSERT",
        _ => "LUA ASSERT",
    };
    ensure!(
        is_in_a_library(&target.join("debug/build"), text.as_bytes())?,
        "no library under {} has assertions in it: nothing was checked",
        target.display()
    );
    Ok(())
}

/// Where it is built: cargo does not build Lua anew where the flags have changed, or the header. So each has a folder of its own.
fn folder(engine: Engine, flags: &str) -> Result<PathBuf> {
    let header = header();
    let text = fs::read(&header).with_context(|| format!("cannot read {}", header.display()))?;
    let sum = flags.bytes().chain(text).fold(0u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    Ok(cargo::target().join(format!("asserts/{engine}-{sum:08x}")))
}

fn header() -> PathBuf {
    cargo::root().join("xtask/asserts/assert.h")
}

/// The variable that the build of this engine heeds, and what is in it.
fn flags(engine: Engine) -> (&'static str, String) {
    let header = header();
    let folder = header.parent().unwrap_or(&header).display();
    let common = format!(
        "-I{folder} -include {} -DLUA_USE_APICHECK",
        header.display()
    );
    match engine {
        Engine::Luajit => ("TARGET_CFLAGS", format!("-DLUA_USE_ASSERT {common}")),
        Engine::Lua54 | Engine::Lua55 => ("CFLAGS", format!("-DLUAI_ASSERT {common}")),
        _ => ("CFLAGS", common),
    }
}

/// Whether the text is in a static library somewhere under the folder.
fn is_in_a_library(folder: &Path, text: &[u8]) -> Result<bool> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let found = if path.is_dir() {
            is_in_a_library(&path, text)?
        } else {
            path.extension().is_some_and(|extension| extension == "a")
                && fs::read(&path)?
                    .windows(text.len())
                    .any(|part| part == text)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
