//! One run: make a state, hand it to the engine, run the interpreter under the limits, close the state under what is left
//! of them.
//!
//! | what happened | standard error | exit code |
//! |---|---|---|
//! | the script ended | | its own |
//! | a Lua error | message and traceback, as `lua` prints them | 1 |
//! | a limit stopped it, while it ran or in a finalizer at the end | the limit and a traceback | 124 |
//! | a signal stopped it | `interrupted` or `terminated` and a traceback | 130, 143 |
//!
//! A stop counts also where the script leaves by `os.exit` ([`leaving`]).

use std::ffi::c_int;
use std::ptr;
use std::time::{Duration, Instant};

use mlua_sys as ffi;
use mlua_sys::lua_State;

use crate::args::{Program, RunOptions};
use crate::arguments::Arguments;
use crate::interpreter::Job;
use crate::plan::{Plan, View};
use crate::{exit, interpreter, leaving, newstate, signals, stdio, stop, stuck};
use leash::{Limits, Reason, Stop, Vm};

/// Runs what `options` ask for and returns the exit code.
pub fn run(arguments: &Arguments, options: RunOptions) -> c_int {
    let script = script_name(arguments, options.program);
    let plan = Plan::new(*arguments, &options);
    stuck::prepare(script.clone(), options.clone());
    let placeholders = stdio::Placeholders::take();
    let l = newstate::new();
    if l.is_null() {
        stdio::message("cannot create state: not enough memory");
        return exit::LUA_ERROR;
    }
    // SAFETY: the state is new, and nobody else knows it.
    let vm = match unsafe { Vm::attach(l) } {
        Ok(vm) => vm,
        Err(error) => {
            stdio::message(&format!("cannot guard the Lua state: {error}"));
            return exit::LUA_ERROR;
        }
    };
    vm.on_stuck(options.grace, stuck::end);
    if let Err(error) = signals::take(vm.handle()) {
        stdio::message(&format!("cannot take signals: {error}"));
        return exit::LUA_ERROR;
    }

    drop(placeholders);

    let mut budget = Budget::new(&options);
    let left = || {
        if let Some(mut stop) = vm.stopping() {
            budget.complete(&mut stop, &options);
            report(&script, &stop, options.grace);
            end(stop::code(stop.reason), options.grace);
        }
    };
    let mut ended = leaving::with(&left, || {
        // SAFETY: `l` is the state of `vm`, on this thread; the plan outlives the call.
        unsafe { call(l, &vm, plan.view(), &budget.limits()) }
    });
    budget.spend(ended.reason());
    if let Ended::ByStop(stop) = &mut ended {
        budget.complete(stop, &options);
        report(&script, stop, options.grace);
        stuck::stopped(stop.reason);
    }
    let left = || {
        if let Ended::ByStop(stop) = &ended {
            end(stop::code(stop.reason), options.grace);
        }
    };
    let closing = leaving::with(&left, || {
        // SAFETY: the state is not used any more, here or by the script: its call has ended.
        unsafe { vm.close(&budget.limits()) }
    });
    match (ended, closing) {
        (Ended::ByItself(code), None) => code,
        (Ended::ByItself(_), Some(mut stop)) => {
            budget.complete(&mut stop, &options);
            report(&script, &stop, options.grace);
            leave(stop::code(stop.reason), options.grace)
        }
        // One stop has been reported, and what it left behind in finalizers is the same story.
        (Ended::ByStop(stop), _) => leave(stop::code(stop.reason), options.grace),
    }
}

/// How the script ended.
enum Ended {
    ByItself(c_int),
    ByStop(Box<Stop>),
}

impl Ended {
    fn reason(&self) -> Option<Reason> {
        match self {
            Ended::ByItself(_) => None,
            Ended::ByStop(stop) => Some(stop.reason),
        }
    }
}

/// Runs the interpreter in one guarded call.
///
/// # Safety
/// `l` is the state of `vm`, on this thread, and the plan behind `view` is alive.
unsafe fn call(l: *mut lua_State, vm: &Vm, view: &View, limits: &Limits) -> Ended {
    let mut met = None;
    let job = Job {
        vm,
        view: *view,
        stop: &mut met,
    };
    // SAFETY: a new state has room for two values, and pushing these allocates next to nothing; `pmain` gets what it expects.
    let status = unsafe {
        ffi::lua_pushcfunction(l, interpreter::pmain);
        ffi::lua_pushlightuserdata(l, ptr::from_ref(&job).cast_mut().cast());
        vm.call(l, 1, 1, 0, limits)
    };
    match (status, met) {
        (Err(stop), _) | (Ok(_), Some(stop)) => Ended::ByStop(stop),
        // SAFETY: the one result of `pmain`.
        (Ok(ffi::LUA_OK), None) => match unsafe { ffi::lua_toboolean(l, -1) } {
            0 => Ended::ByItself(exit::LUA_ERROR),
            _ => Ended::ByItself(exit::SUCCESS),
        },
        (Ok(_), None) => {
            // SAFETY: with an error status comes an error object.
            unsafe { interpreter::final_report(l) };
            Ended::ByItself(exit::LUA_ERROR)
        }
    }
}

/// Prints why the script was stopped, after what it has written.
fn report(script: &str, stop: &Stop, grace: Duration) {
    stdio::flush_within(grace);
    stdio::message(&stop::message(script, stop));
}

/// The exit code after a stop, for `main` to return, if the script's output can be written in time.
fn leave(code: c_int, grace: Duration) -> c_int {
    if stdio::flush_within(grace) {
        code
    } else {
        stdio::end_process(code)
    }
}

/// Ends the process after a stop, where `main` cannot return any more.
fn end(code: c_int, grace: Duration) {
    stdio::flush_within(grace);
    stdio::end_process(code);
}

/// What to call the script in messages.
fn script_name(arguments: &Arguments, program: Program) -> String {
    match program {
        Program::Nothing => "(command line)".to_owned(),
        Program::PipedInput | Program::Stdin(_) => "stdin".to_owned(),
        Program::File(index) => arguments.to_os_strings()[index as usize]
            .to_string_lossy()
            .into_owned(),
    }
}

/// The limits, and what is left of them.
///
/// Time and CPU time are measured here. How many instructions ran only the engine knows, and it does not tell: the state
/// is closed under the whole count again, unless it has been used up.
#[derive(Debug)]
struct Budget {
    timeout: Option<Duration>,
    cpu: Option<Duration>,
    memory: Option<usize>,
    instructions: Option<u64>,
    grace: Duration,
    started: Instant,
    cpu_started: Duration,
}

impl Budget {
    fn new(options: &RunOptions) -> Budget {
        Budget {
            timeout: options.timeout,
            cpu: options.cpu,
            memory: options.memory,
            instructions: options.instructions,
            grace: options.grace,
            started: Instant::now(),
            cpu_started: thread_cpu_time(),
        }
    }

    /// Takes off what has been used since `new`; the limit that stopped the script has nothing left.
    ///
    /// After a stop by something else than its own limit, time is limited to the grace period: somebody waits for the end.
    fn spend(&mut self, stopped_by: Option<Reason>) {
        let elapsed = self.started.elapsed();
        let cpu = thread_cpu_time().saturating_sub(self.cpu_started);
        self.timeout = self.timeout.map(|t| t.saturating_sub(elapsed));
        self.cpu = self.cpu.map(|t| t.saturating_sub(cpu));
        if stopped_by.is_some() || signals::pending() {
            self.timeout = Some(self.timeout.map_or(self.grace, |t| t.min(self.grace)));
        }
        if stopped_by == Some(Reason::Instructions) {
            self.instructions = Some(0);
        }
    }

    /// Makes the report of a stop one about the whole run: the user knows of one run, and of the limits that were set for
    /// it, not of the calls into the engine that it takes.
    fn complete(&self, stop: &mut Stop, options: &RunOptions) {
        stop.elapsed = self.started.elapsed();
        if options.cpu.is_some() {
            stop.cpu = thread_cpu_time().saturating_sub(self.cpu_started);
        }
        if stop.reason == Reason::Timeout && options.timeout.is_none() {
            stop.reason = Reason::Interrupt; // `spend` has given finalizers the grace period
        }
        stop.limit = stop::amount(options, stop.reason);
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::new();
        if let Some(timeout) = self.timeout {
            limits = limits.timeout(timeout);
        }
        if let Some(cpu) = self.cpu {
            limits = limits.cpu(cpu);
        }
        if let Some(memory) = self.memory {
            limits = limits.memory(memory);
        }
        if let Some(instructions) = self.instructions {
            limits = limits.instructions(instructions);
        }
        limits
    }
}

/// The CPU time of this thread.
fn thread_cpu_time() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to `now`.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    assert_eq!(
        status, 0,
        "every system that Leash runs on has a CPU clock for threads"
    );
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> RunOptions {
        RunOptions {
            timeout: Some(Duration::from_secs(3600)),
            cpu: Some(Duration::from_secs(3600)),
            memory: Some(1 << 20),
            instructions: Some(1000),
            grace: Duration::from_secs(1),
            ..RunOptions::default()
        }
    }

    #[test]
    fn what_is_left_is_less() {
        let mut budget = Budget::new(&options());
        std::thread::sleep(Duration::from_millis(2));
        budget.spend(None);
        assert!(budget.timeout.unwrap() <= Duration::from_millis(3_600_000 - 2));
        assert!(budget.timeout.unwrap() > Duration::from_secs(3500));
        assert!(budget.cpu.unwrap() <= Duration::from_secs(3600));
        assert_eq!(
            (budget.memory, budget.instructions),
            (Some(1 << 20), Some(1000))
        );
    }

    #[test]
    fn nothing_stays_nothing() {
        let mut budget = Budget::new(&RunOptions::default());
        budget.spend(None);
        assert_eq!(
            (
                budget.timeout,
                budget.cpu,
                budget.memory,
                budget.instructions
            ),
            (None, None, None, None)
        );
    }

    #[test]
    fn a_used_up_limit_is_zero() {
        let mut budget = Budget::new(&RunOptions {
            timeout: Some(Duration::ZERO),
            ..options()
        });
        budget.spend(Some(Reason::Timeout));
        assert_eq!(budget.timeout, Some(Duration::ZERO));
        let mut budget = Budget::new(&options());
        budget.spend(Some(Reason::Instructions));
        assert_eq!(budget.instructions, Some(0));
    }

    #[test]
    fn after_a_stop_the_end_is_near() {
        let mut budget = Budget::new(&RunOptions {
            timeout: None,
            ..options()
        });
        budget.spend(Some(Reason::Memory));
        assert_eq!(budget.timeout, Some(Duration::from_secs(1)));
    }
}
