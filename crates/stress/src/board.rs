//! The interrupting threads, and the board on which states are announced to them.
//!
//! Ids are integers that stay harmless when what they name is gone, so the board may be out of date: sending to an id that is no more
//! is part of the test. Two threads send together about five thousand interrupts a second, mostly to states that are at work.

use crate::tally;
use leash::{Handle, How, exists, interrupt};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Interrupts a second by each of the two threads.
const RATE: f64 = 2600.0;
/// Coroutines of a state that are interrupted by ids of their own.
const SHARED: usize = 8;
/// No scenario.
const IDLE: usize = usize::MAX;

static BOARD: Mutex<Vec<Arc<Targets>>> = Mutex::new(Vec::new());

/// What others may interrupt of a state.
pub struct Targets {
    main: u64,
    coroutines: [AtomicU64; SHARED],
    next: AtomicUsize,
    scenario: AtomicUsize,
    /// Nothing is to be sent but what `once` asks for.
    quiet: AtomicBool,
    once: AtomicBool,
    /// Stops are welcome, too.
    stop: Mutex<Option<Handle>>,
}

impl Targets {
    /// Announces a state, by the id of its main state.
    pub fn announce(main: u64) -> Arc<Targets> {
        let targets = Arc::new(Targets {
            main,
            coroutines: Default::default(),
            next: AtomicUsize::new(0),
            scenario: AtomicUsize::new(IDLE),
            quiet: AtomicBool::new(false),
            once: AtomicBool::new(false),
            stop: Mutex::new(None),
        });
        BOARD.lock().expect("no panic").push(targets.clone());
        targets
    }

    /// The state is closed: its ids must be unknown.
    pub fn withdraw(self: &Arc<Targets>) {
        let ids = self.coroutines.iter().map(|id| id.load(Ordering::Relaxed));
        for id in ids.chain([self.main]) {
            if exists(id) {
                tally::fail(format!("the id {id} has outlived its state"));
            }
        }
        let mut board = BOARD.lock().expect("no panic");
        board.retain(|targets| !Arc::ptr_eq(targets, self));
    }

    /// Has a coroutine interrupted as well, by its id.
    pub fn share(&self, id: u64) {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARED;
        self.coroutines[next].store(id, Ordering::Relaxed);
    }

    /// The state works on this scenario from now on, or on none.
    pub fn work_on(&self, scenario: Option<usize>) {
        self.scenario
            .store(scenario.unwrap_or(IDLE), Ordering::Relaxed);
    }

    /// No more interrupts, or again.
    pub fn quiet(&self, yes: bool) {
        self.quiet.store(yes, Ordering::SeqCst);
    }

    /// One interrupt, soon, whether it is quiet or not.
    pub fn once(&self) {
        self.once.store(true, Ordering::SeqCst);
    }

    /// Has its calls stopped by the handle, at random, until it is called with none.
    pub fn stop_by(&self, handle: Option<Handle>) {
        *self.stop.lock().expect("no panic") = handle;
    }

    fn send(&self, rng: &mut fastrand::Rng) {
        if self.quiet.load(Ordering::SeqCst) {
            return;
        }
        if let Some(handle) = *self.stop.lock().expect("no panic")
            && rng.u8(..) < 16
        {
            // Whether a call is open is not known here.
            if rng.bool() {
                handle.interrupt();
            } else {
                handle.kill();
            }
        }
        let coroutine = self.coroutines[rng.usize(..SHARED)].load(Ordering::Relaxed);
        let id = if coroutine != 0 && rng.bool() {
            coroutine
        } else {
            self.main
        };
        let scenario = self.scenario.load(Ordering::Relaxed);
        if interrupt(id, How::Once) && scenario != IDLE {
            tally::of(scenario).sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Interrupts whatever is on the board until the run is over.
pub fn interrupt_all(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let mut sent = 0.0;
    let mut board: Vec<Arc<Targets>> = Vec::new();
    while !tally::is_over() {
        board.clone_from(&BOARD.lock().expect("no panic"));
        for targets in &board {
            if targets.once.swap(false, Ordering::SeqCst) {
                interrupt(targets.main, How::Once);
            }
        }
        let due = start.elapsed().as_secs_f64() * RATE;
        let at_work = |t: &&Arc<Targets>| t.scenario.load(Ordering::Relaxed) != IDLE;
        let busy: Vec<_> = board.iter().filter(at_work).collect();
        // After a pause (a busy machine) the lost ones are not made up for.
        sent = f64::max(sent, due - 20.0);
        while sent < due {
            sent += 1.0;
            let some = if busy.is_empty() || rng.u8(..16) == 0 {
                rng.choice(&board)
            } else {
                rng.choice(busy.iter().copied())
            };
            if let Some(targets) = some {
                targets.send(&mut rng);
            }
        }
        thread::sleep(Duration::from_micros(rng.u64(50..300)));
    }
}
