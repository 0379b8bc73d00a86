//! Running a program to its end: what it wrote, how it ended, how long it took and how much it computed.
//!
//! What could go wrong, and what stops it:
//! - A program that never ends: after the given patience it is killed, and the outcome says so.
//! - A pipe that fills up: each one is read by a thread of its own while the program runs.
//! - The kill hits another process that got the same id: the end is waited for with `WNOWAIT`, so the id stays taken
//!   until the thread that might kill has ended.
//! - CPU time of other children counted as this one's: `wait4` reports this child alone.

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; minus the signal that ended it.
    pub code: i32,
    /// What it wrote to standard output, unless that went elsewhere.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, unless that went elsewhere.
    pub stderr: Vec<u8>,
    /// From before the start to the end.
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
}

/// A program with a clean environment (none of the machine's own Lua settings) and nothing to read.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LUA_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Has this process, and what it starts, die of Ctrl-C, as at a terminal. A shell that runs a script starts commands with `&` ignoring it, and so does whatever these start: the tests that send
/// the signal would wait for its effect in vain.
pub fn heed_ctrl_c() {
    // SAFETY: a plain system call.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
}

/// Bounds the memory of a program, for the sake of the machine.
pub fn limit_memory(command: &mut Command, bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: between fork and exec only what is safe in a signal handler is allowed; `setrlimit` is a bare system call.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_AS, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// Keeps a program, with all its threads, on one processor: the last of those that this process may use.
pub fn on_one_processor(command: &mut Command) {
    // SAFETY: as above; the set is a plain value, all zeros is an empty one.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size, &mut set) != 0 {
            return;
        }
        let most = libc::CPU_SETSIZE as usize;
        let Some(last) = (0..most).rev().find(|&cpu| libc::CPU_ISSET(cpu, &set)) else {
            return;
        };
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(last, &mut one);
        command.pre_exec(move || match libc::sched_setaffinity(0, size, &one) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// Runs it to its end, or for as long as `patience` lasts. A pipe on its standard input stays open and silent.
pub fn run(command: &mut Command, patience: Duration) -> Result<Outcome> {
    let shown = show(command);
    let started = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start: {shown}"))?;
    let _open = child.stdin.take();
    let stdout = Reader::start(child.stdout.take());
    let stderr = Reader::start(child.stderr.take());
    let in_time = wait_for_end(&child, patience)?;
    let wall = started.elapsed();
    let (code, cpu) = reap(&child)?;
    // Not waiting for the pipes: what it has started may still hold them.
    ensure!(
        in_time,
        "it did not end within {} s, and was killed: {shown}\n{}{}",
        patience.as_secs_f64(),
        stdout.so_far(),
        stderr.so_far()
    );
    Ok(Outcome {
        code,
        stdout: stdout.all()?,
        stderr: stderr.all()?,
        wall,
        cpu,
    })
}

/// The command as it would be typed, with the folder it runs in.
pub fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match command.get_current_dir() {
        Some(folder) => format!("cd {} && {}", folder.display(), words.join(" ")),
        None => words.join(" "),
    }
}

/// Reads a pipe on a thread of its own.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: thread::JoinHandle<Result<()>>,
}

impl Reader {
    fn start<R: Read + Send + 'static>(pipe: Option<R>) -> Reader {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let Some(mut pipe) = pipe else {
                return Ok(());
            };
            let mut block = [0; 1 << 16];
            loop {
                let n = match pipe.read(&mut block) {
                    Ok(0) => return Ok(()),
                    Ok(n) => n,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e).context("cannot read what the program writes"),
                };
                into.lock().expect("no panic").extend(&block[..n]);
            }
        });
        Reader { bytes, thread }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no panic")).into_owned()
    }

    fn all(self) -> Result<Vec<u8>> {
        self.thread.join().expect("the reader does not panic")?;
        Ok(std::mem::take(&mut self.bytes.lock().expect("no panic")))
    }
}

/// Waits for the end and leaves the dead process in place. Whether it ended by itself.
fn wait_for_end(child: &Child, patience: Duration) -> Result<bool> {
    let id = child.id();
    let (ended, end) = mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        let late = end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
        if late {
            // SAFETY: a plain system call. The process is ours and not yet reaped, so the id is its own.
            unsafe { libc::kill(id.cast_signed(), libc::SIGKILL) };
        }
        !late
    });
    let waited = wait_without_reaping(child);
    drop(ended);
    let in_time = guard.join().expect("the guard does not panic");
    waited.context("cannot wait for the program")?;
    Ok(in_time)
}

/// Waits for the end of a process, which is still there then, so that its id stays taken.
pub fn wait_without_reaping(child: &Child) -> std::io::Result<()> {
    let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
    let flags = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: `info` has room for what the call writes.
    retry(|| unsafe { libc::waitid(libc::P_PID, child.id(), info.as_mut_ptr(), flags) }).map(drop)
}

/// Takes the dead process away: its exit code and its CPU time.
fn reap(child: &Child) -> Result<(i32, Duration)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both places have room for what the call writes.
    retry(|| unsafe { libc::wait4(child.id().cast_signed(), &mut status, 0, usage.as_mut_ptr()) })
        .context("cannot wait for the program")?;
    // SAFETY: all zeros is a valid value too, and the call has succeeded.
    let usage = unsafe { usage.assume_init() };
    let code = if libc::WIFSIGNALED(status) {
        -libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    Ok((code, time(usage.ru_utime) + time(usage.ru_stime)))
}

fn time(value: libc::timeval) -> Duration {
    let micros = value.tv_sec * 1_000_000 + value.tv_usec;
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A system call, again when a signal interrupted it.
fn retry(mut call: impl FnMut() -> i32) -> std::io::Result<i32> {
    loop {
        let result = call();
        let error = std::io::Error::last_os_error();
        match result {
            -1 if error.kind() == std::io::ErrorKind::Interrupted => {}
            -1 => return Err(error),
            _ => return Ok(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut sh = command("sh");
        sh.args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        sh
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_code_and_signal() {
        let outcome = run(&mut sh("echo out; echo err >&2; exit 3"), LONG).expect("it runs");
        assert_eq!(
            (outcome.stdout, outcome.stderr),
            (b"out\n".to_vec(), b"err\n".to_vec())
        );
        assert_eq!(outcome.code, 3);
        assert_eq!(run(&mut sh("kill -9 $$"), LONG).expect("it runs").code, -9);
    }

    #[test]
    fn more_output_than_a_pipe_holds() {
        let mut command = sh("head -c 1000000 /dev/zero");
        assert_eq!(
            run(&mut command, LONG).expect("it runs").stdout.len(),
            1_000_000
        );
    }

    #[test]
    fn patience_ends_and_what_was_said_is_told() {
        let mut command = sh("echo here it hangs; exec sleep 60");
        let error = run(&mut command, Duration::from_millis(300)).expect_err("it is killed");
        let error = error.to_string();
        assert!(error.contains("did not end within 0.3 s"), "{error}");
        assert!(error.contains("here it hangs"), "{error}");
    }

    #[test]
    fn waiting_is_not_computing() {
        let outcome = run(&mut sh("sleep 0.2"), LONG).expect("it runs");
        assert!(outcome.wall >= Duration::from_millis(200));
        assert!(
            outcome.cpu < Duration::from_millis(150),
            "{:?}",
            outcome.cpu
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut command("no-such-program"), LONG).expect_err("it is not there");
        assert!(format!("{error:#}").contains("no-such-program"));
    }
}
