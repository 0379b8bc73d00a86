//! `cargo xtask modules`: the Lua modules, in a folder for each engine.
//!
//! `target/modules/ENGINE/` holds `leash.so`, `mtint.lua` and `corowatch.lua`, and can be put on `package.cpath` and `package.path` as it
//! is. The shared library takes Lua's functions from the program that loads it, so it is built with `loadable`, which must
//! never meet the features of the command: hence a target folder of its own for each engine, `target/modules-build/ENGINE`,
//! in which cargo has nothing to redo when the next engine is built.
//!
//! What could go wrong: the folder is in use. A library that is overwritten in place takes down whoever has it mapped; so each file is
//! written beside its place and then renamed.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cargo;
use crate::engine::Engine;

/// The modules that are a line of Lua.
const IN_LUA: [&str; 2] = ["mtint.lua", "corowatch.lua"];

/// The crate that is `leash.so`.
pub const PACKAGE: &str = "leash-module";

/// What to build.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask modules                 for all engines
  cargo xtask modules lua54 luajit    for two of them

Then, to use them:
  LUA_PATH='target/modules/lua54/?.lua;;' LUA_CPATH='target/modules/lua54/?.so;;' lua5.4 -l mtint")]
pub struct Options {
    /// The engines; all six if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    for engine in Engine::or_all(&options.engines) {
        let folder = build(engine)?;
        println!("{}", folder.display());
    }
    Ok(())
}

/// Where cargo builds libraries for one engine that are loaded into a program.
fn built(engine: Engine) -> PathBuf {
    cargo::target().join("modules-build").join(engine.name())
}

/// How cargo builds a package for one engine, as such a library.
pub fn arguments(engine: Engine, package: &str) -> Result<Vec<String>> {
    let target = built(engine);
    let target = target
        .to_str()
        .context("the target folder has a name that is not UTF-8")?;
    let features = format!("{engine},loadable");
    let words = ["build", "--release", "--package", package];
    let rest = ["--no-default-features", "--features", &features];
    let all = words
        .into_iter()
        .chain(rest)
        .chain(["--target-dir", target]);
    Ok(all.map(str::to_owned).collect())
}

/// Builds the package; returns where the library is.
pub fn library(engine: Engine, package: &str) -> Result<PathBuf> {
    let arguments = arguments(engine, package)?;
    cargo::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let name = package.replace('-', "_");
    let library = format!("{DLL_PREFIX}{name}{DLL_SUFFIX}");
    Ok(built(engine).join("release").join(library))
}

/// Builds the modules for one engine; returns their folder.
pub fn build(engine: Engine) -> Result<PathBuf> {
    let library = library(engine, PACKAGE)?;
    let folder = cargo::target().join("modules").join(engine.name());
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    put(&library, &folder, "leash.so")?;
    for name in IN_LUA {
        put(&cargo::root().join("lua").join(name), &folder, name)?;
    }
    Ok(folder)
}

/// Copies a file to `folder/name` so that nobody sees half of it.
fn put(from: &Path, folder: &Path, name: &str) -> Result<()> {
    ensure!(from.is_file(), "there is no {}", from.display());
    // The process id: two builds at once do not write to the same file.
    let fresh = folder.join(format!("{name}.{}", std::process::id()));
    let to = folder.join(name);
    fs::copy(from, &fresh)
        .and_then(|_| fs::rename(&fresh, &to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lua_files_are_there() {
        for name in IN_LUA {
            assert!(cargo::root().join("lua").join(name).is_file(), "{name}");
        }
    }

    #[test]
    fn a_file_is_put_in_place_as_a_whole() {
        let folder = std::env::temp_dir().join(format!("leash-modules-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for this test");
        let from = folder.join("from");
        for text in ["one", "two"] {
            fs::write(&from, text).expect("written");
            put(&from, &folder, "to").expect("copied");
            assert_eq!(fs::read_to_string(folder.join("to")).expect("there"), text);
        }
        assert_eq!(fs::read_dir(&folder).expect("readable").count(), 2);
        assert!(put(&folder.join("absent"), &folder, "to").is_err());
        fs::remove_dir_all(&folder).expect("removed");
    }
}
