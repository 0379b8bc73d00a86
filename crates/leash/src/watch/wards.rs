//! All wards of a state: which there are, and which were seen to run.
//!
//! They are linked to a list, which a signal handler walks through ([`super::sight`]); so who changes it says so first, and the handler then keeps
//! off until its next look. The map by coroutine is the owner thread's alone, outside the handler. Those that run are a short row of their
//! own: a state has thousands of wards, but few one inside the other.
//!
//! What is done with them: [`super::sight`] sees who runs, [`super::fate`] who is late and dies, [`super::ending`] that he has.

use super::frame::Frame;
use super::ward::{PushFn, Ward, WarnFn};
use crate::state::State;
use crate::sys::lua_State;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};
use watchdog::Ticks;

/// So many wards can be seen to run at the same time, one inside the other.
const MOST_SEEN: usize = 32;

/// [`Watch::poll`] of limits that are a ward's.
pub(super) const WARD: u32 = u32::MAX;

/// See the module's header.
pub struct Wards {
    first: Cell<*const Ward>,
    by_co: RefCell<Option<HashMap<usize, *const Ward>>>,
    /// Those that run, or wait for what they have resumed, as far as it was seen.
    seen: [Cell<*const Ward>; MOST_SEEN],
    pub(super) count: Cell<usize>,
    /// The list is being changed: a signal handler keeps off.
    pub(super) busy: Cell<bool>,
    /// What to call to warn, of calls with limits as well.
    pub on_warn: Cell<Option<WarnFn>>,
    /// What makes the error that ends one.
    pub push: Cell<Option<PushFn>>,
}

impl Default for Wards {
    fn default() -> Wards {
        Wards {
            first: Cell::new(ptr::null()),
            by_co: RefCell::new(None),
            seen: [const { Cell::new(ptr::null()) }; MOST_SEEN],
            count: Cell::new(0),
            busy: Cell::new(false),
            on_warn: Cell::new(None),
            push: Cell::new(None),
        }
    }
}

impl Wards {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.get().is_null()
    }

    /// The ward of a coroutine.
    pub fn get(&self, co: *mut lua_State) -> Option<&Ward> {
        let map = self.by_co.borrow();
        let ward = *map.as_ref()?.get(&(co as usize))?;
        // SAFETY: in the map until it is freed, which needs this thread.
        Some(unsafe { &*ward })
    }

    /// Those that were seen to run.
    pub fn seen(&self) -> impl Iterator<Item = &Ward> {
        let seen = self.seen[..self.count.get()].iter();
        // SAFETY: taken out before it is freed.
        seen.map(|w| unsafe { &*w.get() })
    }

    pub(super) fn is_seen(&self, ward: &Ward) -> bool {
        self.seen().any(|w| ptr::eq(w, ward))
    }

    fn changing<R>(&self, change: impl FnOnce() -> R) -> R {
        self.busy.set(true);
        compiler_fence(Ordering::SeqCst);
        let r = change();
        compiler_fence(Ordering::SeqCst);
        self.busy.set(false);
        r
    }

    pub(super) fn add(&self, co: *mut lua_State) -> &Ward {
        if let Some(ward) = self.get(co) {
            return ward;
        }
        let ward = Box::into_raw(Box::new(Ward::new(co))).cast_const();
        let mut map = self.by_co.borrow_mut();
        map.get_or_insert_default().insert(co as usize, ward);
        // SAFETY: just made; the first one is live.
        unsafe {
            (*ward).next.set(self.first.get());
            self.changing(|| {
                if let Some(next) = self.first.get().as_ref() {
                    next.prev.set(ward);
                }
                self.first.set(ward);
            });
            &*ward
        }
    }

    pub(super) fn remove(&self, co: *mut lua_State) {
        let ward = match self.by_co.borrow_mut().as_mut() {
            Some(map) => map.remove(&(co as usize)),
            None => None,
        };
        let Some(ward) = ward else {
            return;
        };
        // SAFETY: it was in the map, so it is live; and so are its neighbours.
        unsafe {
            self.forget_seen(&*ward);
            self.changing(|| {
                let (prev, next) = ((*ward).prev.get(), (*ward).next.get());
                match prev.as_ref() {
                    Some(prev) => prev.next.set(next),
                    None => self.first.set(next),
                }
                if let Some(next) = next.as_ref() {
                    next.prev.set(prev);
                }
            });
            drop(Box::from_raw(ward.cast_mut()));
        }
    }

    /// True if there was room. **Signal context.**
    pub(super) fn note_seen(&self, ward: &Ward) -> bool {
        let n = self.count.get();
        if n == MOST_SEEN {
            return false;
        }
        self.seen[n].set(ward);
        compiler_fence(Ordering::SeqCst);
        self.count.set(n + 1);
        true
    }

    pub(super) fn forget_seen(&self, ward: &Ward) {
        self.changing(|| {
            let n = self.count.get();
            if let Some(i) = (0..n).find(|&i| ptr::eq(self.seen[i].get(), ward)) {
                self.seen[i].set(self.seen[n - 1].get());
                self.count.set(n - 1);
            }
        });
        ward.times.stop();
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &Ward> {
        // SAFETY: linked, so live; who changes the list marks it as busy.
        let ward = |p: *const Ward| unsafe { p.as_ref() };
        std::iter::successors(ward(self.first.get()), move |w| ward(w.next.get()))
    }
}

impl Frame {
    /// Whether it is that of a ward.
    pub fn is_ward(&self) -> bool {
        self.limits().poll == WARD
    }
}

impl State {
    /// Its frame; zero: it does not run, nor wait for one that it has resumed.
    pub(super) fn jump(&self, co: *mut lua_State) -> usize {
        // SAFETY: a ward's coroutine is live.
        unsafe { self.layout.get().jump_of(co) }.unwrap_or(0)
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &Frame> {
        // SAFETY: open frames live in C frames below this one.
        let frame = |p: *const Frame| unsafe { p.as_ref() };
        std::iter::successors(frame(self.frame.get()), move |f| frame(f.outer))
    }

    pub(super) fn take_samples(&self) {
        if self.record().watching.sampling.start() {
            self.record().arm(Ticks::now());
        }
    }

    /// A coroutine is being freed.
    pub fn forget_ward(&self, co: *mut lua_State) {
        if !self.wards.is_empty() {
            self.wards.remove(co);
            self.wards_have_gone();
        }
    }

    pub(super) fn wards_have_gone(&self) {
        if self.wards.is_empty() {
            self.record().watching.sampling.stop();
        }
    }

    /// The state goes.
    pub fn forget_wards(&self) {
        while let Some(co) = self.wards.each().next().map(|w| w.co) {
            self.wards.remove(co);
        }
        self.wards_have_gone();
    }
}
