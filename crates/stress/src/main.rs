//! `leash-stress`: Lua states that compute, on several threads, while they are interrupted as often as possible.
//!
//! Two threads send about 5000 interrupts a second to all states, each by an id; the handler continues. Meanwhile the states run small
//! [programs] under limits that are reached at random moments, and each piece of work is [judged](piece): the value must be the one that was
//! [computed beforehand](expected) without Leash, or the stop must be the one that was asked for. States are opened, closed, and passed from thread to
//! thread all the time.
//!
//! What it finds: a wrong value (an interrupt has damaged a state), a stop that is missed, comes early or for no reason, an id that outlives its
//! state, a hang (after `--patience` the process aborts and names the piece), a crash; and under sanitizers what those see.
//!
//! What it does not do: repeat a run exactly. The seed repeats the choices of each thread, but not where in the code an interrupt lands.
//!
//! `--unsafe-cross-thread` is the [counterexample](cross_thread).

mod across;
mod board;
mod cross_thread;
mod expected;
mod guarded;
use leash_stress::lua;
mod patience;
mod piece;
mod programs;
mod tally;
mod worker;

use clap::Parser;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{process, thread};

/// Interrupts Lua states as often as possible while they compute, and checks what they compute.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// How long
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,

    /// Repeats the choices of another run [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,

    /// Most working threads at a time [default: twice the number of processors]
    #[arg(long)]
    threads: Option<usize>,

    /// Only this scenario; may be repeated
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<String>,

    /// Lists the scenarios
    #[arg(long)]
    list: bool,

    /// Seconds after which a piece of work counts as hung
    #[arg(long, default_value_t = 90)]
    patience: u64,

    /// Only programs that end by themselves. ThreadSanitizer keeps a signal back until the program next calls into libc, which
    /// an endless loop need not do
    #[arg(long)]
    ends: bool,

    /// No Leash: calls lua_sethook from another thread, as is often done. Ends in undefined behaviour
    #[arg(long)]
    unsafe_cross_thread: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let time = Duration::from_secs_f64(options.seconds);
    if options.unsafe_cross_thread {
        cross_thread::run(time);
        return ExitCode::SUCCESS;
    }
    let mut scenarios = programs::scenarios();
    if options.list {
        scenarios.iter().for_each(|s| println!("{}", s.name));
        return ExitCode::SUCCESS;
    }
    if let Some(name) = options
        .only
        .iter()
        .find(|name| !scenarios.iter().any(|s| s.name == **name))
    {
        eprintln!("leash-stress: there is no scenario '{name}'; see --list");
        return ExitCode::from(2);
    }
    scenarios.retain(|s| options.only.is_empty() || options.only.iter().any(|name| name == s.name));

    // What is known beforehand is known because it has to be stopped.
    scenarios.retain(|s| !options.ends || s.values.iter().any(|p| p.known.is_none()));

    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let threads = options
        .threads
        .unwrap_or_else(|| 2 * thread::available_parallelism().map_or(2, std::num::NonZero::get));
    println!(
        "{}, seed {seed}, up to {threads} threads",
        leash::lua_release()
    );
    let mut rng = fastrand::Rng::with_seed(seed);
    tally::prepare(&scenarios);
    worker::prepare_for_profiling_signals();
    let works = expected::compute(&scenarios);
    let patience = patience::Patience::new(threads, Duration::from_secs(options.patience), seed);
    let run = worker::Run::new(works, patience, threads, options.ends);

    let start = Instant::now();
    // The threads that look on are left behind when the process ends.
    let run: &'static worker::Run = Box::leak(Box::new(run));
    thread::spawn(|| run.patience.watch());
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let seed = rng.u64(..);
            thread::spawn(move || board::interrupt_all(seed))
        })
        .collect();
    run.rounds(time, &mut rng);
    tally::end();
    for sender in senders {
        if sender.join().is_err() {
            tally::fail("an interrupting thread has panicked".into());
        }
    }
    if tally::summary(start.elapsed().as_secs_f64()) {
        ExitCode::SUCCESS
    } else {
        println!("the seed was {seed} (process {})", process::id());
        ExitCode::FAILURE
    }
}
