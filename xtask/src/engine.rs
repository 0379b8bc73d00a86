//! The six engines, by the names that cargo features, folders and messages share.

use std::fmt;

use clap::ValueEnum;

/// A Lua that Leash can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Lua 5.1
    Lua51,
    /// Lua 5.2
    Lua52,
    /// Lua 5.3
    Lua53,
    /// Lua 5.4
    Lua54,
    /// Lua 5.5
    Lua55,
    /// LuaJIT 2.1
    Luajit,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 6] = [
        Engine::Lua51,
        Engine::Lua52,
        Engine::Lua53,
        Engine::Lua54,
        Engine::Lua55,
        Engine::Luajit,
    ];

    /// The cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Lua51 => "lua51",
            Engine::Lua52 => "lua52",
            Engine::Lua53 => "lua53",
            Engine::Lua54 => "lua54",
            Engine::Lua55 => "lua55",
            Engine::Luajit => "luajit",
        }
    }

    /// The standard interpreter, as Debian names it.
    pub fn stock(self) -> &'static str {
        match self {
            Engine::Lua51 => "lua5.1",
            Engine::Lua52 => "lua5.2",
            Engine::Lua53 => "lua5.3",
            Engine::Lua54 => "lua5.4",
            Engine::Lua55 => "lua5.5",
            Engine::Luajit => "luajit",
        }
    }

    /// Those named, or all if none is.
    pub fn or_all(named: &[Engine]) -> Vec<Engine> {
        let chosen = |engine: &Engine| named.is_empty() || named.contains(engine);
        Engine::ALL.into_iter().filter(chosen).collect()
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_engines_come_once_and_in_order() {
        let named = [Engine::Luajit, Engine::Lua51, Engine::Luajit];
        assert_eq!(Engine::or_all(&named), [Engine::Lua51, Engine::Luajit]);
        assert_eq!(Engine::or_all(&[]), Engine::ALL);
    }

    #[test]
    fn the_command_line_knows_the_names_of_the_features() {
        for engine in Engine::ALL {
            assert_eq!(Engine::from_str(engine.name(), false), Ok(engine));
        }
    }
}
