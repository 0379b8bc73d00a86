//! A piece of work: a program, the way in which it is bounded, and what must come of it.
//!
//! | way | what must come of it |
//! |---|---|
//! | `free` | its value: interrupts alone change nothing |
//! | `timeout`, `cpu`, `instructions`, `memory`, `handle` | its value, or the stop that was asked for; a timeout is never early |
//! | `nested` | its value through two more calls with limits, or a stop of the inner one |
//! | `endless` | the stop, and not much later than it is due |
//! | `once` | one interrupt is sent, no other; its handler raises an error, which ends an endless loop |
//!
//! After a stop the state must compute as before.

use crate::expected::{ARGUMENTS, Piece, Work};
use crate::guarded::{Guarded, Handler, INTERRUPTED};
use leash::{Limits, Reason, Stop};
use std::fmt;
use std::time::Duration;

/// A stop that is later than this has been missed. (What is merely late on a busy machine is earlier.)
const LATE: Duration = Duration::from_secs(20);
/// A limit that is in force but not reached.
const FAR: Duration = Duration::from_secs(3600);

/// See the module's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Free,
    Timeout,
    Cpu,
    Instructions,
    Memory,
    Handle,
    Nested,
    Endless,
    Once,
}

const WAYS: [Way; 12] = [
    Way::Free,
    Way::Free,
    Way::Free,
    Way::Timeout,
    Way::Cpu,
    Way::Instructions,
    Way::Memory,
    Way::Handle,
    Way::Nested,
    Way::Endless,
    Way::Endless,
    Way::Once,
];

/// Endless loops of which one error is the end.
const PLAIN_LOOPS: [&str; 4] = [
    "while true do end",
    "local n = 0 while true do n = n + 1 if n > 100 then n = 0 end end",
    "local function f(k) if k == 0 then return 0 end return 1 + f(k - 1) end while true do f(50) end",
    "local t = {} for i = 1, 50 do t[i] = i end while true do for i, v in ipairs(t) do t[i] = v end end",
];

/// What is about to be done.
pub struct Task {
    scenario: &'static str,
    way: Way,
    code: String,
    n: usize,
    limits: Limits,
    /// None: it does not end by itself.
    value: Option<String>,
    /// The reasons for which it may be stopped.
    reasons: &'static [Reason],
    not_before: Duration,
    handler: Handler,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scenario, way, limits, n) = (self.scenario, self.way, &self.limits, self.n);
        write!(
            f,
            "{scenario}, {way:?}, {limits}, with {n}: {}",
            self.code.replace('\n', " ")
        )
    }
}

impl Task {
    /// Chooses one; if it `ends`, it does so by itself.
    pub fn choose(work: &Work, ends: bool, rng: &mut fastrand::Rng) -> Task {
        let mut way = rng.choice(WAYS).unwrap_or(Way::Free);
        if way == Way::Endless && work.endless.is_empty()
            || ends && matches!(way, Way::Endless | Way::Once)
            || way == Way::Instructions && !work.scenario.countable
        {
            way = Way::Free;
        }
        let pieces = if way == Way::Endless {
            &work.endless
        } else {
            &work.values
        };
        let piece = rng.choice(pieces).expect("each scenario has programs");
        if way == Way::Memory && piece.program.catches() {
            way = Way::Timeout;
        }
        let n = rng.usize(1..=ARGUMENTS);
        let handler = if rng.u8(..4) == 0 {
            Handler::CallLua
        } else {
            Handler::GoOn
        };
        let mut task = Task {
            scenario: work.scenario.name,
            way,
            code: piece.program.code.to_owned(),
            n,
            limits: Limits::new(),
            value: value(piece, n),
            reasons: &[],
            not_before: Duration::ZERO,
            handler,
        };
        task.bound(work.scenario.countable, rng);
        // LuaJIT follows a wild pointer when its collector, called by compiled code, is refused memory (it makes the table of strings smaller, by a
        // new one; `lj_trace_unwind` then takes the collector's state for the number of a trace). That is its own, with or without Leash.
        let collector = match task.way {
            Way::Memory if cfg!(feature = "luajit") => "stop",
            _ => "restart",
        };
        let prefix = format!("collectgarbage('{collector}') if jit then jit.on() end ");
        task.code.insert_str(0, &prefix);
        task
    }

    fn bound(&mut self, countable: bool, rng: &mut fastrand::Rng) {
        match self.way {
            Way::Free if rng.bool() => self.limits = Limits::new().timeout(FAR),
            Way::Free => {}
            Way::Timeout => self.timeout(short(rng)),
            Way::Cpu => self.cpu(short(rng)),
            Way::Instructions => self.instructions(rng.u64(..300_000)),
            Way::Memory => {
                let most = 1 << rng.u32(8..20);
                let bytes = rng.usize(..most);
                self.limits = Limits::new().memory(bytes);
                self.reasons = &[Reason::Memory];
            }
            Way::Handle => self.handle(),
            Way::Nested => self.nest(rng),
            Way::Endless => match rng.u8(..8) {
                0 => self.cpu(short(rng)),
                1 if countable => self.instructions(rng.u64(..100_000)),
                2 => self.handle(),
                _ => self.timeout(short(rng)),
            },
            Way::Once => {
                self.code = PLAIN_LOOPS[rng.usize(..PLAIN_LOOPS.len())].into();
                self.value = None;
                self.limits = Limits::new().timeout(LATE);
                self.handler = Handler::Raise;
            }
        }
    }

    fn timeout(&mut self, limit: Duration) {
        self.limits = Limits::new().timeout(limit);
        self.not_before = limit;
        self.reasons = &[Reason::Timeout];
    }

    fn cpu(&mut self, limit: Duration) {
        self.limits = Limits::new().cpu(limit);
        self.not_before = limit;
        self.reasons = &[Reason::Cpu];
    }

    fn instructions(&mut self, limit: u64) {
        self.limits = Limits::new().instructions(limit);
        self.reasons = &[Reason::Instructions];
    }

    /// A guest's state has no handle: there a timeout stands in for it.
    fn handle(&mut self) {
        self.limits = Limits::new().timeout(LATE);
        self.reasons = &[Reason::Interrupt, Reason::Kill];
    }

    fn nest(&mut self, rng: &mut fastrand::Rng) {
        let outer = rng.bool();
        let ms = if rng.bool() {
            FAR.as_secs_f64() * 1000.0
        } else {
            short(rng).as_secs_f64() * 1000.0
        };
        self.code = format!(
            "local n = ... local done, r = nested({ms}, function() return (function(...) {}\nend)(n) end) if done then return r end return 'stopped'",
            self.code
        );
        if outer {
            self.timeout(short(rng));
        } else {
            self.limits = Limits::new().timeout(FAR);
        }
    }

    /// It has to be ended from outside.
    pub fn is_endless(&self) -> bool {
        self.way == Way::Endless
    }

    /// Does it. Wrong is what is told.
    pub fn run(mut self, state: &Guarded) -> Result<Option<Box<Stop>>, String> {
        let handles = self.reasons.contains(&Reason::Interrupt);
        if handles && !state.is_hosts() {
            self.timeout(Duration::from_millis(2));
        }
        state.stoppable(handles);
        if self.way == Way::Once {
            self.flush(state)?;
            state.targets().once();
        }
        let outcome = state.run(&self.code, self.n, &self.limits, self.handler);
        if self.way == Way::Once {
            state.targets().quiet(false);
        }
        state.stoppable(false);
        let stop = self
            .judge(outcome)
            .map_err(|why| format!("{why}\n  {self}"))?;
        Ok(stop)
    }

    /// Has interrupts that are on their way arrive first.
    fn flush(&self, state: &Guarded) -> Result<(), String> {
        state.targets().quiet(true);
        let code = "local s = 0 for i = 1, 1000 do s = s + i end return s";
        let limits = Limits::new().timeout(FAR);
        match state.run(code, 0, &limits, Handler::GoOn) {
            Ok(Ok(value)) if value == "500500" => Ok(()),
            other => Err(format!("{other:?} instead of 500500: {self}")),
        }
    }

    fn judge(
        &self,
        outcome: Result<Result<String, String>, Box<Stop>>,
    ) -> Result<Option<Box<Stop>>, String> {
        match outcome {
            Ok(Ok(value)) if self.way == Way::Nested && value == "stopped" => Ok(None),
            Ok(Ok(value)) => match &self.value {
                Some(expected) if *expected == value => Ok(None),
                Some(expected) => Err(format!("{value} instead of {expected}")),
                None => Err(format!("an endless program has returned {value}")),
            },
            Ok(Err(error)) if self.way == Way::Once && error == INTERRUPTED => Ok(None),
            Ok(Err(error)) => Err(format!("error: {error}")),
            Err(stop) if !self.reasons.contains(&stop.reason) => {
                Err(format!("was stopped: {stop}\n{}", stop.traceback))
            }
            Err(stop) if stop.enclosing => Err(format!("{stop}, by a call that is not there")),
            Err(stop) if stop.elapsed < self.not_before => Err(format!("{stop}: too early")),
            Err(stop) if stop.elapsed > self.not_before + LATE && self.way == Way::Endless => {
                Err(format!("{stop}: too late"))
            }
            Err(stop) => Ok(Some(stop)),
        }
    }
}

fn value(piece: &Piece, n: usize) -> Option<String> {
    piece.values.get(n - 1).cloned()
}

/// A limit that is soon reached, or at once.
fn short(rng: &mut fastrand::Rng) -> Duration {
    match rng.u8(..8) {
        0 => Duration::ZERO,
        1..=4 => Duration::from_micros(rng.u64(1..1500)),
        _ => Duration::from_micros(rng.u64(500..15_000)),
    }
}

/// After a stop the state computes, makes coroutines and catches errors as before.
pub fn check_health(state: &Guarded) -> Result<(), String> {
    let code = "local s = 0 for i = 1, 1000 do s = s + i end
        local co = coroutine.wrap(function(a) while true do a = coroutine.yield(a * 2) end end)
        local ok, e = pcall(error, 'x') collectgarbage('step')
        return s + co(1) + co(20) + (ok and 1 or #e)";
    match state.run(code, 0, &Limits::new(), Handler::GoOn) {
        Ok(Ok(value)) if value == "500543" => Ok(()),
        other => Err(format!("{other:?} instead of 500543, after a stop")),
    }
}
