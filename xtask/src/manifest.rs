//! `tests/corpus/manifest.txt`: which program is run how. Its first lines describe the format.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// One run of a program of the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in reports.
    pub name: String,
    /// The exit code to be expected.
    pub code: i32,
    /// The file on standard input; nothing to read there if none.
    pub stdin: Option<PathBuf>,
    /// The script and its arguments.
    pub command: Vec<String>,
}

/// Reads the manifest. `data` is the folder that `gen_data.lua` wrote to.
pub fn parse(text: &str, data: &Path) -> Result<Vec<Entry>> {
    let data = data
        .to_str()
        .context("the path of the corpus data is not UTF-8")?;
    let lines = text.lines().enumerate();
    let runs = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let entries: Vec<Entry> = runs
        .map(|(index, line)| {
            entry(line, data).with_context(|| format!("manifest.txt, line {}", index + 1))
        })
        .collect::<Result<_>>()?;
    ensure!(!entries.is_empty(), "manifest.txt names no program");
    Ok(entries)
}

fn entry(line: &str, data: &str) -> Result<Entry> {
    let fields: Vec<String> = line
        .split_whitespace()
        .map(|field| field.replace("@DATA@", data))
        .collect();
    let [name, code, stdin, command @ ..] = &fields[..] else {
        anyhow::bail!("expected NAME EXITCODE STDIN SCRIPT ARGS...");
    };
    ensure!(!command.is_empty(), "there is no SCRIPT");
    Ok(Entry {
        name: name.clone(),
        code: code
            .parse()
            .with_context(|| format!("'{code}' is no exit code"))?,
        stdin: (stdin != "-").then(|| PathBuf::from(stdin)),
        command: command.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_spaces_and_the_data_folder() {
        let text = "# a comment\n\nstats  3  @DATA@/n.txt  s.lua  -x=@DATA@  10\nplain 0 - p.lua\n";
        let entries = parse(text, Path::new("/d")).expect("it is well formed");
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].code, 3);
        assert_eq!(entries[0].stdin, Some(PathBuf::from("/d/n.txt")));
        assert_eq!(entries[0].command, ["s.lua", "-x=/d", "10"]);
        assert_eq!(entries[1].stdin, None);
    }

    #[test]
    fn errors_name_the_line() {
        for wrong in ["x 0 -", "x nought - s.lua", "x"] {
            let error = parse(&format!("# c\n{wrong}\n"), Path::new("/d")).expect_err(wrong);
            assert!(format!("{error:#}").contains("line 2"), "{error:#}");
        }
        assert!(parse("# nothing\n", Path::new("/d")).is_err());
    }

    #[test]
    fn the_manifest_of_the_project_is_well_formed() {
        let file = crate::cargo::root().join("tests/corpus/manifest.txt");
        let text = std::fs::read_to_string(file).expect("the manifest is there");
        let entries = parse(&text, Path::new("/d")).expect("it is well formed");
        for entry in entries {
            let script = crate::cargo::root()
                .join("tests/corpus")
                .join(&entry.command[0]);
            assert!(script.is_file(), "{}", script.display());
        }
    }
}
