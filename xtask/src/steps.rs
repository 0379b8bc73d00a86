//! The steps of a task: announced, timed, counted; the first failure ends the task.
//!
//! A failure names its step and the command that repeats this step alone, so that nobody has to run the other steps again to see it.
//!
//! **Where nobody watches** ([`Steps::brief`]; no terminal, as in CI) a step is one line, and what it and the programs that it starts write goes into a file: a log that is
//! read after a failure should show that failure, and may be cut. Of the step that fails the end is shown.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// A task's steps so far.
pub struct Steps {
    started: Instant,
    passed: Vec<(String, Duration)>,
    /// Where the output of steps goes; none: to the reader.
    log: Option<PathBuf>,
}

/// So many of the last lines of a step that has failed are shown.
const LAST_LINES: usize = 120;

impl Steps {
    /// None yet.
    pub fn new() -> Steps {
        Steps {
            started: Instant::now(),
            passed: Vec::new(),
            log: None,
        }
    }

    /// The same, but at no terminal the output of the steps goes into `log`.
    pub fn brief(log: PathBuf) -> Steps {
        let mut steps = Steps::new();
        if !std::io::stdout().is_terminal() {
            println!("What the steps write is in {}", log.display());
            steps.log = Some(log);
        }
        steps
    }

    /// Runs a step. `again` is the command that repeats it alone.
    pub fn run(
        &mut self,
        name: &str,
        again: &str,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let started = Instant::now();
        let outcome = match &self.log {
            None => {
                println!("\n=== {name}");
                work()
            }
            Some(log) => work_apart(log, name, work)?,
        };
        outcome.with_context(|| {
            format!(
                "FAILED: {name} (after {} steps that passed)\n  repeat it alone: {again}\n  because",
                self.passed.len()
            )
        })?;
        let took = started.elapsed();
        match self.log {
            None => println!("--- passed in {:.1} s: {name}", took.as_secs_f64()),
            Some(_) => println!("passed in {:.1} s: {name}", took.as_secs_f64()),
        }
        self.passed.push((name.to_owned(), took));
        Ok(())
    }

    /// The closing lines.
    pub fn finish(self) {
        if self.log.is_none() {
            println!("\n=== All steps");
            for (name, took) in &self.passed {
                println!("{:8.1} s  {name}", took.as_secs_f64());
            }
        }
        println!("{:8.1} s  together", self.started.elapsed().as_secs_f64());
        println!("\n{} passed, 0 failed", self.passed.len());
    }
}

/// Does the work while both output streams of this process go to the end of the file. If it fails, its last lines are shown.
fn work_apart(log: &PathBuf, name: &str, work: impl FnOnce() -> Result<()>) -> Result<Result<()>> {
    let open = || File::options().create(true).append(true).open(log);
    let mut file = open().with_context(|| format!("cannot write {}", log.display()))?;
    let begin = file.metadata()?.len();
    writeln!(file, "\n=== {name}")?;
    let streams = [
        Redirected::to(libc::STDOUT_FILENO, &file)?,
        Redirected::to(libc::STDERR_FILENO, &file)?,
    ];
    let outcome = work();
    drop(streams);
    if outcome.is_err() {
        let all = fs::read(log)?;
        let written = String::from_utf8_lossy(&all[usize::try_from(begin)?.min(all.len())..]);
        let lines: Vec<&str> = written.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        println!("{}\n", last.join("\n"));
    }
    Ok(outcome)
}

/// A stream of this process that goes to a file, until this is dropped.
struct Redirected {
    stream: i32,
    before: OwnedFd,
}

impl Redirected {
    fn to(stream: i32, file: &File) -> Result<Redirected> {
        std::io::stdout().flush()?;
        // SAFETY: plain system calls. The new descriptor is nobody else's.
        unsafe {
            let before = libc::fcntl(stream, libc::F_DUPFD_CLOEXEC, 3);
            ensure!(before >= 0, std::io::Error::last_os_error());
            let before = OwnedFd::from_raw_fd(before);
            ensure!(
                libc::dup2(file.as_raw_fd(), stream) >= 0,
                std::io::Error::last_os_error()
            );
            Ok(Redirected { stream, before })
        }
    }
}

impl Drop for Redirected {
    fn drop(&mut self) {
        let _ = std::io::stdout().flush(); // what is lost then is lost in the log
        // SAFETY: a plain system call; both descriptors are open.
        unsafe { libc::dup2(self.before.as_raw_fd(), self.stream) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_step_the_command_and_the_cause() {
        let mut steps = Steps::new();
        steps
            .run("first", "do first", || Ok(()))
            .expect("it passes");
        let error = steps
            .run("second", "do second", || anyhow::bail!("no luck"))
            .expect_err("it fails");
        let text = format!("{error:#}");
        for part in [
            "FAILED: second (after 1 steps",
            "alone: do second",
            "no luck",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(steps.passed.len(), 1);
    }

    #[test]
    fn what_a_step_writes_is_kept_apart() {
        let log = std::env::temp_dir().join(format!("leash-steps-{}", std::process::id()));
        let say = |words: &str, fails: bool| {
            // Not `println`, whose output the test harness takes for itself.
            let line = format!("{words}\n");
            // SAFETY: the bytes are there.
            unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
            ensure!(!fails, "no luck");
            Ok(())
        };
        let outcome = work_apart(&log, "first", || say("all is well", false));
        outcome.expect("a log").expect("it passes");
        let outcome = work_apart(&log, "second", || say("it is not", true));
        outcome.expect("a log").expect_err("it fails");
        let written = fs::read_to_string(&log).expect("a log");
        // (Between them may be what the test harness says of other tests.)
        for part in ["=== first", "all is well", "=== second", "it is not"] {
            assert!(written.contains(part), "{part}: {written}");
        }
        fs::remove_file(&log).expect("it is there");
    }
}
