//! What has been done, by scenario: counted by all threads, told at the end.

use crate::programs::Scenario;
use leash::Jit;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

thread_local! {
    /// What this thread is computing. Read by the handler of interrupts, which runs on it.
    static CURRENT: Cell<Option<&'static Count>> = const { Cell::new(None) };
}

/// The counters of a scenario. (Relaxed everywhere: they are only added up.)
#[derive(Default)]
pub struct Count {
    /// Pieces of work.
    pub pieces: AtomicU64,
    /// Interrupts that were accepted while it was at work.
    pub sent: AtomicU64,
    /// Times that the handler ran. Several that are sent before it runs are one.
    pub delivered: AtomicU64,
    /// Pieces that a limit or a handle ended.
    pub stops: AtomicU64,
}

static COUNTS: OnceLock<Vec<(&'static str, Count)>> = OnceLock::new();
static OPENED: AtomicU64 = AtomicU64::new(0);
static GUARDED: AtomicU64 = AtomicU64::new(0);
static FAILURES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static OVER: AtomicBool = AtomicBool::new(false);

/// Makes the counters. Once, first of all.
pub fn prepare(scenarios: &[&'static Scenario]) {
    let counts = scenarios.iter().map(|s| (s.name, Count::default()));
    let _ = COUNTS.set(counts.collect());
}

fn all() -> &'static [(&'static str, Count)] {
    COUNTS.get().expect("prepared")
}

/// The counters of the scenario with this number.
pub fn of(scenario: usize) -> &'static Count {
    &all()[scenario].1
}

/// This thread works on the scenario with this number from now on, or on none.
pub fn work_on(scenario: Option<usize>) {
    CURRENT.set(scenario.map(of));
}

/// A state was opened, whose compiled code is reached in this way.
pub fn opened(jit: Jit) {
    OPENED.fetch_add(1, Ordering::Relaxed);
    GUARDED.fetch_add((jit == Jit::Guarded).into(), Ordering::Relaxed);
}

/// An interrupt has arrived on this thread. (In a hook, but in no signal handler.)
pub fn delivered() {
    if let Some(count) = CURRENT.get() {
        count.delivered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Something is wrong. The run ends early.
pub fn fail(message: String) {
    eprintln!("FAILED: {message}");
    FAILURES.lock().expect("no panic").push(message);
    end();
}

/// All threads are to come to an end.
pub fn end() {
    OVER.store(true, Ordering::Relaxed);
}

/// Whether they are.
pub fn is_over() -> bool {
    OVER.load(Ordering::Relaxed)
}

/// Prints the table; whether all was well.
pub fn summary(seconds: f64) -> bool {
    println!(
        "{:12} {:>9} {:>10} {:>10} {:>8}",
        "scenario", "pieces", "sent", "delivered", "stops"
    );
    let mut sum = [0; 4];
    for (name, count) in all() {
        let row = [&count.pieces, &count.sent, &count.delivered, &count.stops];
        let row = row.map(|counter| counter.load(Ordering::Relaxed));
        print(name, row);
        for (total, value) in sum.iter_mut().zip(row) {
            *total += value;
        }
    }
    print("together", sum);
    let per_second = sum[1] as f64 / seconds;
    let (opened, guarded) = (&OPENED, &GUARDED);
    let [opened, guarded] = [opened, guarded].map(|n| n.load(Ordering::Relaxed));
    println!("{seconds:.0} s, {per_second:.0} interrupts a second, {opened} states");
    if cfg!(feature = "luajit") {
        println!("{guarded} of them with guarded compiled code");
        if guarded * 2 < opened {
            fail("most states ran interpreted: compiled code was not tested".into());
        }
    }
    if sum[0] == 0 {
        fail("nothing was computed".into());
    }
    if sum[1] > 1000 && sum[2] == 0 {
        fail("no interrupt has arrived".into());
    }
    let failures = FAILURES.lock().expect("no panic");
    println!("{} failures", failures.len());
    failures.is_empty()
}

fn print(name: &str, [pieces, sent, delivered, stops]: [u64; 4]) {
    println!("{name:12} {pieces:>9} {sent:>10} {delivered:>10} {stops:>8}");
}
