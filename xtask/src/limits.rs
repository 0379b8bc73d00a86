//! `cargo xtask limits`: the hostile scripts of `tests/lua/evasion` in three ways, and what became of them in `docs/limits.md`.
//!
//! The runs are those of `cargo xtask test`, but one at a time: by `leash.call` and in a coroutine under `leash.watch` in a standard interpreter (`tests/lua/evasion.lua`, which
//! writes its outcomes into the file that [`OUTCOMES`] names), and by `leash run` ([`crate::evasion`]). Each line of such a file is a way, a script, and
//! how many milliseconds after its limit it was stopped, or why not.
//!
//! What could go wrong: a script that is not stopped fails the run, so the report has no hole that nobody sees, unless the script is listed
//! with a reason, which the report then shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cargo::{self, Profile};
use crate::engine::Engine;
use crate::stats::Spread;
use crate::steps::Steps;
use crate::{evasion, suites, table};

/// The environment variable that names the file for outcomes.
pub const OUTCOMES: &str = "LEASH_EVASION";

/// In the order of the columns.
const WAYS: [(&str, &str); 3] = [
    ("call", "leash.call"),
    ("watch", "leash.watch"),
    ("run", "leash run"),
];

/// In milliseconds.
const GOAL: f64 = 20.0;

/// What to run.
#[derive(Debug, Args)]
#[command(after_help = "\
It takes two minutes for each engine. How late a stop is says something on a machine that does nothing else.")]
pub struct Options {
    /// Write the report from the outcomes of the last runs, without running anything
    #[arg(long)]
    again: bool,
}

/// What became of a script.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    /// Stopped so many milliseconds after its limit.
    Stopped(f64),
    /// Not, and why.
    Not(String),
}

/// Outcomes by script and way.
type Outcomes = BTreeMap<String, BTreeMap<String, Outcome>>;

/// Where the outcomes of an engine are; those of `leash run` are apart.
fn file(engine: Engine, run: bool) -> PathBuf {
    let name = match run {
        true => format!("{engine}-run.tsv"),
        false => format!("{engine}.tsv"),
    };
    cargo::target().join("evasion").join(name)
}

/// An empty file for outcomes.
fn fresh(engine: Engine, run: bool) -> Result<PathBuf> {
    let file = file(engine, run);
    let folder = file.parent().context("it has a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, ""))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    if !options.again {
        let mut steps = Steps::new();
        for engine in Engine::ALL {
            steps.run(
                &format!("{engine}: hostile scripts"),
                "cargo xtask limits",
                || {
                    let leash = cargo::leash(engine, Profile::Release)?;
                    suites::evasion(&leash, &fresh(engine, false)?)?;
                    let outcomes = evasion::check(&leash, 1)?;
                    let to = fresh(engine, true)?;
                    fs::write(&to, outcomes)
                        .with_context(|| format!("cannot write {}", to.display()))
                },
            )?;
        }
        steps.finish();
    }
    let all = Engine::ALL
        .into_iter()
        .map(|engine| Ok((engine, read(engine)?)))
        .collect::<Result<Vec<_>>>()?;
    let text = markdown(&all, &tricks()?);
    let to = cargo::root().join("docs/limits.md");
    fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    println!("written: {}", to.display());
    Ok(())
}

fn read(engine: Engine) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    for run in [false, true] {
        let file = file(engine, run);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("no outcomes: {}", file.display()))?;
        for line in text.lines() {
            let (way, name, outcome) =
                parse(line).with_context(|| format!("{}: {line}", file.display()))?;
            outcomes.entry(name).or_default().insert(way, outcome);
        }
    }
    ensure!(!outcomes.is_empty(), "{engine}: no outcomes");
    Ok(outcomes)
}

/// `WAY<tab>SCRIPT<tab>MILLISECONDS`, or a reason in the place of a number.
fn parse(line: &str) -> Result<(String, String, Outcome)> {
    let mut parts = line.splitn(3, '\t');
    let mut part = || parts.next().context("three parts expected");
    let (way, name, what) = (part()?.to_owned(), part()?.to_owned(), part()?);
    let outcome = match what.parse() {
        Ok(late) => Outcome::Stopped(late),
        Err(_) => Outcome::Not(what.to_owned()),
    };
    Ok((way, name, outcome))
}

/// The scripts and their first lines.
fn tricks() -> Result<Vec<(String, String)>> {
    evasion::scripts()?
        .iter()
        .map(|file| Ok((stem(file), first_line(file)?)))
        .collect()
}

fn stem(file: &Path) -> String {
    file.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// What a script says of itself: the comment that it begins with, up to the first full stop.
fn first_line(file: &Path) -> Result<String> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let comment: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("-- "))
        .collect();
    let comment = comment.join(" ");
    let end = comment.find(". ").map_or(comment.len(), |end| end + 1);
    Ok(comment[..end].to_owned())
}

/// What is known of those that miss the goal.
const WHY_LATE: &str = "\
A watch has been waiting for its sample for up to 10 ms before anything else begins. Where finalizers overflow the stack, the rest is mostly Lua's own: from 5.3 on each
protected call that ends frees half of what up to 200,000 calls have needed, some milliseconds each time, in which no hook runs; and from 5.4 on `lua_sethook` goes through all
of these calls. `sort_nested_guarded`: LuaJIT raises an error through C functions by the unwinder of the system, and one through 5,000 of them takes it 40 to 130 ms, also without Leash.
`weak_keys_chain`, `table_rehash`: what Lua itself does there takes the square of what the script has made, in the collector and in one single instruction
([security.md](security.md#what-is-not)).
";

fn markdown(all: &[(Engine, Outcomes)], tricks: &[(String, String)]) -> String {
    let mut text = format!(
        "\
# What is stopped, and how late

Written by `cargo xtask limits`. Each script of [`tests/lua/evasion`](../tests/lua/evasion) tries to get away from a limit of 50 ms, in three ways: called by
`leash.call`, in a coroutine under `leash.watch` that the stock `coroutine.resume` resumes (which is sampled every 10 ms), both in the standard interpreter (5.5: a plain
one), and by `leash run`. A number is how many milliseconds after its limit a script was stopped. The goal is that all are, within {GOAL:.0} ms.
These are the outcomes of one run; where the machine was busy, what waits for a processor is in them.

What C functions of the library do that run for long is in [stdlib.md](stdlib.md).

{}
",
        summary(all)
    );
    let others = not_stopped(all);
    if !others.is_empty() {
        text += "## Not stopped\n\n";
        text += &table::markdown(&["script", "engine", "way", "why"], &others);
        text += "\n";
    }
    text += &later(all);
    text += "## The scripts\n\n";
    for (name, what) in tricks {
        text += &format!("- [`{name}`](../tests/lua/evasion/{name}.lua): {what}\n");
    }
    for (engine, outcomes) in all {
        text += &format!("\n## {engine}\n\n{}", of_engine(outcomes));
    }
    text
}

fn lates<'a>(outcomes: &'a Outcomes, way: &'a str) -> impl Iterator<Item = f64> + 'a {
    outcomes
        .values()
        .filter_map(move |ways| match ways.get(way) {
            Some(Outcome::Stopped(late)) => Some(*late),
            _ => None,
        })
}

fn summary(all: &[(Engine, Outcomes)]) -> String {
    let mut rows = Vec::new();
    for (engine, outcomes) in all {
        for (way, shown) in WAYS {
            let tried = outcomes.values().filter(|ways| ways.contains_key(way));
            let late: Vec<f64> = lates(outcomes, way).collect();
            if late.is_empty() {
                continue;
            }
            let beyond = late.iter().filter(|&&late| late > GOAL).count();
            let spread = Spread::of(late.iter().copied());
            rows.push(vec![
                format!("{engine}, {shown}"),
                tried.count().to_string(),
                late.len().to_string(),
                format!("{:.1}", spread.median.max(0.0)),
                beyond.to_string(),
                format!("{:.0}", spread.max),
            ]);
        }
    }
    let head = [
        "engine, way",
        "tried",
        "stopped",
        "median, ms late",
        "over 20 ms",
        "latest",
    ];
    table::markdown(&head, &rows)
}

/// Who missed the goal, with the reasons for it.
fn later(all: &[(Engine, Outcomes)]) -> String {
    let names: BTreeSet<&String> = all
        .iter()
        .flat_map(|(_, outcomes)| outcomes.keys())
        .collect();
    let mut rows = Vec::new();
    for name in names {
        let cells = all.iter().map(|(_, outcomes)| {
            let late = WAYS.iter().filter_map(|(way, shown)| {
                match outcomes.get(name).and_then(|ways| ways.get(*way)) {
                    Some(Outcome::Stopped(late)) if *late > GOAL => {
                        Some(format!("{} {late:.0}", shown.trim_start_matches("leash.")))
                    }
                    _ => None,
                }
            });
            late.collect::<Vec<_>>().join(", ")
        });
        let cells: Vec<String> = cells.collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push(std::iter::once(name.clone()).chain(cells).collect());
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let engines = all.iter().map(|(engine, _)| engine.name());
    let head: Vec<&str> = std::iter::once("script").chain(engines).collect();
    let table = table::markdown(&head, &rows);
    format!("## Later than {GOAL:.0} ms\n\n{WHY_LATE}\n{table}\n")
}

fn not_stopped(all: &[(Engine, Outcomes)]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (engine, outcomes) in all {
        for (name, ways) in outcomes {
            for (way, shown) in WAYS {
                if let Some(Outcome::Not(why)) = ways.get(way) {
                    let cells = [name, engine.name(), shown, why];
                    rows.push(cells.map(str::to_owned).to_vec());
                }
            }
        }
    }
    rows
}

fn of_engine(outcomes: &Outcomes) -> String {
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|(name, ways)| {
            let cells = WAYS.iter().map(|(way, _)| match ways.get(*way) {
                Some(Outcome::Stopped(late)) => format!("{:.1}", late.max(0.0)),
                Some(Outcome::Not(_)) => "not stopped".to_owned(),
                None => String::new(),
            });
            std::iter::once(name.clone()).chain(cells).collect()
        })
        .collect();
    let head: Vec<&str> = std::iter::once("script")
        .chain(WAYS.iter().map(|(_, shown)| *shown))
        .collect();
    table::markdown(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_who_was_late_and_who_got_away() {
        let mut outcomes = Outcomes::new();
        for line in [
            "call\ta\t1.5",
            "call\tb\t25.4",
            "run\tb\t20.6",
            "watch\ta\tit may yield there",
            "run\ta\t-0.1",
        ] {
            let (way, name, outcome) = parse(line).expect("an outcome");
            outcomes.entry(name).or_default().insert(way, outcome);
        }
        let text = markdown(
            &[(Engine::Lua54, outcomes)],
            &[("a".to_owned(), "A trick.".to_owned())],
        );
        assert!(text.contains("| lua54, leash.call "), "{text}");
        assert!(text.contains("it may yield there"));
        assert!(text.contains("`a`](../tests/lua/evasion/a.lua): A trick."));
        assert!(text.contains("not stopped"));
        let (_, later) = text.split_once("## Later than 20 ms").expect("b was");
        assert!(
            later.contains("| b      | call 25, leash run 21 |"),
            "{text}"
        );
        assert!(!later.contains("| a      | call"));
        assert!(parse("call\tx").is_err());
    }

    #[test]
    fn every_script_says_what_it_does() {
        for (name, what) in tricks().expect("readable") {
            assert!(what.len() > 10, "{name} says nothing of itself");
        }
    }
}
