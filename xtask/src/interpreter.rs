//! What Leash is compared with: the standard interpreter of the same version, and a plain one around Leash's own Lua.
//!
//! The standard one is Debian's, built from another release by other compiler settings; it shows what users have. The
//! plain one (`plain.c`) is linked with the very library, byte for byte, that cargo built for `leash`: what differs is Leash.
//! (Compiling Lua's sources here once more was dropped: cargo, the `cc` crate and the build script each have a say in the compiler's
//! flags, and a flag that is missed looks like a cost of Leash.)

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::Leash;
use crate::engine::Engine;
use crate::process;

/// A program that runs Lua scripts.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// How reports call it.
    pub name: String,
    program: PathBuf,
    options: Vec<String>,
}

impl Interpreter {
    /// The standard interpreter, if it is installed.
    pub fn stock(engine: Engine) -> Option<Interpreter> {
        let name = engine.stock();
        let path = env::var_os("PATH")?;
        let program = env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())?;
        Some(Interpreter {
            name: name.to_owned(),
            program,
            options: Vec::new(),
        })
    }

    /// The plain interpreter around the Lua of `leash`, built now.
    pub fn plain(leash: &Leash) -> Result<Interpreter> {
        let source = leash.folder.join("plain.c");
        let program = leash.folder.join("plain-lua");
        fs::write(&source, include_str!("plain.c"))
            .with_context(|| format!("cannot write {}", source.display()))?;
        let mut cc = Command::new(env::var_os("CC").unwrap_or("cc".into()));
        cc.arg("-O3").arg("-o").arg(&program).arg(&source);
        cc.arg("-I").arg(leash.lua.join("include"));
        cc.arg(library(&leash.lua.join("lib"))?);
        cc.args(["-Wl,--export-dynamic", "-lm", "-ldl"]);
        let output = cc
            .output()
            .context("cannot start the C compiler `cc`; is gcc installed?")?;
        ensure!(
            output.status.success(),
            "cannot build the plain interpreter: {}\n{}",
            process::show(&cc),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Interpreter {
            name: format!("plain {}", leash.engine),
            program,
            options: Vec::new(),
        })
    }

    /// `leash run` with these options.
    pub fn leash(leash: &Leash, options: &[&str]) -> Interpreter {
        let words = ["run"].into_iter().chain(options.iter().copied());
        Interpreter {
            name: format!("leash run ({})", leash.engine),
            program: leash.program.clone(),
            options: words.map(str::to_owned).collect(),
        }
    }

    /// The standard interpreter; without it the plain one, and a line that says so.
    pub fn reference(leash: &Leash) -> Result<Interpreter> {
        if let Some(stock) = Interpreter::stock(leash.engine) {
            return Ok(stock);
        }
        let plain = Interpreter::plain(leash)?;
        println!(
            "{} is not installed: comparing with a plain interpreter around the same Lua library instead, {}",
            leash.engine.stock(),
            plain.program.display()
        );
        Ok(plain)
    }

    /// The command that runs a script.
    pub fn command(&self) -> Command {
        let mut command = process::command(&self.program);
        command.args(&self.options);
        command
    }

    /// Whether it has the options of the standard one, a prompt among them. The plain one runs scripts and nothing else.
    pub fn has_prompt(&self) -> bool {
        !self.name.starts_with("plain")
    }

    /// What it calls itself in its messages.
    pub fn names(&self) -> Vec<String> {
        let file = self.program.file_name().unwrap_or_default();
        let full = self.program.to_string_lossy().into_owned();
        vec![full, file.to_string_lossy().into_owned()]
    }
}

/// The one library in the folder.
fn library(folder: &Path) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "a"))
        .with_context(|| format!("there is no Lua library in {}", folder.display()))
}
