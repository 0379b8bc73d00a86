//! A text that is handed from one thread to another: what was said with an interrupt or a kill, or a traceback on its way back.
//!
//! One place, no lock: a lock that another thread holds at a `fork` would never be opened in the child. What comes later replaces what was there.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// See the module's header.
#[derive(Default)]
pub struct Said(AtomicPtr<String>);

impl Said {
    /// Puts a text there, or takes away what is there.
    pub fn put(&self, text: Option<String>) {
        let new = text.map_or(ptr::null_mut(), |t| Box::into_raw(Box::new(t)));
        drop(self.swap(new));
    }

    /// Takes it, once.
    pub fn take(&self) -> Option<String> {
        self.swap(ptr::null_mut())
    }

    fn swap(&self, new: *mut String) -> Option<String> {
        // AcqRel: who takes a text sees it whole.
        let old = self.0.swap(new, Ordering::AcqRel);
        // SAFETY: from `Box::into_raw`, and whoever swaps it out has it alone.
        (!old.is_null()).then(|| unsafe { *Box::from_raw(old) })
    }

    /// What is there, for a place that is used on one thread only. It stays until the next `put` or `take`.
    pub fn get(&self) -> Option<&str> {
        // SAFETY: by that contract nobody takes it away meanwhile.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }.map(String::as_str)
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        self.put(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_text_is_taken_once() {
        let said = Said::default();
        assert_eq!(said.take(), None);
        said.put(Some("a".into()));
        said.put(Some("b".into()));
        assert_eq!(said.get(), Some("b"));
        assert_eq!(said.take().as_deref(), Some("b"));
        assert_eq!(said.take(), None);
        said.put(Some("c".into()));
        said.put(None);
        assert_eq!(said.get(), None);
    }
}
