//! Where and with what the measurements were made.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo::{self, Leash};
use crate::process;

/// The machine and the versions, as lines of a list.
pub struct Machine {
    /// What it is, and what that is here.
    pub facts: Vec<(&'static str, String)>,
    /// Programs that computed at the same time, an average of the last minute.
    pub load: f64,
}

impl Machine {
    /// Of this machine and this build.
    pub fn describe(leash: &Leash) -> Result<Machine> {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = field(&cpu, "model name").unwrap_or("an unknown processor");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = first_number(&load).unwrap_or(0.0);
        let leash = leash.program.display().to_string();
        let root = cargo::root().display().to_string();
        let facts = vec![
            ("Date", first_line(&["date", "--utc", "+%F"])?),
            (
                "Machine",
                format!("{model}, {cores} cores, {}", std::env::consts::ARCH),
            ),
            ("Load when it began", format!("{load:.2}")),
            ("System", first_line(&["uname", "-sr"])?),
            ("Leash", first_line(&[leash.as_str(), "--version"])?),
            (
                "Commit",
                first_line(&["git", "-C", &root, "describe", "--always", "--dirty"])
                    .unwrap_or_else(|_| "unknown".to_owned()),
            ),
            (
                "Debian's Lua",
                first_line(&["lua5.4", "-v"]).unwrap_or_else(|_| "not installed".to_owned()),
            ),
            ("Compilers", {
                let rust = first_line(&["rustc", "--version"])?;
                format!("{rust}; {}", first_line(&["cc", "--version"])?)
            }),
        ];
        Ok(Machine { facts, load })
    }

    /// Whether others are at work here. Our own build may be the reason for a load of one.
    pub fn is_busy(&self) -> bool {
        self.load > 1.2
    }
}

/// The first line that a command writes.
fn first_line(words: &[&str]) -> Result<String> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", words[0]))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().filter(|line| !line.is_empty());
    line.map(str::to_owned)
        .with_context(|| format!("`{}` says nothing", process::show(&command)))
}

/// The value in the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
    Some(value.trim())
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_cpuinfo() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: a b\n";
        assert_eq!(field(text, "model name"), Some("Some CPU @ 2 GHz"));
        assert_eq!(field(text, "model"), None);
    }

    #[test]
    fn the_load_of_the_last_minute() {
        assert_eq!(first_number("1.50 2.31 2.44 1/99 123\n"), Some(1.5));
        assert_eq!(first_number(""), None);
    }

    #[test]
    fn the_first_line_only() {
        let line = first_line(&["printf", "a\nb\n"]).expect("printf is everywhere");
        assert_eq!(line, "a");
        assert!(first_line(&["true"]).is_err());
    }
}
