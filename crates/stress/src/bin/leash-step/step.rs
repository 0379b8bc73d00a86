//! All stretches in turn: the options, the choice of places, the table.

use crate::run::{Mode, State};
use crate::stretches::{self, Stretch};
use crate::trap::{self, Place};
use crate::{breakpoint::Breakpoint, tell};
use clap::Parser;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The exit code where the system does not allow what is needed, as in some containers.
const NO_BREAKPOINTS: u8 = 77;

/// Interrupts a Lua state before every single machine instruction in turn.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// Most seconds for each stretch in each mode: a sample, taken at random [default: all instructions]
    #[arg(long)]
    seconds: Option<f64>,

    /// Only this stretch; may be repeated
    #[arg(long, value_name = "STRETCH")]
    only: Vec<String>,

    /// Only this way of interrupting
    #[arg(long)]
    mode: Option<Mode>,

    /// Only before this instruction of the stretch, counted from 0
    #[arg(long)]
    at: Option<usize>,

    /// How often each place is tried
    #[arg(long, default_value_t = 1)]
    times: u32,

    /// Lists the stretches
    #[arg(long)]
    list: bool,

    /// Repeats the order of another run [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
}

/// A state serves so many runs.
const RUNS_OF_A_STATE: usize = 50;

/// Failures of a stretch that are told.
const TOLD: usize = 5;

/// The whole program.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let known: Vec<&Stretch> = stretches::ALL
        .iter()
        .filter(|s| !s.only_luajit || leash::ENGINE == "luajit")
        .collect();
    if options.list {
        known.iter().for_each(|s| println!("{s}"));
        return ExitCode::SUCCESS;
    }
    if let Some(name) = options
        .only
        .iter()
        .find(|n| known.iter().all(|s| s.name != **n))
    {
        eprintln!("leash-step: there is no stretch '{name}'; see --list");
        return ExitCode::from(2);
    }
    if let Err(e) = trap::install().and_then(|()| Breakpoint::new(main as *const () as usize, 1)) {
        eprintln!("leash-step: this system gives no breakpoints: {e}");
        return ExitCode::from(NO_BREAKPOINTS);
    }
    tell::install();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("{}, seed {seed}", leash::lua_release());
    println!(
        "{:24} {:9} {:>12} {:>9} {:>9} {:>9}",
        "stretch", "mode", "instructions", "tried", "landed", "failures"
    );
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut failures = 0;
    for stretch in known {
        if !options.only.is_empty() && options.only.iter().all(|n| n != stretch.name) {
            continue;
        }
        for mode in [Mode::Kill, Mode::Interrupt] {
            if options.mode.is_none_or(|m| m == mode) {
                failures += every_place(stretch, mode, &options, &mut rng);
            }
        }
    }
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{failures} failures; the seed was {seed}");
        ExitCode::FAILURE
    }
}

/// Every instruction of a stretch, or a sample. Returns the number of failures.
fn every_place(stretch: &Stretch, mode: Mode, options: &Options, rng: &mut fastrand::Rng) -> usize {
    let name = format!("--only {stretch} --mode {mode:?}").to_lowercase();
    tell::doing(&name);
    let mut state = State::open(mode);
    let expected = state.value(stretch);
    let mut failed = vec![];
    let recorded = state.record(stretch).wrong;
    failed.extend(recorded.map(|w| format!("while it was recorded: {w}")));
    let places = trap::recorded();
    let mut order: Vec<(usize, Place)> = places.iter().copied().enumerate().collect();
    match options.at {
        Some(at) => order.retain(|(n, _)| *n == at),
        None => rng.shuffle(&mut order),
    }
    let until = options
        .seconds
        .map(|s| Instant::now() + Duration::from_secs_f64(s));
    let (mut tried, mut landed) = (0, 0);
    for &(n, place) in order
        .iter()
        .flat_map(|p| (0..options.times).map(move |_| p))
    {
        if until.is_some_and(|t| t <= Instant::now()) {
            break;
        }
        tell::doing_at(n, place.address);
        tried += 1;
        let outcome = state.interrupted(stretch, place, &expected);
        let outcome = outcome.expect("a breakpoint, of which there have been some");
        landed += usize::from(outcome.landed);
        let sick = outcome.wrong.is_some();
        failed.extend(
            outcome
                .wrong
                .map(|w| format!("--at {n} ({}): {w}", trap::show(place.address))),
        );
        if sick || tried % RUNS_OF_A_STATE == 0 {
            state.close();
            state = State::open(mode);
            state.value(stretch);
        }
    }
    state.close();
    println!(
        "{stretch:24} {:9} {:12} {tried:9} {landed:9} {:9}",
        format!("{mode:?}").to_lowercase(),
        places.len(),
        failed.len()
    );
    for text in failed.iter().take(TOLD) {
        println!("FAILED: {name} {text}");
    }
    failed.len()
}
