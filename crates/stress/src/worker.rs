//! The working threads, in rounds: each round has other threads, and some have only one with one state (LuaJIT lends its profiler to a script
//! only then). Guests' states go from thread to thread, and from round to round.

use crate::expected::Work;
use crate::guarded::{Guarded, Moving};
use crate::patience::Patience;
use crate::piece::{Task, check_health};
use crate::tally;
use leash::Limits;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Most states that wait for a thread.
const WAITING: usize = 6;
/// Most states of one thread.
const STATES: usize = 3;

/// What all threads share.
pub struct Run {
    /// What there is to do.
    pub works: Vec<Work>,
    /// Watches over the threads.
    pub patience: Patience,
    /// Most threads at a time.
    pub threads: usize,
    /// Only what ends by itself.
    pub ends: bool,
    waiting: Mutex<Vec<Moving>>,
}

impl Run {
    /// Nothing has been done yet.
    pub fn new(works: Vec<Work>, patience: Patience, threads: usize, ends: bool) -> Run {
        Run {
            ends,
            works,
            patience,
            threads,
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Works for so long.
    pub fn rounds(&self, time: Duration, rng: &mut fastrand::Rng) {
        let end = Instant::now() + time;
        let round = (time / 8).clamp(Duration::from_millis(500), Duration::from_secs(10));
        while Instant::now() < end && !tally::is_over() {
            let alone = rng.u8(..4) == 0;
            let threads = if alone {
                1
            } else {
                rng.usize(1..=self.threads)
            };
            if alone {
                self.close_waiting(rng);
            }
            let until = end.min(Instant::now() + round);
            thread::scope(|scope| {
                for number in 0..threads {
                    let mut rng = rng.fork();
                    scope.spawn(move || {
                        receive_profiling_signals();
                        let most = if alone { 1 } else { STATES };
                        let mut worker = Worker {
                            run: self,
                            number,
                            most,
                            states: Vec::new(),
                        };
                        while Instant::now() < until && !tally::is_over() {
                            worker.step(&mut rng);
                        }
                        worker.leave(&mut rng);
                    });
                }
            });
        }
        self.close_waiting(rng);
    }

    fn close_waiting(&self, rng: &mut fastrand::Rng) {
        for state in self.waiting.lock().expect("no panic").drain(..) {
            state.arrive().close(None, rng);
        }
    }

    fn take(&self) -> Option<Guarded> {
        let state = self.waiting.lock().expect("no panic").pop()?;
        Some(state.arrive())
    }

    /// Gives a state to whoever takes it; returned if it has to stay.
    fn give(&self, state: Guarded) -> Option<Guarded> {
        let mut waiting = self.waiting.lock().expect("no panic");
        if waiting.len() >= WAITING {
            return Some(state);
        }
        match Moving::new(state) {
            Ok(moving) => waiting.push(moving),
            Err(state) => return Some(state),
        }
        None
    }
}

struct Worker<'a> {
    run: &'a Run,
    number: usize,
    most: usize,
    states: Vec<Guarded>,
}

impl Worker<'_> {
    fn step(&mut self, rng: &mut fastrand::Rng) {
        if self.states.is_empty() || self.states.len() < self.most && rng.u8(..8) == 0 {
            self.one_more(rng);
        }
        let at = rng.usize(..self.states.len());
        match rng.u8(..64) {
            0..=1 => {
                let state = self.states.swap_remove(at);
                self.close(state, None, rng);
            }
            2..=3 if self.most > 1 => {
                let state = self.states.swap_remove(at);
                self.states.extend(self.run.give(state));
            }
            _ => self.piece(at, rng),
        }
    }

    fn one_more(&mut self, rng: &mut fastrand::Rng) {
        let waiting = if rng.bool() { self.run.take() } else { None };
        let state = waiting.unwrap_or_else(|| self.open(rng.bool(), rng));
        self.states.push(state);
    }

    fn open(&self, hosts: bool, rng: &mut fastrand::Rng) -> Guarded {
        self.doing(Some("opening a state".into()));
        let setup = match rng.u8(..4) {
            0 if cfg!(any(feature = "lua54", feature = "lua55")) => {
                "collectgarbage('generational')"
            }
            0..=1 => "if jit then jit.opt.start('hotloop=5', 'hotexit=3') end",
            2 => "if jit then jit.opt.start('hotloop=2', 'hotexit=2', 'maxmcode=128') end",
            _ => "",
        };
        let state = Guarded::open(hosts, setup);
        self.doing(None);
        state
    }

    fn piece(&self, at: usize, rng: &mut fastrand::Rng) {
        let number = rng.usize(..self.run.works.len());
        let work = &self.run.works[number];
        let task = Task::choose(work, self.run.ends, rng);
        let poisoned = work.scenario.poisons && task.is_endless();
        let own = poisoned.then(|| self.open(true, rng));
        let state = own.as_ref().unwrap_or(&self.states[at]);
        self.doing(Some(format!("{:?}, {task}", state.jit())));
        tally::work_on(Some(number));
        state.targets().work_on(Some(number));
        let outcome = task.run(state);
        let count = tally::of(number);
        count.pieces.fetch_add(1, Ordering::Relaxed);
        let outcome = match outcome {
            Ok(Some(_)) => {
                count.stops.fetch_add(1, Ordering::Relaxed);
                if poisoned || rng.u8(..3) != 0 {
                    Ok(())
                } else {
                    check_health(state)
                }
            }
            Ok(None) => Ok(()),
            Err(why) => Err(why),
        };
        state.targets().work_on(None);
        tally::work_on(None);
        self.doing(None);
        if let Err(why) = outcome {
            tally::fail(format!("{}: {why}", leash::ENGINE));
        }
        if let Some(state) = own {
            let limits = Limits::new().timeout(Duration::from_micros(rng.u64(..20_000)));
            self.close(state, Some(&limits), rng);
        }
    }

    fn close(&self, state: Guarded, limits: Option<&Limits>, rng: &mut fastrand::Rng) {
        self.doing(Some("closing a state".into()));
        state.close(limits, rng);
        self.doing(None);
    }

    /// The thread ends: its states are closed, or wait for another.
    fn leave(&mut self, rng: &mut fastrand::Rng) {
        while let Some(state) = self.states.pop() {
            if self.most > 1 && rng.bool() {
                if let Some(state) = self.run.give(state) {
                    self.close(state, None, rng);
                }
            } else {
                self.close(state, None, rng);
            }
        }
    }

    fn doing(&self, what: Option<String>) {
        self.run.patience.set(self.number, what);
    }
}

/// What a host with several threads has to do for LuaJIT's profiler, with or without Leash. `SIGPROF` is for the threads that run Lua: LuaJIT's handler
/// changes the state that is profiled, on whichever thread it is called. And one that is on its way to another thread when LuaJIT puts the earlier
/// handler back must not meet the default, which ends the process.
pub fn prepare_for_profiling_signals() {
    extern "C" fn nothing(_: libc::c_int) {}
    let nothing: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: a handler that does nothing.
    unsafe { libc::signal(libc::SIGPROF, nothing as usize) };
    change_mask(libc::SIG_BLOCK);
}

fn receive_profiling_signals() {
    change_mask(libc::SIG_UNBLOCK);
}

fn change_mask(how: libc::c_int) {
    // SAFETY: the set is filled by the first call, and the mask is this thread's own.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGPROF);
        libc::pthread_sigmask(how, &set, std::ptr::null_mut());
    }
}
