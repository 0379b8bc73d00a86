//! An interpreter that scripts of ours run in, with the modules within its reach; and processes that measure on demand.
//!
//! A [`Worker`] runs its work as often as it is told, and answers with the CPU time that it took: each line of its input is a number of
//! repetitions. So the work of several processes can be measured in short turns, one process after the other, and what disturbs
//! the machine for longer than a turn disturbs all of them ([`turns`]).

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::engine::Engine;
use crate::interpreter::Interpreter;
use crate::{modules, process};

/// A turn takes at least this long, in seconds.
const TURN: f64 = 0.008;

/// The exit code of a process that cannot measure, since on LuaJIT compiled code is not guarded: `guarded.lua` tells why.
pub const NOT_GUARDED: i32 = 75;
/// It is started again, but not for ever.
pub const MOST_STARTS: u32 = 50;

/// The standard interpreter of an engine, or a plain one around the Lua of `leash`.
#[derive(Clone, Debug)]
pub struct Host {
    /// The engine.
    pub engine: Engine,
    interpreter: Interpreter,
    modules: PathBuf,
}

/// Where our scripts are.
pub fn scripts() -> PathBuf {
    cargo::root().join("xtask/src/bench/lua")
}

impl Host {
    /// Builds the modules, and finds the interpreter or builds it.
    pub fn of(engine: Engine) -> Result<Host> {
        let modules = modules::build(engine)?;
        let interpreter = match Interpreter::stock(engine) {
            Some(stock) => stock,
            None => Interpreter::plain(&cargo::leash(engine, cargo::Profile::Release)?)?,
        };
        Ok(Host {
            engine,
            interpreter,
            modules,
        })
    }

    /// All of these.
    pub fn all(engines: &[Engine]) -> Result<Vec<Host>> {
        engines.iter().map(|&engine| Host::of(engine)).collect()
    }

    /// The command that runs a script of ours. Its output is to be read.
    pub fn command(&self, script: &str) -> Command {
        let lua = scripts();
        let mut command = self.interpreter.command();
        command
            .arg(lua.join(script))
            .env(
                "LUA_PATH",
                format!("{}/?.lua;{}/?.lua", self.modules.display(), lua.display()),
            )
            .env("LUA_CPATH", format!("{}/?.so", self.modules.display()))
            .stdout(Stdio::piped());
        command
    }
}

/// A process that runs a workload as often as it is told. It ends with its input.
pub struct Worker {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts it, and waits until it is ready.
    ///
    /// On one processor, with the timer thread: left to wander between the two, a process resumes coroutines of LuaJIT in 42 or in 65 ns for
    /// seconds on end (and without Leash in 32 or in 40); bound to either processor it is 42 (and 32) in 28 of 28 processes.
    pub fn start(command: &mut Command) -> Result<Worker> {
        process::on_one_processor(command);
        for _ in 0..MOST_STARTS {
            let mut worker = Worker::spawn(command)?;
            let ready = worker.run(0);
            if ready.is_err() && worker.process.wait()?.code() == Some(NOT_GUARDED) {
                continue;
            }
            return ready.map(|_| worker);
        }
        bail!("compiled code is not guarded: {}", process::show(command))
    }

    fn spawn(command: &mut Command) -> Result<Worker> {
        let shown = process::show(command);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start: {shown}"))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        Ok(Worker {
            process,
            input,
            output: BufReader::new(output.context("its output is a pipe")?),
        })
    }

    /// The CPU time that so many repetitions take, in seconds.
    pub fn run(&mut self, repetitions: u64) -> Result<f64> {
        let mut line = String::new();
        let input = self.input.as_mut().context("its input is a pipe")?;
        writeln!(input, "{repetitions}").context("it has ended")?;
        self.output.read_line(&mut line)?;
        let seconds = line.trim().parse();
        seconds.with_context(|| format!("it answers {line:?}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends by itself; if it does not, nobody waits. That it has ended already is no error.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The seconds that one repetition takes: of each turn, those of each worker. They take turns in a changing order, and each runs as
/// many repetitions as fill its turn.
pub fn turns(workers: &mut [Worker], turns: usize) -> Result<Vec<Vec<f64>>> {
    let mut repetitions = Vec::new();
    for worker in &mut *workers {
        let mut number = 1;
        while worker.run(number)? < TURN {
            number *= 2;
        }
        worker.run(number)?; // warms up, and lets LuaJIT compile
        repetitions.push(number);
    }
    let mut all = Vec::new();
    for turn in 0..turns {
        let mut times = vec![0.0; workers.len()];
        for step in 0..workers.len() {
            let index = (turn + step) % workers.len();
            let number = repetitions[index];
            times[index] = workers[index].run(number)? / number as f64;
        }
        all.push(times);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut sh = process::command("sh");
        sh.args(["-c", script]);
        sh
    }

    #[test]
    fn workers_take_turns() {
        // Each fills a turn with one repetition.
        let commands = [
            "while read n; do echo 0.25; done",
            "while read n; do echo 0.5; done",
        ];
        let mut workers = commands
            .map(sh)
            .map(|mut command| Worker::start(&mut command).expect("sh is there"));
        let all = turns(&mut workers, 3).expect("they answer");
        assert_eq!(all, vec![vec![0.25, 0.5]; 3]);
    }

    #[test]
    fn a_worker_that_says_nothing_is_told() {
        let mut worker =
            Worker::start(&mut sh("read n; echo 0; read n; echo what")).expect("sh is there");
        let error = worker.run(1).expect_err("it is no number");
        assert!(format!("{error:#}").contains("what"), "{error:#}");
    }

    #[test]
    fn a_worker_that_cannot_measure_is_started_again() {
        let file = std::env::temp_dir().join(format!("leash-worker-{}", std::process::id()));
        let script = format!(
            "test -e {0} || {{ touch {0}; exit 75; }}; while read n; do echo 1; done",
            file.display()
        );
        let mut worker = Worker::start(&mut sh(&script)).expect("the second one works");
        assert_eq!(worker.run(1).expect("it answers"), 1.0);
        std::fs::remove_file(file).expect("the first one made it");
        let error = Worker::start(&mut sh("exit 75")).err().expect("none works");
        assert!(format!("{error:#}").contains("not guarded"), "{error:#}");
    }
}
