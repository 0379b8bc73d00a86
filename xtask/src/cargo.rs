//! Calling cargo, and what it builds.
//!
//! All engines share one target folder. Cargo keeps the results for different features apart by a hash in their names, so
//! changing the engine rebuilds only what depends on it, and clap, the test libraries and so on are built once: measured, the first
//! engine takes 140 s from nothing and each further one 45 s, where folders of their own would cost 140 s each. Only the
//! final names (`target/debug/leash`) are overwritten by the next engine, so the command is copied to `target/test/ENGINE/`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::engine::Engine;
use crate::process;

/// The root of the repository.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask is a folder of the repository")
}

/// Where cargo builds.
pub fn target() -> &'static Path {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(|| root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into())))
}

/// Cargo with these arguments, in the repository.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or(OsString::from("cargo")));
    command.args(arguments).current_dir(root());
    command
}

/// Nothing that cargo does here takes as long on two processors; what hangs is to be told, not waited for.
const PATIENCE: Duration = Duration::from_secs(1500);

/// Runs cargo. At a terminal its output is the reader's, as it comes. Elsewhere, where a log is read only after something went wrong and may be cut, it is shown
/// after a failure, and otherwise summed up in a line.
pub fn run(arguments: &[&str]) -> Result<()> {
    if std::io::stdout().is_terminal() {
        return run_in(arguments, &[]);
    }
    let line = format!("cargo {}", arguments.join(" "));
    let mut command = command_in(arguments, &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let outcome = process::run(&mut command, PATIENCE)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let stdout = text(&outcome.stdout);
    ensure!(
        outcome.code == 0,
        "`{line}` failed ({})\n{stdout}{}",
        outcome.code,
        text(&outcome.stderr)
    );
    match passed(&stdout) {
        0 => println!("{line}"),
        tests => println!("{line}: {tests} tests passed"),
    }
    Ok(())
}

/// How many tests have passed, by the last lines of test programs.
fn passed(stdout: &str) -> u32 {
    stdout
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split_once(" passed")?.0.parse::<u32>().ok())
        .sum()
}

/// The command, where `+TOOLCHAIN` as the first argument is another toolchain's cargo: only the one that rustup has put on the path knows what
/// that means, and it is not to hear which toolchain runs this task.
fn command_in(arguments: &[&str], environment: &[(&str, String)]) -> Command {
    let mut command = match arguments.first() {
        Some(first) if first.starts_with('+') => {
            let mut command = Command::new("cargo");
            command.args(arguments).current_dir(root());
            for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC"] {
                command.env_remove(name);
            }
            command
        }
        _ => command(arguments),
    };
    let environment = environment.iter().map(|(name, value)| (name, value));
    command.envs(environment);
    command
}

/// The same with an environment; the output is always the reader's.
pub fn run_in(arguments: &[&str], environment: &[(&str, String)]) -> Result<()> {
    let line = format!("cargo {}", arguments.join(" "));
    println!("{line}");
    let status = command_in(arguments, environment)
        .status()
        .context("cannot start cargo; is it installed?")?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

/// Runs cargo; its messages, one JSON object a line, are returned, and what else it says is the reader's.
pub fn messages(arguments: &[&str], environment: &[(&str, String)]) -> Result<String> {
    let line = format!("cargo {}", arguments.join(" "));
    println!("{line}");
    let output = command_in(arguments, environment)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo; is it installed?")?;
    ensure!(
        output.status.success(),
        "`{line}` failed ({})",
        output.status
    );
    String::from_utf8(output.stdout).context("cargo writes UTF-8")
}

/// How a command is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For tests: with Lua's checks of how its API is used.
    Debug,
    /// As users build it.
    Release,
}

/// The `leash` command for one engine.
#[derive(Clone, Debug)]
pub struct Leash {
    /// Its engine.
    pub engine: Engine,
    /// Its folder, which other programs for this engine can share.
    pub folder: PathBuf,
    /// The program itself.
    pub program: PathBuf,
    /// The folder with the Lua that cargo built for it: `include` and `lib`.
    pub lua: PathBuf,
}

/// Builds the `leash` command.
pub fn leash(engine: Engine, profile: Profile) -> Result<Leash> {
    let mut arguments = vec!["build", "--package", "leash-cli", "--no-default-features"];
    arguments.extend(["--features", engine.name()]);
    if profile == Profile::Release {
        arguments.push("--release");
    }
    let messages = messages(&arguments, &[])?;
    let Products { leash, lua } =
        products(&messages).context("cargo did not say what it has built")?;

    let name = format!("{profile:?}").to_lowercase();
    let folder = target().join("test").join(engine.name()).join(name);
    let program = folder.join("leash");
    // Not copied in place: a program that runs cannot be written to, but its name can be given to another.
    let fresh = folder.join("leash.new");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(&leash, &fresh))
        .and_then(|_| fs::rename(&fresh, &program))
        .with_context(|| format!("cannot copy {leash} to {}", program.display()))?;
    Ok(Leash {
        engine,
        folder,
        program,
        lua: PathBuf::from(lua),
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Products {
    leash: String,
    lua: String,
}

/// Finds in cargo's messages, one JSON object a line, the command and the folder of the Lua that it contains.
fn products(messages: &str) -> Result<Products> {
    let (mut leash, mut lua) = (None, None);
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).context("cargo writes JSON")?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let package = message["package_id"].as_str().unwrap_or_default();
        if message["target"]["name"] == "leash" {
            leash = text(&message["executable"]).or(leash);
        } else if message["reason"] == "build-script-executed" && package.contains("mlua-sys") {
            lua = text(&message["out_dir"]);
        }
    }
    Ok(Products {
        leash: leash.context("there is no program 'leash'")?,
        lua: lua.context("there is no output of mlua-sys")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_repository() {
        assert!(root().join("crates/leash/Cargo.toml").is_file());
    }

    #[test]
    fn passed_tests_are_summed_up() {
        let stdout = "running 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\n\
            test result: ok. 40 passed; 0 failed\ntest result: FAILED. 7 passed; 1 failed\n";
        assert_eq!(passed(stdout), 42);
    }

    #[test]
    fn products_are_found_among_other_messages() {
        let messages = concat!(
            r#"{"reason":"build-script-executed","package_id":"registry#libc@0.2.1","out_dir":"/no"}"#,
            "\n",
            r#"{"reason":"build-script-executed","package_id":"registry#mlua-sys@0.13.0","out_dir":"/lua"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"x","target":{"name":"leash"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"x","target":{"name":"leash"},"executable":"/bin/leash"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\nnot JSON\n",
        );
        let found = products(messages).expect("both are there");
        assert_eq!(
            (found.leash.as_str(), found.lua.as_str()),
            ("/bin/leash", "/lua")
        );
        assert!(products("").is_err());
    }
}
