//! The steps of a task: announced, timed, counted; the first failure ends the task.
//!
//! A failure names its step and the command that repeats this step alone, so that nobody has to run the other steps again to see it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A task's steps so far.
pub struct Steps {
    started: Instant,
    passed: Vec<(String, Duration)>,
}

impl Steps {
    /// None yet.
    pub fn new() -> Steps {
        Steps {
            started: Instant::now(),
            passed: Vec::new(),
        }
    }

    /// Runs a step. `again` is the command that repeats it alone.
    pub fn run(
        &mut self,
        name: &str,
        again: &str,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        println!("\n=== {name}");
        let started = Instant::now();
        work().with_context(|| {
            format!(
                "FAILED: {name} (after {} steps that passed)\n  repeat it alone: {again}\n  because",
                self.passed.len()
            )
        })?;
        let took = started.elapsed();
        println!("--- passed in {:.1} s: {name}", took.as_secs_f64());
        self.passed.push((name.to_owned(), took));
        Ok(())
    }

    /// The closing lines.
    pub fn finish(self) {
        println!("\n=== All steps");
        for (name, took) in &self.passed {
            println!("{:8.1} s  {name}", took.as_secs_f64());
        }
        println!("{:8.1} s  together", self.started.elapsed().as_secs_f64());
        println!("\n{} passed, 0 failed", self.passed.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_step_the_command_and_the_cause() {
        let mut steps = Steps::new();
        steps
            .run("first", "do first", || Ok(()))
            .expect("it passes");
        let error = steps
            .run("second", "do second", || anyhow::bail!("no luck"))
            .expect_err("it fails");
        let text = format!("{error:#}");
        for part in [
            "FAILED: second (after 1 steps",
            "alone: do second",
            "no luck",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(steps.passed.len(), 1);
    }
}
