//! What is computed: small Lua programs, by scenario.
//!
//! A program is the text of a function of one number, `...`, that returns one value. What it returns must depend on that number and the
//! engine alone: no addresses, no clocks, no order of `pairs`. Interrupts that continue must not change it; a limit may end it, and then there
//! is no value. Endless programs must be ended.
//!
//! What could go wrong: a program whose value depends on how often the script's own hook was called. While an interrupt is being delivered, our hook
//! stands in for the script's, so that one may miss events: such programs compare by bounds.

mod everywhere;
mod luajit;

/// One program.
pub struct Program {
    /// The engines that can run it; empty: all.
    pub only: &'static str,
    /// Its text.
    pub code: &'static str,
    /// What it returns, if that cannot be found out by running it without Leash.
    pub known: Option<&'static str>,
}

impl Program {
    const fn all(code: &'static str) -> Program {
        Program::on("", code)
    }

    const fn on(only: &'static str, code: &'static str) -> Program {
        Program {
            only,
            code,
            known: None,
        }
    }

    const fn known(code: &'static str, value: &'static str) -> Program {
        Program {
            only: "",
            code,
            known: Some(value),
        }
    }

    /// Whether this engine can run it.
    pub fn is_for(&self, engine: &str) -> bool {
        self.only.is_empty() || self.only.split(' ').any(|name| name == engine)
    }

    /// Whether it goes on after errors. Memory that is refused once, where it does not end the call, would change what it computes.
    pub fn catches(&self) -> bool {
        ["pcall", "resume", "nested", "across"]
            .iter()
            .any(|name| self.code.contains(name))
    }
}

/// Programs that try the same thing.
pub struct Scenario {
    /// For `--only` and the summary.
    pub name: &'static str,
    /// They end.
    pub values: &'static [Program],
    /// They do not.
    pub endless: &'static [Program],
    /// What the endless ones leave behind is endless too (finalizers): each has a state of its own, which is closed under a limit.
    pub poisons: bool,
    /// They go on under an instruction limit: they need no hook of their own.
    pub countable: bool,
}

/// All scenarios of this engine.
pub fn scenarios() -> Vec<&'static Scenario> {
    let special = if cfg!(feature = "luajit") {
        luajit::SCENARIOS
    } else {
        &[]
    };
    everywhere::SCENARIOS.iter().chain(special).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_engines_exist() {
        let mut names: Vec<_> = scenarios().iter().map(|s| s.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        let engines = ["lua51", "lua52", "lua53", "lua54", "lua55", "luajit"];
        for scenario in everywhere::SCENARIOS.iter().chain(luajit::SCENARIOS) {
            assert!(!scenario.values.is_empty(), "{}", scenario.name);
            for program in scenario.values.iter().chain(scenario.endless) {
                let named = program.only.split(' ').filter(|name| !name.is_empty());
                assert!(
                    named.clone().all(|name| engines.contains(&name)),
                    "{}",
                    program.only
                );
            }
        }
    }
}
