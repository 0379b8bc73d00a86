//! What later steps need is built while earlier ones test.
//!
//! Much of a test is waiting for limits, and the last part of a build with `lto` is one thread: on two processors a sixth of the time of all tests nobody computes. So the
//! modules, each of which has a target folder of its own, are built beside the tests, one after the other and with the lowest priority.
//!
//! Nothing depends on it: the step itself has cargo build again. That finds all done, or waits until it is, or does it; and it is that which tells a failure.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::process;

/// Commands that run beside this process, until they are done or this is dropped.
pub struct Ahead {
    now: Arc<Mutex<Now>>,
    thread: Option<JoinHandle<()>>,
}

/// What runs.
#[derive(Default)]
struct Now {
    /// A process that has not been reaped, so its id is its own.
    process: Option<u32>,
    is_over: bool,
}

impl Ahead {
    /// Runs these, one after the other, whatever becomes of them. What they write goes nowhere.
    pub fn run(commands: Vec<Command>) -> Ahead {
        let now = Arc::new(Mutex::new(Now::default()));
        let shared = Arc::clone(&now);
        let thread = thread::spawn(move || {
            for command in commands {
                if !run(command, &shared) {
                    return;
                }
            }
        });
        Ahead {
            now,
            thread: Some(thread),
        }
    }
}

/// False: nothing more is to be begun.
fn run(mut command: Command, shared: &Mutex<Now>) -> bool {
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec only what is safe in a signal handler is allowed; these are bare system calls. The thread that starts it lives as long as the
    // command.
    unsafe {
        command.pre_exec(|| {
            libc::setpriority(libc::PRIO_PROCESS, 0, 19);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let mut child = {
        let mut now = lock();
        if now.is_over {
            return false;
        }
        let Ok(child) = command.spawn() else {
            return true;
        };
        now.process = Some(child.id());
        child
    };
    // Reaped only once nobody can take its id for its own.
    let _ = process::wait_without_reaping(&child);
    let mut now = lock();
    now.process = None;
    let _ = child.wait();
    !now.is_over
}

impl Drop for Ahead {
    fn drop(&mut self) {
        {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            now.is_over = true;
            if let Some(id) = now.process {
                // SAFETY: a plain system call; see `Now`.
                unsafe { libc::kill(id.cast_signed(), libc::SIGTERM) };
            }
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn shell(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    #[test]
    fn one_after_the_other_whatever_becomes_of_them() {
        let folder = std::env::temp_dir().join(format!("leash-ahead-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for this test");
        let file = folder.join("order");
        let append = |what: &str| shell(&format!("echo {what} >> {}", file.display()));
        let commands = vec![
            append("one"),
            shell("exit 3"),
            Command::new("/no such program"),
            append("two"),
        ];
        let ahead = Ahead::run(commands);
        let begun = Instant::now();
        while std::fs::read_to_string(&file).unwrap_or_default() != "one\ntwo\n" {
            assert!(begun.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(5));
        }
        drop(ahead);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn what_is_dropped_ends() {
        let begun = Instant::now();
        let ahead = Ahead::run(vec![shell("exec sleep 600"), shell("exec sleep 600")]);
        while ahead.now.lock().expect("no panic").process.is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        drop(ahead);
        assert!(begun.elapsed() < Duration::from_secs(300));
    }
}
