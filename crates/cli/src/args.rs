//! The command line.
//!
//! Options come before the script; from the script's name on, everything belongs to the script, whatever it looks like.
//! Unlike `lua`, which knows a handful of one-letter options, a mistyped long option would be easy to overlook, so a
//! value that begins with `-` is never taken for code, a module or a script: `leash run -e --timeout 1s` is an error, not
//! a run of the Lua comment `--timeout` without a limit.
//!
//! `-e`, `-l` and `-W` act in the order in which they are written, as in `lua`; clap collects each kind by itself, so the
//! order is taken from the indices that it remembers.

use std::ffi::{OsStr, OsString, c_int};
use std::sync::LazyLock;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::arguments::Arguments;
use crate::plan::Step;
use crate::quantity::{parse_count, parse_duration, parse_size};
use crate::{compat, exit, stdio};

/// `0.1.0 (lua54: Lua 5.4.9)`.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} ({}: {})",
        env!("CARGO_PKG_VERSION"),
        leash::ENGINE,
        compat::release()
    )
});

const EXAMPLES: &str = "\
Examples:
  leash run --timeout 1s script.lua          at most one second
  leash run --memory 64M --cpu 500ms job.lua at most 64 MiB, half a second of CPU time
  leash run --instructions 1e8 -e 'f()'      the same point on every machine
  leash run script.lua --verbose in.txt      '--verbose' and 'in.txt' belong to the script
  generate | leash run --timeout 10s -       a script from standard input";

const EXIT_CODES: &str = "\
Exit codes:
  0 or the script's own   the script ended by itself (os.exit, end of file)
  1                       a Lua error that nobody caught
  2                       wrong usage
  124                     a limit stopped the script
  130, 143                Ctrl-C (SIGINT) or SIGTERM stopped it";

const LIMITS: &str = "\
Limits hold for everything that runs Lua: LUA_INIT, -e, -l, the script, and its finalizers at the end. A script that \
reaches a limit is stopped, and cannot catch that. Its finalizers have what is left of the time, after a stop no more than \
the grace period, and the limits of memory and instructions once more. A C function or a system call that does not return within the grace period takes the whole process with it.";

#[derive(Debug, Parser)]
#[command(
    name = "leash",
    version = VERSION.as_str(),
    about = "Run a Lua script under limits of time, memory and instructions",
    after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}\n\nSee 'leash run --help' for the limits."),
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a Lua script, as the standard 'lua' does, but under limits
    #[command(
        long_about = format!("Run a Lua script, as the standard 'lua' does, but under limits.\n\n{LIMITS}"),
        after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"),
        override_usage = "leash run [OPTIONS] SCRIPT [ARGS]...\n       leash run [OPTIONS] -e CODE\n       leash run [OPTIONS] -"
    )]
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Stop after this much time on the clock: 500ms, 1.5s, 2m, 1h; a bare number is seconds
    #[arg(long, value_name = "DUR", value_parser = parse_duration, help_heading = "Limits")]
    timeout: Option<Duration>,

    /// Stop after this much CPU time of the script's thread; waiting costs nothing
    #[arg(long, value_name = "DUR", value_parser = parse_duration, help_heading = "Limits")]
    cpu: Option<Duration>,

    /// Stop when Lua needs more memory than this: 64M, 64MB, 1GiB, 512k, or bytes; K, M and G are
    /// KiB, MiB and GiB, powers of 1024
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    memory: Option<usize>,

    /// Stop after this many instructions of Lua's virtual machine: 1000000, 1_000_000, 1e6
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Limits")]
    instructions: Option<u64>,

    /// How long a stopped script may stay inside a C function or a system call before the whole
    /// process is ended; 0 is allowed
    #[arg(long, value_name = "DUR", value_parser = parse_duration, default_value = "1s", help_heading = "Limits")]
    grace: Duration,

    /// Leave load, pcall and the functions of string and table that may run for long as they are;
    /// they cannot be stopped while they run then
    #[arg(long, overrides_with = "no_guard_stdlib", help_heading = "Limits")]
    no_guard_stdlib: bool,

    /// Run this code before the script; may be repeated
    #[arg(short = 'e', value_name = "CODE", action = ArgAction::Append, help_heading = "Lua")]
    execute: Vec<OsString>,

    #[arg(short = 'l', value_name = "MODULE", help = compat::LIBRARY_HELP, action = ArgAction::Append, help_heading = "Lua")]
    library: Vec<OsString>,

    /// Ignore the environment: LUA_INIT, LUA_PATH, LUA_CPATH
    #[arg(
        short = 'E',
        overrides_with = "ignore_environment",
        help_heading = "Lua"
    )]
    ignore_environment: bool,

    /// Turn warnings on (Lua 5.4 and later)
    #[arg(short = 'W', num_args = 0, default_missing_value = "true", action = ArgAction::Append, help_heading = "Lua")]
    warnings: Vec<bool>,

    /// The script, '-' for standard input, and its arguments. Without a script and without -e, standard
    /// input is run if it is not a terminal
    #[arg(value_names = ["SCRIPT", "ARGS"], num_args = 0.., trailing_var_arg = true)]
    script: Vec<OsString>,
}

/// The limits and what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--cpu`.
    pub cpu: Option<Duration>,
    /// `--memory`, in bytes.
    pub memory: Option<usize>,
    /// `--instructions`.
    pub instructions: Option<u64>,
    /// `--grace`.
    pub grace: Duration,
    /// `--no-guard-stdlib`.
    pub no_guard_stdlib: bool,
    /// `-E`.
    pub ignore_environment: bool,
    /// `-e`, `-l` and `-W` in the order of the command line.
    pub steps: Vec<Step>,
    /// What to run after the steps.
    pub program: Program,
}

/// What runs after `-e` and `-l`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// Nothing: there was an `-e` and no script.
    #[default]
    Nothing,
    /// Standard input, because nothing else was asked for.
    PipedInput,
    /// `-` as the script's name, which is the argument of this index.
    Stdin(c_int),
    /// The file that the argument of this index names.
    File(c_int),
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `leash run`.
    Run(RunOptions),
}

/// A command line that is not run: wrong usage, `--help` or `--version`.
#[derive(Debug)]
pub enum Usage {
    /// What clap says, in its own layout.
    Clap(clap::Error),
    /// One line of ours.
    Line(String),
}

impl Usage {
    /// Prints it, to standard output if it was asked for and to standard error if not. The exit code.
    pub fn exit(self) -> c_int {
        match self {
            Usage::Clap(error) if error.kind() == ErrorKind::ValueValidation => {
                // clap's layout spends three lines on it, and one says all there is to say.
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                stdio::message(line.strip_prefix("error: ").unwrap_or(line));
                exit::USAGE
            }
            Usage::Clap(error) => {
                // A closed pipe is no reason to fail: nobody wants to know any more.
                let _ = error.print();
                error.exit_code()
            }
            Usage::Line(line) => {
                stdio::message(&line);
                exit::USAGE
            }
        }
    }
}

/// Reads the command line.
///
/// # Errors
/// [`Usage`], where there is nothing to run: wrong usage, `--help`, `--version`.
pub fn parse(arguments: &Arguments) -> Result<Request, Usage> {
    // SAFETY: `isatty` looks at the descriptor and nothing else.
    let interactive = unsafe { libc::isatty(libc::STDIN_FILENO) } == 1;
    parse_from(arguments.to_os_strings(), interactive)
}

fn parse_from(arguments: Vec<OsString>, interactive: bool) -> Result<Request, Usage> {
    let matches = Cli::command()
        .try_get_matches_from(&arguments)
        .map_err(Usage::Clap)?;
    let Command::Run(run) = Cli::from_arg_matches(&matches)
        .map_err(Usage::Clap)?
        .command;
    let matches = matches
        .subcommand_matches("run")
        .expect("clap has just read it as 'run'");
    if !run.warnings.is_empty() && !compat::HAS_WARNINGS {
        return Err(Usage::Line(format!(
            "-W needs Lua 5.4 or later, and this is {}",
            compat::release()
        )));
    }
    let program = program(&arguments, &run);
    if program == Program::PipedInput && interactive {
        let line = "no SCRIPT and no -e, and standard input is a terminal ('-' runs it all the same); see 'leash run --help'";
        return Err(Usage::Line(line.to_owned()));
    }
    Ok(Request::Run(RunOptions {
        timeout: run.timeout,
        cpu: run.cpu,
        memory: run.memory,
        instructions: run.instructions,
        grace: run.grace,
        no_guard_stdlib: run.no_guard_stdlib,
        ignore_environment: run.ignore_environment,
        steps: steps(matches, run.execute, run.library),
        program,
    }))
}

/// The script's arguments are the last ones, so its name is found by counting from the end.
fn program(arguments: &[OsString], run: &RunArgs) -> Program {
    if run.script.is_empty() {
        return if run.execute.is_empty() {
            Program::PipedInput
        } else {
            Program::Nothing
        };
    }
    let at = arguments.len() - run.script.len();
    let index = c_int::try_from(at).expect("argc is a C int");
    // As in lua: after '--' even '-' is the name of a file.
    if arguments[at] == OsStr::new("-") && arguments[at - 1] != OsStr::new("--") {
        Program::Stdin(index)
    } else {
        Program::File(index)
    }
}

fn steps(matches: &clap::ArgMatches, execute: Vec<OsString>, library: Vec<OsString>) -> Vec<Step> {
    let at = |id: &str| matches.indices_of(id).into_iter().flatten();
    let execute = at("execute")
        .zip(execute)
        .map(|(i, code)| (i, Step::execute(code)));
    let library = at("library")
        .zip(library)
        .map(|(i, name)| (i, Step::library(name)));
    let warnings = at("warnings").map(|i| (i, Step::Warnings));
    let mut steps: Vec<_> = execute.chain(library).chain(warnings).collect();
    steps.sort_by_key(|(i, _)| *i);
    steps.into_iter().map(|(_, step)| step).collect()
}

#[cfg(test)]
mod tests;
