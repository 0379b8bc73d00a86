//! What the integration tests share: running the binary, temporary folders, finding Lua's headers.

#![allow(dead_code)] // each test program uses a part of it

pub mod ends;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, process, thread};

/// The engine that this build is for.
pub const ENGINE: &str = if cfg!(feature = "lua51") {
    "lua51"
} else if cfg!(feature = "lua52") {
    "lua52"
} else if cfg!(feature = "lua53") {
    "lua53"
} else if cfg!(feature = "lua54") {
    "lua54"
} else if cfg!(feature = "lua55") {
    "lua55"
} else {
    "luajit"
};

/// The command.
pub const LEASH: &str = env!("CARGO_BIN_EXE_leash");

/// What a program did.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; minus the signal that ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A clean environment: nothing of the machine's own Lua settings.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("LUA_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// `leash run` with these arguments.
pub fn leash<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = command(LEASH);
    command.arg("run").args(arguments);
    command
}

/// Runs it to its end.
pub fn outcome(command: &mut Command) -> Outcome {
    finish(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts"),
    )
}

/// Runs it to its end with this on standard input.
pub fn outcome_with_input(command: &mut Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let input = input.to_owned();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let outcome = finish(child);
    let _ = writer.join().expect("the writer does not panic"); // a program need not read all of it
    outcome
}

/// Waits for the end of a program whose output goes into pipes.
pub fn finish(child: process::Child) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    let output = child.wait_with_output().expect("the program ends");
    Outcome {
        code: output
            .status
            .code()
            .unwrap_or_else(|| -output.status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs code by `-e`.
pub fn execute(code: &str) -> Outcome {
    outcome(&mut leash(["-e", code]))
}

/// A folder that goes away with this value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{ENGINE}-{}", process::id()));
        let _ = fs::remove_dir_all(&path); // left behind by a process of the same id
        fs::create_dir_all(&path).expect("the folder for temporary files can be written");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file can be written");
        path.to_str().expect("the path is UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The folder with the headers of an engine, in the sources of the crate that this build takes Lua from.
pub fn headers(engine: &str) -> PathBuf {
    let (package, folder) = match engine {
        "lua51" => ("lua-src", "lua-5.1."),
        "lua52" => ("lua-src", "lua-5.2."),
        "lua53" => ("lua-src", "lua-5.3."),
        "lua54" => ("lua-src", "lua-5.4."),
        "lua55" => ("lua-src", "lua-5.5."),
        "luajit" => return package_folder("luajit-src").join("luajit2/src"),
        _ => panic!("no engine {engine}"),
    };
    let root = package_folder(package);
    let mut found = fs::read_dir(&root)
        .expect("the sources are there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(folder))
        });
    found
        .next()
        .unwrap_or_else(|| panic!("no {folder}* in {}", root.display()))
}

/// The folder of a package that this workspace depends on, as cargo knows it.
pub fn package_folder(package: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let (_, rest) = metadata
        .split_once(&format!("{{\"name\":\"{package}\","))
        .expect("the package is a dependency");
    let (_, rest) = rest
        .split_once("\"manifest_path\":\"")
        .expect("each package has a manifest");
    let (manifest, _) = rest.split_once('"').expect("a string ends");
    Path::new(manifest)
        .parent()
        .expect("a manifest is in a folder")
        .to_owned()
}
