//! How a run ends: starting one that says when it is ready, sending it signals, waiting for it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use libc::{SIGINT, SIGTERM};

use super::{Outcome, leash};

/// Code that says that it is ready.
pub const READY: &str = "io.write('ready\\n') io.stdout:flush() ";

/// The first line of what went to stderr, which must be followed by a traceback.
pub fn line(outcome: &Outcome) -> &str {
    let (line, traceback) = outcome.stderr.split_once('\n').unwrap_or_default();
    assert!(
        traceback.starts_with("stack traceback:\n\t"),
        "{}",
        outcome.stderr
    );
    line
}

/// Starts `code`, which must print a line when it is ready.
pub fn start(options: &[&str], code: &str) -> (Child, BufReader<ChildStdout>) {
    start_with(options, code, &[])
}

/// The same, with more arguments behind the code. Standard input is a pipe that stays open.
pub fn start_with(
    options: &[&str],
    code: &str,
    behind: &[&str],
) -> (Child, BufReader<ChildStdout>) {
    let mut command = leash(options);
    command
        .args(["-e", code])
        .args(behind)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: sets signals to their defaults and nothing else: whoever runs the tests may have them ignored.
    unsafe {
        command.pre_exec(|| {
            libc::signal(SIGINT, libc::SIG_DFL);
            libc::signal(SIGTERM, libc::SIG_DFL);
            Ok(())
        });
    }
    let mut child = command.spawn().expect("the program starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut ready = String::new();
    stdout.read_line(&mut ready).expect("it can be read");
    assert_eq!(ready, "ready\n");
    // Now it goes on to what it says that it is ready for.
    std::thread::sleep(Duration::from_millis(200));
    (child, stdout)
}

/// Sends it a signal.
pub fn send(child: &Child, signal: i32) {
    let id = libc::pid_t::try_from(child.id()).expect("an id fits");
    // SAFETY: the child has not been waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(id, signal) }, 0);
}

/// Waits for the end, but not for ever; its exit code and stderr.
pub fn end(mut child: Child) -> (Option<i32>, String) {
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if started.elapsed() > Duration::from_secs(20) {
            child.kill().expect("it still runs");
            break child.wait().expect("it has been killed");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .expect("it is a pipe")
        .read_to_string(&mut stderr)
        .expect("it can be read");
    (status.code(), stderr)
}

/// Waits for an end with this exit code, which is told by one word and a traceback.
#[track_caller]
pub fn assert_ends_with(child: Child, code: i32, word: &str) {
    let (got, stderr) = end(child);
    assert_eq!(got, Some(code), "{stderr}");
    assert!(
        stderr.starts_with(&format!("leash: {word}\nstack traceback:\n\t")),
        "{stderr}"
    );
}
