//! Text on the stack.
//!
//! Messages are composed while Lua may raise, and a `String` would be leaked by that. This one has no destructor. What does not fit is
//! cut off, at a byte: the texts are for people, and 256 bytes hold all of ours but a long message of another's.

use std::ffi::c_char;
use std::fmt;

const ROOM: usize = 256;

/// See the module's header.
pub struct Text {
    bytes: [u8; ROOM],
    len: usize,
}

impl Text {
    /// `value`, as its `Display` writes it.
    pub fn of(value: impl fmt::Display) -> Text {
        let mut text = Text {
            bytes: [0; ROOM],
            len: 0,
        };
        // Writing never fails: what does not fit is dropped.
        let _ = fmt::write(&mut text, format_args!("{value}"));
        text
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For the C API: ends with a zero.
    pub fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        // The last byte stays zero.
        let n = s.len().min(ROOM - 1 - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn read(text: &Text) -> String {
        // SAFETY: ends with a zero.
        unsafe { CStr::from_ptr(text.as_ptr()) }
            .to_string_lossy()
            .into_owned()
    }

    #[test]
    fn text_is_kept_and_cut_off_at_the_end() {
        assert_eq!(read(&Text::of(format_args!("{} {}", "id", 17))), "id 17");
        assert_eq!(read(&Text::of("")), "");
        assert_eq!(read(&Text::of("x".repeat(1000))), "x".repeat(ROOM - 1));
    }
}
