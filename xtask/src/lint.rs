//! Formatting and clippy.
//!
//! Clippy sees the code of one engine at a time, as the compiler does, so it runs once for each.

use anyhow::Result;
use clap::Args;

use crate::cargo;
use crate::engine::Engine;
use crate::steps::Steps;

/// What to check.
#[derive(Debug, Args)]
pub struct Options {
    /// The engines; all six if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::new();
    format(&mut steps)?;
    for engine in Engine::or_all(&options.engines) {
        clippy(&mut steps, engine)?;
    }
    steps.finish();
    Ok(())
}

/// The step that checks the formatting.
pub fn format(steps: &mut Steps) -> Result<()> {
    steps.run("formatting", "cargo fmt --all --check", || {
        cargo::run(&["fmt", "--all", "--check"])
    })
}

/// The step that runs clippy for an engine.
pub fn clippy(steps: &mut Steps, engine: Engine) -> Result<()> {
    // A feature that a package does not have is left out for it: only leash and leash-cli have engines.
    let line = format!(
        "clippy --workspace --all-targets --no-default-features --features {engine} -- -D warnings"
    );
    let arguments: Vec<&str> = line.split(' ').collect();
    steps.run(
        &format!("{engine}: clippy"),
        &format!("cargo {line}"),
        || cargo::run(&arguments),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }

    /// A jump of the clock on the wall cannot be made in a test without making it for the whole machine. But nothing can depend on a clock that
    /// is never read: limits rest on the monotonic clock, and sleeps (futex, nanosleep) are by it as long as nobody says otherwise.
    #[test]
    fn no_limit_rests_on_the_calendar() {
        const CALENDAR: [&str; 7] = [
            "SystemTime",
            "UNIX_EPOCH",
            "CLOCK_REALTIME", // and FUTEX_CLOCK_REALTIME
            "CLOCK_TAI",
            "gettimeofday",
            "libc::time(",
            "pthread_cond_timedwait",
        ];
        // corowatch.gettime() is documented to tell it, to scripts.
        let allowed = cargo::root().join("crates/module/src/corowatch.rs");
        let mut found = Vec::new();
        for part in ["watchdog", "leash", "module", "cli"] {
            sources(
                &cargo::root().join("crates").join(part).join("src"),
                &mut found,
            );
        }
        assert!(found.len() > 60 && found.contains(&allowed));
        for path in found {
            let text = fs::read_to_string(&path).expect("a text");
            let reads = CALENDAR.iter().any(|name| text.contains(name));
            assert_eq!(reads, path == allowed, "{}", path.display());
        }
    }
}
