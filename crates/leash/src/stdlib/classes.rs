//! Character classes: `%a`, `%d` and so on.
//!
//! PUC Lua asks the C library, whose answers depend on the locale (`os.setlocale`). glibc and musl keep them in a table for each
//! thread, one word of bits for each character (`__ctype_b_loc`, part of the Linux Standard Base: the macros of `ctype.h` use it), and so
//! do we. LuaJIT has a table of its own, that of the locale C.

use super::dialect::{FOLLOWS_LOCALE, HAS_CLASS_G};

/// Bits of the table, as in `ctype.h` of glibc on little-endian machines.
mod bit {
    pub const UPPER: u16 = 1 << 8;
    pub const LOWER: u16 = 1 << 9;
    pub const ALPHA: u16 = 1 << 10;
    pub const DIGIT: u16 = 1 << 11;
    pub const XDIGIT: u16 = 1 << 12;
    pub const SPACE: u16 = 1 << 13;
    pub const GRAPH: u16 = 1 << 15;
    pub const CNTRL: u16 = 1 << 1;
    pub const PUNCT: u16 = 1 << 2;
    pub const ALNUM: u16 = 1 << 3;
}

/// The bits of the locale C.
static PLAIN: [u16; 256] = plain();

const fn plain() -> [u16; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 128 {
        let c = i as u8;
        let classes = [
            (c.is_ascii_uppercase(), bit::UPPER),
            (c.is_ascii_lowercase(), bit::LOWER),
            (c.is_ascii_alphabetic(), bit::ALPHA),
            (c.is_ascii_digit(), bit::DIGIT),
            (c.is_ascii_hexdigit(), bit::XDIGIT),
            (c == b' ' || (c >= 9 && c <= 13), bit::SPACE),
            (c.is_ascii_graphic(), bit::GRAPH),
            (c.is_ascii_control(), bit::CNTRL),
            (c.is_ascii_punctuation(), bit::PUNCT),
            (c.is_ascii_alphanumeric(), bit::ALNUM),
        ];
        let mut k = 0;
        while k < classes.len() {
            if classes[k].0 {
                table[i] |= classes[k].1;
            }
            k += 1;
        }
        i += 1;
    }
    table
}

/// For each letter, small or capital, the bit of its class; 0: it has none.
static CLASS_OF: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let letters = [
        (b'a', bit::ALPHA),
        (b'c', bit::CNTRL),
        (b'd', bit::DIGIT),
        (b'g', if HAS_CLASS_G { bit::GRAPH } else { 0 }),
        (b'l', bit::LOWER),
        (b'p', bit::PUNCT),
        (b's', bit::SPACE),
        (b'u', bit::UPPER),
        (b'w', bit::ALNUM),
        (b'x', bit::XDIGIT),
    ];
    let mut table = [0; 256];
    let mut i = 0;
    while i < letters.len() {
        let (letter, bit) = letters[i];
        table[letter as usize] = bit;
        table[letter.to_ascii_uppercase() as usize] = bit;
        i += 1;
    }
    table
}

/// The table of this thread's locale. To be fetched again when code of the script has run, for it may have set another.
#[derive(Clone, Copy)]
pub struct Classes(*const u16);

impl Classes {
    /// The table that is in force now.
    #[inline]
    pub fn now() -> Classes {
        if !FOLLOWS_LOCALE {
            return Classes(PLAIN.as_ptr());
        }
        Classes(of_locale())
    }

    /// Whether `c` has this bit.
    #[inline(always)]
    pub unsafe fn has(self, c: u8, bit: u16) -> bool {
        // SAFETY: 256 entries, by `now`; alive, by the caller.
        unsafe { *self.0.add(usize::from(c)) & bit != 0 }
    }

    /// Whether `c` is what `%letter` stands for.
    ///
    /// # Safety
    /// The locale is still the one of [`now`](Classes::now).
    #[inline]
    pub unsafe fn matches(self, c: u8, letter: u8) -> bool {
        match meaning(letter) {
            // SAFETY: by the caller.
            Meaning::Class(bit, yes) => unsafe { self.has(c, bit) == yes },
            Meaning::Zero(yes) => (c == 0) == yes,
            Meaning::Itself => c == letter,
        }
    }
}

/// What `%letter` stands for.
pub enum Meaning {
    /// Characters that have the bit, or have it not.
    Class(u16, bool),
    /// The zero byte, or all others.
    Zero(bool),
    /// Itself.
    Itself,
}

/// See [`Meaning`].
#[inline(always)]
pub fn meaning(letter: u8) -> Meaning {
    let small = letter & 0x20 != 0;
    match CLASS_OF[usize::from(letter)] {
        0 if letter | 0x20 == b'z' => Meaning::Zero(small),
        0 => Meaning::Itself,
        bit => Meaning::Class(bit, small),
    }
}

#[cfg(target_os = "linux")]
#[inline(always)]
fn of_locale() -> *const u16 {
    unsafe extern "C" {
        fn __ctype_b_loc() -> *const *const u16;
    }
    // SAFETY: no preconditions; the pointer is valid for the thread, and has entries from -128 to 255.
    unsafe { *__ctype_b_loc() }
}

#[cfg(not(target_os = "linux"))]
fn of_locale() -> *const u16 {
    PLAIN.as_ptr() // the C libraries of other systems have no such table: the locale C, until somebody needs more
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits are those of the C library.
    #[test]
    fn the_table_says_what_ctype_says() {
        let functions: [(unsafe extern "C" fn(i32) -> i32, u16); 10] = [
            (libc::isupper, bit::UPPER),
            (libc::islower, bit::LOWER),
            (libc::isalpha, bit::ALPHA),
            (libc::isdigit, bit::DIGIT),
            (libc::isxdigit, bit::XDIGIT),
            (libc::isspace, bit::SPACE),
            (libc::isgraph, bit::GRAPH),
            (libc::iscntrl, bit::CNTRL),
            (libc::ispunct, bit::PUNCT),
            (libc::isalnum, bit::ALNUM),
        ];
        for (f, bit) in functions {
            for c in 0..=255u8 {
                // SAFETY: the locale of a test is C; any byte may be asked for.
                let (theirs, ours) =
                    unsafe { (f(c.into()) != 0, Classes(of_locale()).has(c, bit)) };
                assert_eq!(ours, theirs, "{c} {bit:x}");
                assert_eq!(PLAIN[usize::from(c)] & bit != 0, theirs, "{c} {bit:x}");
            }
        }
    }
}
