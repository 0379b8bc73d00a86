//! The arguments of the process, as the C start-up code handed them over.
//!
//! Lua's table `arg` holds *all* of them, bytes for bytes, so they are kept as they came: the raw vector for Lua, and a
//! view as `OsString`s for the parser of the command line.

use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

/// `argc` and `argv`, alive as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    argc: c_int,
    argv: *const *const c_char,
}

impl Arguments {
    /// Takes what `main` was called with.
    ///
    /// # Safety
    /// `argv` points to `argc` pointers to C strings, and all of it stays, unchanged, for the life of the process.
    pub unsafe fn from_main(argc: c_int, argv: *const *const c_char) -> Arguments {
        Arguments { argc, argv }
    }

    /// How many there are, the program's name included; 0 if the parent process passed none at all.
    pub fn len(self) -> c_int {
        self.argc
    }

    /// Whether not even the program's name was passed.
    pub fn is_empty(self) -> bool {
        self.argc == 0
    }

    /// The argument `i` as a C string.
    ///
    /// # Panics
    /// If there is no argument `i`.
    pub fn get(self, i: c_int) -> *const c_char {
        assert!((0..self.argc).contains(&i), "no argument {i}");
        // SAFETY: `i` is below `argc`, and `from_main` was promised that many pointers.
        unsafe { *self.argv.add(i as usize) }
    }

    /// All of them as Rust strings; the bytes are the same.
    pub fn to_os_strings(self) -> Vec<OsString> {
        (0..self.argc)
            // SAFETY: each is a C string that stays for the life of the process (`from_main`).
            .map(|i| unsafe { CStr::from_ptr(self.get(i)) })
            .map(|s| OsString::from_vec(s.to_bytes().to_vec()))
            .collect()
    }
}
