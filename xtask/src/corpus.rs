//! The corpus: real programs, which must do the same under `leash run` as under the interpreter that Leash is compared with.
//!
//! The same means: standard output, standard error but for the program's name, and the exit code, byte by byte. The data is
//! generated once, into `target/corpus-data`, and anew when its generator has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cargo::{self, Leash};
use crate::interpreter::Interpreter;
use crate::manifest::{self, Entry};
use crate::parallel;
use crate::process::{self, Outcome};

/// How long a program may take; each takes about half a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The folder of the corpus.
pub fn folder() -> PathBuf {
    cargo::root().join("tests/corpus")
}

/// The runs of the manifest. Generates their data if it is not there.
pub fn entries(generator: &Interpreter) -> Result<Vec<Entry>> {
    let data = cargo::target().join("corpus-data");
    generate(generator, &data).context("cannot generate the data of the corpus")?;
    let file = folder().join("manifest.txt");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    manifest::parse(&text, &data)
}

fn generate(generator: &Interpreter, data: &Path) -> Result<()> {
    let script = fs::read(folder().join("gen_data.lua")).context("cannot read gen_data.lua")?;
    // Written last: data that was interrupted half-way, or is of another generator, does not have it.
    let mark = data.join("generated-by.lua");
    if fs::read(&mark).is_ok_and(|by| by == script) {
        return Ok(());
    }
    println!("generating {} with {}", data.display(), generator.name);
    let _ = fs::remove_dir_all(data); // it need not be there
    fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    let mut command = generator.command();
    command.arg("gen_data.lua").arg(data).current_dir(folder());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let outcome = process::run(&mut command, PATIENCE)?;
    ensure!(
        outcome.code == 0,
        "{} ended with {}:\n{}",
        process::show(&command),
        outcome.code,
        String::from_utf8_lossy(&outcome.stderr)
    );
    fs::write(&mark, script).with_context(|| format!("cannot write {}", mark.display()))
}

/// The command that runs an entry. Where its output goes is up to the caller.
pub fn command(interpreter: &Interpreter, entry: &Entry) -> Result<Command> {
    let mut command = interpreter.command();
    command.args(&entry.command).current_dir(folder());
    if let Some(file) = &entry.stdin {
        let stdin =
            fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        command.stdin(stdin);
    }
    Ok(command)
}

/// Runs every entry under `leash run` and under the reference, and compares.
pub fn check(leash: &Leash) -> Result<()> {
    let reference = Interpreter::reference(leash)?;
    let guarded = Interpreter::leash(leash, &["--timeout", "60s"]);
    let entries = entries(&reference)?;
    parallel::each(&entries, parallel::processors(), |entry| {
        let (ours, theirs) = (run(&guarded, entry)?, run(&reference, entry)?);
        let difference = difference(
            entry,
            (&guarded.names(), &ours),
            (&reference.names(), &theirs),
        );
        if let Some(difference) = difference {
            anyhow::bail!(
                "{}: {difference}\n  under Leash: {}\n  without:     {}",
                entry.name,
                process::show(&command(&guarded, entry)?),
                process::show(&command(&reference, entry)?)
            );
        }
        Ok(())
    })?;
    println!(
        "{} runs of the corpus: output, messages and exit codes of {} are those of {}",
        entries.len(),
        guarded.name,
        reference.name
    );
    Ok(())
}

fn run(interpreter: &Interpreter, entry: &Entry) -> Result<Outcome> {
    let mut command = command(interpreter, entry)?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    process::run(&mut command, PATIENCE)
}

/// What is different, if anything is. Each side is what the program calls itself and what it did.
fn difference(
    entry: &Entry,
    (our_names, ours): (&[String], &Outcome),
    (their_names, theirs): (&[String], &Outcome),
) -> Option<String> {
    let ours_said = anonymous(&ours.stderr, our_names);
    let theirs_said = anonymous(&theirs.stderr, their_names);
    if ours.code != theirs.code {
        let said = String::from_utf8_lossy(&ours.stderr);
        Some(format!(
            "exit code {} under Leash, {} without; its last words: {}",
            ours.code,
            theirs.code,
            said.trim_end()
        ))
    } else if ours.code != entry.code {
        let expected = entry.code;
        Some(format!(
            "exit code {}, manifest.txt says {expected}",
            ours.code
        ))
    } else {
        first_difference("standard output", &ours.stdout, &theirs.stdout)
            .or_else(|| first_difference("standard error", &ours_said, &theirs_said))
    }
}

/// Replaces the program's name at the beginning of lines.
fn anonymous(text: &[u8], names: &[String]) -> Vec<u8> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    let renamed = lines.map(|line| {
        let rest = names.iter().find_map(|name| {
            line.strip_prefix(name.as_bytes())
                .filter(|rest| rest.starts_with(b": "))
        });
        match rest {
            Some(rest) => [b"PROGRAM", rest].concat(),
            None => line.to_vec(),
        }
    });
    renamed.flatten().collect()
}

/// Where two outputs part, and what each says there.
fn first_difference(what: &str, ours: &[u8], theirs: &[u8]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let line = ours[..same].iter().filter(|&&byte| byte == b'\n').count() + 1;
    let show = |text: &[u8]| {
        let begin = text[..same].iter().rposition(|&byte| byte == b'\n');
        let begin = begin.map_or(0, |at| at + 1).max(same.saturating_sub(40));
        let end = text.len().min(same + 40);
        String::from_utf8_lossy(&text[begin..end])
            .escape_debug()
            .to_string()
    };
    Some(format!(
        "{what} differs in line {line}, byte {same}\n  \"{}\" under Leash\n  \"{}\" without",
        show(ours),
        show(theirs)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_at_the_beginning_of_a_line_is_replaced() {
        let names = ["/bin/lua5.4".to_owned(), "lua5.4".to_owned()];
        let text = b"lua5.4: x\n\tlua5.4: y\n/bin/lua5.4: z\nlua5.4 w";
        assert_eq!(
            anonymous(text, &names),
            b"PROGRAM: x\n\tlua5.4: y\nPROGRAM: z\nlua5.4 w"
        );
    }

    #[test]
    fn a_difference_is_shown_where_it_is() {
        assert_eq!(first_difference("output", b"same", b"same"), None);
        let text = first_difference("output", b"one\ntwo\n", b"one\ntoo\n").expect("they differ");
        assert!(text.contains("line 2, byte 5"), "{text}");
        assert!(text.contains(r#""two\n" under Leash"#), "{text}");
        let text = first_difference("output", b"one\n", b"one\ntwo").expect("one is longer");
        assert!(text.contains(r#""" under Leash"#), "{text}");
    }

    #[test]
    fn exit_codes_are_compared_with_each_other_and_with_the_manifest() {
        let entry = Entry {
            name: "x".to_owned(),
            code: 3,
            stdin: None,
            command: vec!["x.lua".to_owned()],
        };
        let end = |code| Outcome {
            code,
            stdout: b"o".to_vec(),
            stderr: b"e".to_vec(),
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
        };
        let compare = |a, b| difference(&entry, (&[], &end(a)), (&[], &end(b)));
        assert_eq!(compare(3, 3), None);
        assert!(
            compare(124, 3)
                .expect("they differ")
                .contains("124 under Leash")
        );
        assert!(
            compare(0, 0)
                .expect("it is another")
                .contains("manifest.txt says 3")
        );
    }
}
