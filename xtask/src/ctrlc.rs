//! `leash.ctrlc` in real interpreters, with real signals: the scripts of `tests/ctrlc`, and the prompt.
//!
//! Each case is a conversation: wait for a line of the process, type one, send Ctrl-C, see how it ends. Whoever is slow is waited for;
//! nothing here depends on how long anything takes, except that a process which does not answer at all is killed in the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;
use crate::interpreter::Interpreter;

const PATIENCE: Duration = Duration::from_secs(60);

/// Enough for a process that has said that it is ready to be where it says. If it is not, another place is tested.
const A_MOMENT: Duration = Duration::from_millis(50);

/// Runs all cases.
pub fn check(interpreter: &Interpreter, modules: &Path, libraries: &Path) -> Result<()> {
    let start = |arguments: &[&str]| Talk::start(interpreter, modules, libraries, arguments);
    for what in ["loop", "coroutine"] {
        let mut talk = start(&["tests/ctrlc/loop.lua", what])?;
        talk.hears("ready")?;
        talk.ctrl_c()?;
        let (end, said) = talk.end()?;
        let told = said.contains("interrupted!") && said.contains("loop.lua:");
        ensure!(end == End::Code(1) && told, "{what}: {end:?}: {said}");
        ensure!(said.contains("stack traceback"), "{what}: {said}");
    }
    a_second_one_ends_the_process(start(&["tests/ctrlc/loop.lua", "caught"])?)?;
    children_hear_it(start(&["tests/ctrlc/children.lua"])?)?;
    a_worker_asks_again(start(&["tests/ctrlc/fork.lua"])?)?;
    the_hosts_handler_is_called(start(&["tests/ctrlc/handler.lua"])?)?;
    if interpreter.has_prompt() {
        the_prompt_lives_on(start(&["-i", "-l", "leash.ctrlc"])?)?;
    }
    println!("{}: Ctrl-C: all cases passed", interpreter.name);
    Ok(())
}

fn a_second_one_ends_the_process(mut talk: Talk) -> Result<()> {
    talk.hears("ready")?;
    talk.ctrl_c()?;
    let line = talk.hears("caught")?;
    ensure!(
        line.contains("false") && line.contains("interrupted!"),
        "{line}"
    );
    talk.ctrl_c()?;
    let (end, said) = talk.end()?;
    ensure!(end == End::Signal(libc::SIGINT), "{end:?}: {said}");
    Ok(())
}

fn children_hear_it(mut talk: Talk) -> Result<()> {
    let popen = talk.hears("popen")?;
    ensure!(popen.starts_with("popen\ttrue"), "{popen}");
    let mut execute = String::new();
    for _ in 0..2 {
        execute += &talk.hears("")?;
        if execute.contains("execute") {
            break;
        }
    }
    ensure!(!execute.contains("survived"), "{execute}");
    let arguments = talk.hears("arguments")?;
    ensure!(
        arguments.matches("bad argument #1 to").count() == 2,
        "{arguments}"
    );
    the_mode_is_told(&talk.hears("mode")?)?;
    let works = talk.hears("works")?;
    ensure!(works.starts_with("works\tyes\t"), "{works}");
    let (end, said) = talk.end()?;
    ensure!(end == End::Code(0), "{end:?}: {said}");
    Ok(())
}

/// Where a mode is looked at before a program is started, since 5.3, the error has the function's name and the place of the call.
fn the_mode_is_told(mode: &str) -> Result<()> {
    if mode.contains("invalid mode") {
        let named = mode.matches("popen' (invalid mode)").count() == 2;
        ensure!(named && mode.contains("children.lua:"), "{mode}");
    }
    Ok(())
}

fn a_worker_asks_again(mut talk: Talk) -> Result<()> {
    let worker = talk.hears("worker")?;
    ensure!(worker.contains("false\tinterrupted!"), "{worker}");
    talk.hears("parent")?;
    let (end, said) = talk.end()?;
    ensure!(end == End::Code(0), "{end:?}: {said}");
    Ok(())
}

fn the_hosts_handler_is_called(mut talk: Talk) -> Result<()> {
    for round in 1..=3 {
        talk.hears("ready")?;
        talk.ctrl_c()?;
        let line = talk.hears("round")?;
        let count = line.rsplit('\t').next().and_then(|n| n.parse::<f64>().ok());
        ensure!(
            line.contains("false\tinterrupted!") && count == Some(f64::from(round)),
            "round {round}: {line}"
        );
    }
    let (end, said) = talk.end()?;
    ensure!(end == End::Code(0), "{end:?}: {said}");
    Ok(())
}

fn the_prompt_lives_on(mut talk: Talk) -> Result<()> {
    for round in 0..3 {
        let code = if round == 1 {
            "io.write('rea', 'dy\\n') io.flush() coroutine.wrap(function() while true do end end)()"
        } else {
            "io.write('rea', 'dy\\n') io.flush() while true do end"
        };
        talk.types(code)?;
        talk.hears("ready")?;
        talk.ctrl_c()?;
        talk.types("io.write('ali', 've ', 6 * 7, '\\n') io.flush()")?;
        let line = talk.hears("alive")?;
        ensure!(line.contains("alive 42"), "{line}");
    }
    // At the prompt nothing runs: it does what it does without the module.
    talk.ctrl_c()?;
    let (end, said) = talk.end()?;
    ensure!(end == End::Signal(libc::SIGINT), "{end:?}: {said}");
    let times = said.matches("interrupted!").count();
    ensure!(times == 3, "{times} times: {said}");
    Ok(())
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Code(i32),
    Signal(i32),
}

/// A process that is talked with.
struct Talk {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
}

impl Talk {
    fn start(
        interpreter: &Interpreter,
        modules: &Path,
        libraries: &Path,
        arguments: &[&str],
    ) -> Result<Talk> {
        let mut command: Command = interpreter.command();
        command
            .args(arguments)
            .current_dir(cargo::root())
            .env("LUA_PATH", format!("{}/?.lua;;", modules.display()))
            .env(
                "LUA_CPATH",
                format!("{}/?.so;{}/?.so", modules.display(), libraries.display()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().context("cannot start the interpreter")?;
        let output = process.stdout.take().context("its output is a pipe")?;
        let mut errors = process.stderr.take().context("its errors are a pipe")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Talk {
            input: process.stdin.take(),
            process,
            lines,
            errors: Some(thread::spawn(move || {
                let mut bytes = Vec::new();
                // What was read before it failed is good enough for a message.
                let _ = errors.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })),
        })
    }

    /// Waits for a line that contains `text`, which may follow a prompt; what comes before it is not of interest.
    fn hears(&mut self, text: &str) -> Result<String> {
        loop {
            let line = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(_) => bail!("it does not say {text:?}"),
            };
            if let Some(at) = line.find(text) {
                return Ok(line[at..].to_owned());
            }
        }
    }

    fn types(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input is open")?;
        writeln!(input, "{line}").context("it has ended")
    }

    fn ctrl_c(&mut self) -> Result<()> {
        thread::sleep(A_MOMENT);
        // SAFETY: a plain system call; the process has not been waited for, so the id is its own.
        let sent = unsafe { libc::kill(self.process.id().cast_signed(), libc::SIGINT) };
        ensure!(sent == 0, "the process is gone");
        Ok(())
    }

    /// How it ends, and what it said of errors.
    fn end(mut self) -> Result<(End, String)> {
        // The end of its output; what is left of it does not matter.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        if self.process.try_wait()?.is_none() {
            thread::sleep(A_MOMENT);
        }
        let mut status = self.process.try_wait()?;
        for _ in 0..100 {
            if status.is_none() {
                thread::sleep(PATIENCE / 100);
                status = self.process.try_wait()?;
            }
        }
        let status = status.context("it does not end")?;
        let errors = self.errors.take().and_then(|reader| reader.join().ok());
        let end = match status.code() {
            Some(code) => End::Code(code),
            None => End::Signal(status.signal().unwrap_or_default()),
        };
        Ok((end, errors.unwrap_or_default()))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It has ended already, or is not wanted any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
