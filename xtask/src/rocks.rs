//! The rock: `luarocks make`, as a user runs it, into a tree of its own; then the modules in that tree, in the standard interpreter.
//!
//! What LuaRocks calls to build (`rocks/build.lua`) is `cargo xtask modules` again, in the same target folder, so nothing is compiled
//! here that the tests of the modules have not compiled already.
//!
//! Not every machine has what an engine needs: LuaRocks, the standard interpreter, and the headers of this Lua, for which LuaRocks asks
//! although nothing here includes them. What lacks is printed, and the engine left out.
//!
//! What could go wrong: the tester's own settings decide. So LuaRocks gets an empty user configuration, and the script that uses the
//! modules runs in another folder, with the paths of the tree and no others.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::engine::Engine;
use crate::interpreter::Interpreter;
use crate::process;

/// A build from nothing takes minutes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Makes the rock for an engine and uses it.
pub fn check(engine: Engine) -> Result<()> {
    let Some(rocks) = Rocks::find(engine)? else {
        return Ok(());
    };
    rocks.without_cargo()?;
    if engine == Engine::Lua51 {
        rocks.headers_of_another_engine()?;
    }
    rocks.make()?;
    rocks.use_it()?;
    fs::remove_dir_all(&rocks.folder)
        .with_context(|| format!("cannot remove {}", rocks.folder.display()))
}

/// LuaRocks, set to one engine.
struct Rocks {
    engine: Engine,
    interpreter: Interpreter,
    /// Everything that is written is in here.
    folder: PathBuf,
}

impl Rocks {
    /// None if the machine has not what it takes; that has been printed.
    fn find(engine: Engine) -> Result<Option<Rocks>> {
        let lacks = |what: &str| {
            println!("{what}: the rock is not tested for {engine}");
            Ok(None)
        };
        if !on_path("luarocks", &paths()) {
            return lacks("luarocks is not installed");
        }
        let Some(interpreter) = Interpreter::stock(engine) else {
            return lacks(&format!("{} is not installed", engine.stock()));
        };
        let folder = cargo::target().join("rocks").join(engine.name());
        let _ = fs::remove_dir_all(&folder); // left there by a test that failed
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("config.lua"), ""))
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let rocks = Rocks {
            engine,
            interpreter,
            folder,
        };
        let headers = run(&mut rocks.luarocks(&["config", "variables.LUA_INCDIR"]))?;
        if headers.code != 0 || headers.stdout.trim().is_empty() {
            return lacks(&format!(
                "LuaRocks does not find the headers of Lua {}",
                version(engine)
            ));
        }
        Ok(Some(rocks))
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    fn luarocks(&self, arguments: &[&str]) -> Command {
        let mut command = process::command("luarocks");
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("LUAROCKS_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(cargo::root())
            .env("LUAROCKS_CONFIG", self.folder.join("config.lua"))
            .args(["--lua-version", version(self.engine), "--tree"])
            .arg(self.tree())
            .args(arguments);
        command
    }

    /// `luarocks make`, as docs/leash.md says: for LuaJIT, which LuaRocks takes for a Lua 5.1, by naming the interpreter.
    fn luarocks_make(&self) -> Command {
        let mut command = self.luarocks(&["make"]);
        if self.engine == Engine::Luajit {
            let mut variable = OsString::from("LUA=");
            variable.push(self.interpreter.command().get_program());
            command.arg(variable);
        }
        command
    }

    fn make(&self) -> Result<()> {
        let mut command = self.luarocks_make();
        println!("{}", process::show(&command));
        run(&mut command)?.succeeded(&command)?;
        Ok(())
    }

    /// Runs `tests/rocks/use.lua` with the paths that `luarocks path` gives, and looks for the annotations.
    fn use_it(&self) -> Result<()> {
        let mut command = self.interpreter.command();
        command
            .arg(cargo::root().join("tests/rocks/use.lua"))
            .arg(self.engine.name())
            .current_dir(&self.folder);
        for (variable, option) in [("LUA_PATH", "--lr-path"), ("LUA_CPATH", "--lr-cpath")] {
            command.env(variable, self.ask(&["path", option])?);
        }
        let outcome = run(&mut command)?.succeeded(&command)?;
        println!("{}: {}", self.interpreter.name, outcome.stdout.trim());

        let rock = PathBuf::from(self.ask(&["show", "--rock-dir", "leash"])?);
        for file in ["library/leash.lua", "docs/leash.md"] {
            ensure!(
                rock.join(file).is_file(),
                "the rock {} lacks {file}",
                rock.display()
            );
        }
        Ok(())
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.luarocks(arguments);
        let answer = run(&mut command)?.succeeded(&command)?.stdout;
        Ok(answer.trim().to_owned())
    }

    /// Without cargo, the message is one that helps.
    fn without_cargo(&self) -> Result<()> {
        let folders = without("cargo", &paths());
        if !on_path("luarocks", &folders) || !on_path(self.engine.stock(), &folders) {
            println!("cargo is in the same folder as Lua or LuaRocks: not tested without cargo");
            return Ok(());
        }
        let mut command = self.luarocks_make();
        command.env("PATH", env::join_paths(folders)?);
        let why = "cargo was not found: Leash is written in Rust";
        self.refused(&mut command, &[why, "https://rustup.rs"])
    }

    /// LuaJIT's headers with the interpreter of 5.1 are a mistake, and seen as one.
    fn headers_of_another_engine(&self) -> Result<()> {
        let headers = self.folder.join("luajit");
        fs::create_dir_all(&headers)?;
        fs::write(headers.join("lua.h"), "#define LUA_VERSION_NUM 501\n")?;
        fs::write(headers.join("luajit.h"), "")?;
        let mut command = self.luarocks_make();
        command.arg(format!("LUA_INCDIR={}", headers.display()));
        self.refused(&mut command, &["LuaJIT's headers", "is Lua 5.1"])
    }

    /// It must fail, say all of this, and install nothing.
    fn refused(&self, command: &mut Command, says: &[&str]) -> Result<()> {
        let outcome = run(command)?;
        let shown = process::show(command);
        ensure!(outcome.code != 0, "this should have failed: {shown}");
        for text in says {
            ensure!(
                outcome.stderr.contains(text),
                "this should have said '{text}': {shown}\n{}",
                outcome.stderr
            );
        }
        let installed = self.ask(&["list", "--porcelain"])?;
        ensure!(
            installed.is_empty(),
            "this should have installed nothing: {shown}\n{installed}"
        );
        println!("refused, and why: {}", says.join(" ... "));
        Ok(())
    }
}

/// What LuaRocks calls it.
fn version(engine: Engine) -> &'static str {
    match engine {
        Engine::Lua51 | Engine::Luajit => "5.1",
        Engine::Lua52 => "5.2",
        Engine::Lua53 => "5.3",
        Engine::Lua54 => "5.4",
        Engine::Lua55 => "5.5",
    }
}

struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn succeeded(self, command: &Command) -> Result<Outcome> {
        ensure!(
            self.code == 0,
            "it ended with {}: {}\n{}{}",
            self.code,
            process::show(command),
            self.stdout,
            self.stderr
        );
        Ok(self)
    }
}

fn run(command: &mut Command) -> Result<Outcome> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let outcome = process::run(command, PATIENCE)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Outcome {
        code: outcome.code,
        stdout: text(&outcome.stdout),
        stderr: text(&outcome.stderr),
    })
}

/// The folders of the `PATH`.
fn paths() -> Vec<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect()
}

fn on_path(program: &str, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| has(folder, program))
}

fn has(folder: &Path, program: &str) -> bool {
    folder.join(program).is_file()
}

/// The folders that do not have this program.
fn without(program: &str, folders: &[PathBuf]) -> Vec<PathBuf> {
    let rest = folders.iter().filter(|folder| !has(folder, program));
    rest.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_program() {
        let folders = [
            PathBuf::from("/nowhere"),
            cargo::root().to_owned(),
            cargo::root().join("xtask"),
        ];
        assert!(on_path("README.md", &folders));
        let rest = without("README.md", &folders);
        assert_eq!(rest, [folders[0].clone(), folders[2].clone()]);
        assert!(!on_path("README.md", &rest));
    }

    #[test]
    fn what_fails_is_shown_with_what_it_said() {
        let mut command = process::command("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let outcome = run(&mut command).expect("it runs");
        let error = outcome.succeeded(&command).err().expect("it has failed");
        for part in ["ended with 3", "sh -c", "out\nerr"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
