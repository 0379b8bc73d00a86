//! A ward: one coroutine that must yield in time, whoever resumes it, or that has been killed by its id.
//!
//! What a [frame](super::frame) is for one resume, a ward is for the life of its coroutine. It holds what the stop will say, and, where the
//! coroutine is resumed by functions that are not ours, the points in time that a frame would hold.
//!
//! It lies on the heap, linked to the others ([`super::wards`]), for the signal handler walks through them. Owner thread only.

use super::times::Times;
use super::watched::{self, Word};
use crate::limits::{Reason, Stop};
use crate::sys::lua_State;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::time::Duration;

/// See the module's header.
pub struct Ward {
    pub co: *mut lua_State,
    /// The next on the list of all, and the one before it. Null: none.
    pub next: Cell<*const Ward>,
    /// See `next`.
    pub prev: Cell<*const Ward>,
    /// Its limits; null: none, it is only to be killed. They live as long as the entry of the coroutine refers to them.
    pub limits: Cell<Word>,
    /// While it is [seen](super::wards::Wards::seen).
    pub times: Times,
    /// It has to die, and nothing it does matters any more.
    pub doomed: Cell<Option<Reason>>,
    /// The error that ends it was raised.
    pub thrown: Cell<bool>,
    /// The module has made an object of its report.
    pub has_object: Cell<bool>,
    /// Whoever resumes it has been told.
    pub told: Cell<bool>,
    report: RefCell<Option<Box<Stop>>>,
}

impl Ward {
    /// One without limits.
    pub fn new(co: *mut lua_State) -> Ward {
        Ward {
            co,
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            limits: Cell::new(ptr::null()),
            times: Times::never(),
            doomed: Cell::new(None),
            thrown: Cell::new(false),
            has_object: Cell::new(false),
            told: Cell::new(false),
            report: RefCell::new(None),
        }
    }

    /// Whether it is watched, and not only killed.
    pub fn has_limits(&self) -> bool {
        !self.limits.get().is_null()
    }

    /// It has to die.
    pub fn doom(&self, report: Stop) {
        self.doomed.set(Some(report.reason));
        self.report.replace(Some(Box::new(report)));
    }

    /// What is to be said of its end.
    pub fn report(&self) -> Option<Stop> {
        self.report.borrow().as_deref().cloned()
    }

    /// The limit, in words.
    pub fn limit(&self) -> String {
        // SAFETY: see `limits`.
        let limits = unsafe { watched::limits(self.limits.get()) };
        let kill = limits.and_then(|l| l.watch().kill);
        kill.map_or_else(String::new, crate::limits::time)
    }
}

/// What a function is told that is to warn.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Warning {
    /// [`Watch::mark`](super::Watch::mark), or that of a call.
    pub mark: u64,
    /// Since the clock was started.
    pub elapsed: Duration,
    /// From the same moment to the end; none: it may go on for ever.
    pub timeout: Option<Duration>,
}

/// What that function wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Nothing.
    None,
    /// The limits start anew.
    Afresh,
    /// So much more time.
    Grant(Duration),
}

/// Called in a hook, to warn. It may push, call and raise, as a hook may. The last is where the answer goes.
pub type WarnFn = unsafe extern "C-unwind" fn(*mut lua_State, *const Warning, *mut Extension);

/// Called in the hook that is about to raise an error in the first coroutine, to end the second: pushes the object that is to be raised, or
/// nothing, and says which. True: no message handler of the script's will be called for it. It raises nothing, and calls nothing of the script.
pub type PushFn = unsafe extern "C-unwind" fn(*mut lua_State, *mut lua_State, bool) -> bool;
