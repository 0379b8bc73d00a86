//! What is kept of a watch, and how little of it for each coroutine.
//!
//! Programs watch thousands of coroutines with the same limits from the same place. So limits are kept once ([`Watched`], 40 bytes) for
//! all coroutines in a row that share them, and what the watcher wants to remember, a traceback of half a kilobyte, once for each place
//! ([`Note`]). A coroutine has one word in its [entry](crate::coroutines::Entry): the address of its `Watched`, the lowest bit of which
//! says that it was killed.
//!
//! Always true: `users` counts the coroutines that refer to a `Watched`, and the `Watched`s that refer to a `Note`; what nobody refers to is
//! freed. A frame refers to the `Watched` of a coroutine that is being resumed, which is therefore not collected.
//!
//! Used on the owner thread only, and, but for reading a `Watched`, never by a signal handler.

use super::watching::NEVER;
use super::{Watch, nanos};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr;
use std::time::Duration;

/// Limits, as many coroutines share them.
pub struct Watched {
    /// Nanoseconds, or `NEVER`.
    pub kill: u64,
    /// Nanoseconds, or `NEVER`.
    pub warn: u64,
    mark: u64,
    note: *const Note,
    /// See [`Watch::poll`].
    pub poll: u32,
    users: Cell<u32>,
}

/// What coroutines remember together.
struct Note {
    key: u64,
    text: Box<[u8]>,
    users: Cell<u32>,
    /// The limits that came with this note last: they often come again.
    latest: Cell<*const Watched>,
    home: *const Notes,
}

/// All notes of a state, by their keys. It must not move while it has any.
pub struct Notes(RefCell<Option<HashMap<u64, *const Note>>>);

impl Notes {
    /// None yet. Allocates nothing.
    pub const fn new() -> Notes {
        Notes(RefCell::new(None))
    }

    /// Whether there is a note of this key.
    pub fn has(&self, key: u64) -> bool {
        let map = self.0.borrow();
        map.as_ref().is_some_and(|map| map.contains_key(&key))
    }

    fn note(&self, key: u64, text: &[u8]) -> *const Note {
        let mut map = self.0.borrow_mut();
        *map.get_or_insert_default().entry(key).or_insert_with(|| {
            Box::into_raw(Box::new(Note {
                key,
                text: text.into(),
                users: Cell::new(0),
                latest: Cell::new(ptr::null()),
                home: self,
            }))
        })
    }

    /// Limits for one more coroutine, to be given back by [`release`].
    pub fn watched(&self, watch: &Watch, key: u64, text: &[u8]) -> *const Watched {
        let new = Watched {
            kill: watch.kill.map_or(NEVER, nanos),
            warn: watch.warn.map_or(NEVER, nanos),
            mark: watch.mark,
            note: self.note(key, text),
            poll: watch.poll,
            users: Cell::new(1),
        };
        // SAFETY: just found or made; `latest` is taken back before what it points to is freed.
        unsafe {
            let note = &*new.note;
            if let Some(latest) = note.latest.get().as_ref()
                && (latest.kill, latest.warn, latest.mark, latest.poll)
                    == (new.kill, new.warn, new.mark, new.poll)
                && latest.users.get() < u32::MAX
            {
                latest.users.set(latest.users.get() + 1);
                return latest;
            }
            note.users.set(note.users.get() + 1);
            let watched = Box::into_raw(Box::new(new));
            note.latest.set(watched);
            watched
        }
    }
}

impl Watched {
    /// The shorter of the limits.
    pub fn shortest(&self) -> u64 {
        self.kill.min(self.warn)
    }

    /// What [`Notes::watched`] was given.
    pub fn watch(&self) -> Watch {
        let limit = |nanos| (nanos != NEVER).then(|| Duration::from_nanos(nanos));
        Watch {
            kill: limit(self.kill),
            warn: limit(self.warn),
            poll: self.poll,
            mark: self.mark,
        }
    }

    /// See [`watch`](Self::watch).
    pub fn note(&self) -> &[u8] {
        // SAFETY: this is one of the note's users.
        unsafe { &(*self.note).text }
    }
}

/// A coroutine's word: null, or the address of its limits, and whether it was killed.
pub type Word = *const Watched;

const KILLED: usize = 1;

/// The word of a coroutine that was killed.
pub fn killed(word: Word) -> Word {
    word.map_addr(|a| a | KILLED)
}

/// Whether it was.
#[inline]
pub fn is_killed(word: Word) -> bool {
    word.addr() & KILLED != 0
}

/// The limits behind a word.
///
/// # Safety
/// They are freed with the last coroutine that shares them.
#[inline]
pub unsafe fn limits<'a>(word: Word) -> Option<&'a Watched> {
    // SAFETY: by the caller.
    unsafe { word.map_addr(|a| a & !KILLED).as_ref() }
}

/// The end of a word, with its coroutine.
pub fn release(word: Word) {
    // SAFETY: counted by `watched`, and not given back yet.
    let Some(watched) = (unsafe { limits(word) }) else {
        return;
    };
    watched.users.set(watched.users.get() - 1);
    if watched.users.get() > 0 {
        return;
    }
    // SAFETY: nobody refers to it any more but perhaps `latest`; then the same of the note and the map that holds it, which lives
    // as long as the state.
    unsafe {
        let note = watched.note;
        let limits = ptr::from_ref(watched);
        if (*note).latest.get() == limits {
            (*note).latest.set(ptr::null());
        }
        drop(Box::from_raw(limits.cast_mut()));
        (*note).users.set((*note).users.get() - 1);
        if (*note).users.get() == 0 {
            let mut map = (*(*note).home).0.borrow_mut();
            if let Some(notes) = map.as_mut() {
                notes.remove(&(*note).key);
                if notes.is_empty() {
                    *map = None;
                }
            }
            drop(Box::from_raw(note.cast_mut()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(kill: u64) -> Watch {
        Watch {
            kill: Some(Duration::from_millis(kill)),
            ..Watch::default()
        }
    }

    #[test]
    fn limits_and_notes_are_shared_and_freed() {
        let notes = Notes::new();
        let count = || notes.0.borrow().as_ref().map_or(0, HashMap::len);
        let a = notes.watched(&watch(1), 7, b"here");
        let b = notes.watched(&watch(1), 7, b"here");
        let c = notes.watched(&watch(2), 7, b"");
        let d = notes.watched(&watch(2), 8, b"there");
        assert_eq!(a, b);
        assert!(a != c && c != d);
        assert_eq!(count(), 2);
        assert!(notes.has(7) && !notes.has(9));
        // SAFETY: they have users.
        unsafe {
            assert_eq!(limits(killed(d)).map(Watched::note), Some(&b"there"[..]));
            assert_eq!(limits(c).map(Watched::watch), Some(watch(2)));
            assert_eq!((*a).note, (*c).note);
        }
        release(a);
        release(killed(c));
        assert_eq!(count(), 2);
        release(b);
        assert_eq!(count(), 1);
        // What was latest is gone: the same limits are made anew.
        let e = notes.watched(&watch(1), 7, b"here");
        release(d);
        release(e);
        assert_eq!(count(), 0);
        assert!(notes.0.borrow().is_none());
        release(ptr::null());
    }

    #[test]
    fn limits_are_small() {
        assert_eq!(size_of::<Watched>(), 40);
    }
}
