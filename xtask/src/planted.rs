//! `cargo xtask planted`: puts a known bug into a copy of the sources, and sees whether the test that is there for it fails.
//!
//! A test that cannot fail proves nothing. So each promise has a [bug](bugs) that breaks it: the copy (`target/planted/source`) is made the same as the
//! checkout, what is not committed included, the bug is put in, and the one test that has to see it is built and run. It must fail, crash or hang. Before that
//! the same test must pass without the bug.
//!
//! What could go wrong: that a bug does not compile, or that its place is not found any more, counts as caught. Both are errors of their own here.

mod bugs;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::process;
use crate::{cargo, stress};
use bugs::{BUGS, Bug, Check};

/// What to plant.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask planted --list
  cargo xtask planted resend thread")]
pub struct Options {
    /// The bugs; all of them if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Lists them
    #[arg(long)]
    list: bool,
}

/// A test that takes longer hangs: most take a second.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    if options.list {
        for bug in BUGS {
            println!("{:18} {}", bug.name, bug.what);
        }
        return Ok(());
    }
    for name in &options.names {
        ensure!(
            BUGS.iter().any(|b| b.name == name),
            "there is no bug '{name}'; see --list"
        );
    }
    let copy = cargo::target().join("planted").join("source");
    let mut sound: Vec<Check> = Vec::new();
    let mut outcomes = Vec::new();
    for bug in BUGS {
        if !options.names.is_empty() && options.names.iter().all(|n| n != bug.name) {
            continue;
        }
        println!("\n=== {}: {}", bug.name, bug.what);
        synchronize(&copy)?;
        if !sound.contains(&bug.check) {
            let seen = check(&copy, bug.check)?;
            ensure!(
                seen.is_none(),
                "{:?} fails without any bug: {}",
                bug.check,
                seen.unwrap_or_default()
            );
            sound.push(bug.check);
        }
        plant(&copy, bug)?;
        let seen = check(&copy, bug.check)?;
        println!("--- {}", seen.as_deref().unwrap_or("NOT CAUGHT"));
        outcomes.push((bug, seen));
    }
    synchronize(&copy)?;
    println!();
    for (bug, seen) in &outcomes {
        println!(
            "{:18} {:60} {}",
            bug.name,
            describe(bug.check),
            seen.as_deref().unwrap_or("NOT CAUGHT")
        );
    }
    let missed = outcomes.iter().filter(|(_, seen)| seen.is_none()).count();
    println!("\n{} of {} caught", outcomes.len() - missed, outcomes.len());
    ensure!(missed == 0, "{missed} bugs were not caught");
    Ok(())
}

fn describe(check: Check) -> String {
    match check {
        Check::Engine(engine, file, test) => format!("{engine}: {file}, {test}"),
        Check::Watchdog(file, test) => format!("watchdog: {file}, {test}"),
        Check::Unit(engine, test) => format!("{engine}: {test}"),
        Check::Step(engine, stretch) => format!("{engine}: single-stepping, {stretch}"),
        Check::Stress(engine, scenario) => format!("{engine}: stress, {scenario}"),
    }
}

/// Makes the copy the same as the checkout. What is the same already is not written, so that it is not built again.
fn synchronize(copy: &Path) -> Result<()> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(cargo::root())
        .output()
        .context("cannot start git, which knows what belongs to the checkout")?;
    ensure!(listed.status.success(), "git ls-files failed");
    let names = String::from_utf8(listed.stdout).context("names in UTF-8")?;
    let names: HashSet<&str> = names.split('\0').filter(|n| !n.is_empty()).collect();
    ensure!(!names.is_empty(), "git knows no files here");
    for name in &names {
        let (from, to) = (cargo::root().join(name), copy.join(name));
        let Ok(text) = fs::read(&from) else {
            continue; // deleted, and not committed yet
        };
        write_if_new(&to, &text)?;
    }
    for gone in files_of(&copy.join("crates"))? {
        let name = gone.strip_prefix(copy).context("a file of the copy")?;
        if !name.to_str().is_some_and(|n| names.contains(n)) {
            fs::remove_file(&gone).with_context(|| format!("cannot remove {}", gone.display()))?;
        }
    }
    Ok(())
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_of(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

fn write_if_new(to: &Path, text: &[u8]) -> Result<()> {
    if fs::read(to).is_ok_and(|now| now == text) {
        return Ok(());
    }
    let folder = to.parent().context("a file in a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(to, text))
        .with_context(|| format!("cannot write {}", to.display()))
}

fn plant(copy: &Path, bug: &Bug) -> Result<()> {
    let path = copy.join(bug.file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", bug.file))?;
    write_if_new(&path, planted(&text, bug)?.as_bytes())
}

fn planted(text: &str, bug: &Bug) -> Result<String> {
    let places = text.matches(bug.find).count();
    ensure!(
        places == 1,
        "the bug '{}' has {places} places in {}: the code has changed",
        bug.name,
        bug.file
    );
    Ok(text.replace(bug.find, bug.replace))
}

/// Builds a test in the copy and runs it: how it failed, if it did.
fn check(copy: &Path, check: Check) -> Result<Option<String>> {
    let manifest = copy.join("Cargo.toml");
    let manifest = manifest.to_str().context("a path in UTF-8")?;
    let target = cargo::target().join("planted").join("target");
    let environment = [("CARGO_TARGET_DIR", target.display().to_string())];
    let (package, name, engine, arguments): (_, _, _, Vec<&str>) = match check {
        Check::Engine(engine, file, test) => ("lua-leash", file, Some(engine), vec![test]),
        Check::Watchdog(file, test) => ("watchdog", file, None, vec![test]),
        Check::Unit(engine, test) => ("lua-leash", "leash", Some(engine), vec![test]),
        Check::Step(engine, stretch) => (
            stress::PROGRAM,
            "leash-step",
            Some(engine),
            vec!["--seconds", "6", "--only", stretch],
        ),
        Check::Stress(engine, scenario) => (
            stress::PROGRAM,
            stress::PROGRAM,
            Some(engine),
            vec!["--seconds", "8", "--patience", "20", "--only", scenario],
        ),
    };
    let features = engine.map(|e| match package {
        "lua-leash" => format!("{e},vendored"),
        _ => e.to_string(),
    });
    let mut line = match check {
        Check::Engine(..) | Check::Watchdog(..) => vec!["test", "--no-run", "--test", name],
        Check::Unit(..) => vec!["test", "--no-run", "--lib"],
        Check::Step(..) | Check::Stress(..) => vec!["build", "--bin", name],
    };
    line.extend(["--quiet", "--manifest-path", manifest, "--package", package]);
    if let Some(features) = &features {
        line.extend(["--no-default-features", "--features", features]);
    }
    let messages = cargo::messages(&line, &environment)?;
    let Some(program) = messages
        .lines()
        .filter_map(|line| stress::executable(line, name))
        .next_back()
    else {
        bail!("cargo did not say where the program is: {}", line.join(" "));
    };
    let mut command = process::command(&program);
    command
        .args(&arguments)
        .current_dir(copy)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process::limit_memory(&mut command, 12 << 30);
    println!("{}", process::show(&command));
    std::io::stdout().flush()?;
    let outcome = match process::run(&mut command, PATIENCE) {
        Ok(outcome) => outcome,
        Err(_) => return Ok(Some("does not end".to_owned())),
    };
    let told = String::from_utf8_lossy(&outcome.stdout).into_owned();
    match outcome.code {
        0 => {
            // A filter that meets no test lets everything pass.
            ensure!(
                !told.contains("running 0 tests"),
                "there is no such test: {}",
                describe(check)
            );
            Ok(None)
        }
        code if code < 0 => Ok(Some(format!("dies of signal {}", -code))),
        _ => Ok(Some("fails".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_its_place_and_its_name() {
        let mut names = HashSet::new();
        for bug in BUGS {
            assert!(names.insert(bug.name), "{} twice", bug.name);
            let text = fs::read_to_string(cargo::root().join(bug.file)).expect(bug.file);
            let with = planted(&text, bug).expect("its place");
            assert_ne!(with, text, "{}", bug.name);
        }
    }

    #[test]
    fn a_bug_without_its_place_is_an_error() {
        let error = planted("nothing of the kind", &BUGS[0]).expect_err("no place");
        assert!(
            error.to_string().contains("the code has changed"),
            "{error}"
        );
    }
}
