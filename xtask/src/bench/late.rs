//! How late the runaway examples are stopped.

use anyhow::Result;

use crate::cargo::Leash;
use crate::engine::Engine;
use crate::examples::{self, Stopped};
use crate::stats::Spread;

/// What was measured on one engine.
pub struct Late {
    /// The engine.
    pub engine: Engine,
    /// All runs.
    pub runs: Vec<Stopped>,
}

impl Late {
    /// The examples, in the order of the first round, with their spread; none if the process had to be ended.
    pub fn examples(&self) -> Vec<(&str, Option<Spread>)> {
        let mut names: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !names.contains(&run.name.as_str()) {
                names.push(&run.name);
            }
        }
        names
            .iter()
            .map(|&name| (name, self.spread(name)))
            .collect()
    }

    fn spread(&self, name: &str) -> Option<Spread> {
        let runs = self.runs.iter().filter(|run| run.name == name);
        let late: Option<Vec<f64>> = runs
            .map(|run| (!run.by_grace).then_some(run.late))
            .collect();
        late.map(Spread::of)
    }
}

/// Runs each example several times, in turn.
pub fn measure(leash: &Leash, runs: u32) -> Result<Late> {
    let start = examples::start_up(leash)?;
    let files = examples::runaway()?;
    let mut stopped = Vec::new();
    for run in 0..runs {
        println!(
            "{}: runaway examples, run {} of {runs}",
            leash.engine,
            run + 1
        );
        for file in &files {
            stopped.push(examples::stop(leash, file, start)?);
        }
    }
    Ok(Late {
        engine: leash.engine,
        runs: stopped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_that_needed_the_grace_time_once_has_no_time() {
        let run = |name: &str, late, by_grace| Stopped {
            name: name.to_owned(),
            late,
            by_grace,
        };
        let late = Late {
            engine: Engine::Lua54,
            runs: vec![
                run("b", 1.0, false),
                run("a", 1.0, false),
                run("b", 3.0, false),
                run("a", 1000.0, true),
            ],
        };
        let examples = late.examples();
        assert_eq!(examples[0].0, "b");
        assert_eq!(examples[0].1.map(|spread| spread.median), Some(2.0));
        assert_eq!(examples[1], ("a", None));
    }
}
