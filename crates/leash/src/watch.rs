//! Coroutines that must yield in time.
//!
//! A watch belongs to a coroutine and counts from each resume to the yield that ends it. The resume goes through
//! [`Guest::resume`], which notes the limits in a [frame](frame) on the C stack, calls `lua_resume`, and takes the frame away. While
//! frames are open, the record of the state holds the earliest of their points in time, and the timer thread [looks](watching) at it.
//! When one has passed, the hook is set on that coroutine alone, and asks the module what to do ([`WatchFn`]): warn, and perhaps
//! start afresh, or kill.
//!
//! **What a resume pays** is a dozen stores, a look into the set of coroutines, and a [clock](clock) of 3 ns. There is no fence and no arming:
//! the alarm stands at some earlier deadline, and when it fires, the timer thread reads the present one and moves on to it.
//!
//! [`Guest::resume`] is a function of its own, never inlined: a yield is a `longjmp`, after which the processor predicts returns to the
//! wrong places, and how many of them happen to be right depends on how deeply calls are nested between the interpreter and
//! `lua_resume`. Measured on 5.2 to 5.4 (AMD Zen 4): one function in between, as in `coroutine.resume`, 74 ns; none 80; two 92.
//!
//! **What a coroutine pays** is a word: limits are [shared](watched).
//!
//! **A kill** is the same error as any stop, repeated at each instruction until the coroutine is dead or has returned; the frame
//! is then closed, and the coroutine counts as dead whatever it did.

mod asking;
mod clock;
mod ending;
mod fate;
mod frame;
mod sampling;
mod sight;
mod times;
mod ward;
mod wards;
mod watched;
mod watching;

pub use frame::Frame;
pub use ward::{Extension, PushFn, WarnFn, Warning};
pub use wards::Wards;
pub use watched::{Notes, Watched, Word, release};
pub use watching::Watching;

use crate::guest::Guest;
use crate::hook;
use crate::request::{TARGETS, WATCH};
use crate::state::State;
use crate::sys::{self, lua_State};
use std::cell::Cell;
use std::ffi::c_int;
use std::time::Duration;
use times::Times;
use watching::NEVER;

/// Limits of one coroutine, counted from each resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// When it is killed.
    pub kill: Option<Duration>,
    /// When its owner is told.
    pub warn: Option<Duration>,
    /// Where the limits follow a clock of the user's ([`Guest::resume_polled`]): instead of our timer, the [`WatchFn`] is called with
    /// [`Event::Poll`] every so many instructions. (LuaJIT: meanwhile no code is compiled, which would count none.)
    pub poll: u32,
    /// A number of the watcher's, to be kept with the limits.
    pub mark: u64,
}

/// What has happened to a watched coroutine.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The time to warn. Answer [`Answer::Afresh`] to start both limits anew.
    Warn,
    /// The time to kill; the answer does not matter.
    Kill,
    /// Look at your clock. Answer [`Answer::Kill`] to kill.
    Poll,
}

/// What to do.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    GoOn,
    /// Both limits start anew.
    Afresh,
    /// Kill.
    Kill,
}

/// Called in the hook of the watched coroutine. It may push, call and raise, as a hook may.
pub type WatchFn = unsafe extern "C-unwind" fn(*mut lua_State, Event) -> Answer;

/// How a resume ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// As `lua_resume` returned: a status, and the number of results on the coroutine's stack.
    Status(c_int, c_int),
    /// Its watch killed it, now or earlier. Nothing of it is to be used.
    Killed,
}

/// The same in one register.
#[derive(Clone, Copy)]
struct Ended {
    status: c_int,
    nres: c_int,
}

impl Ended {
    /// No status of Lua's is negative.
    const KILLED: Ended = Ended {
        status: -1,
        nres: 0,
    };
}

impl From<Ended> for Resumed {
    #[inline]
    fn from(ended: Ended) -> Resumed {
        match ended.status {
            -1 => Resumed::Killed,
            status => Resumed::Status(status, ended.nres),
        }
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(NEVER)
}

impl Guest {
    /// What to call when a watch is due.
    pub fn on_watch(&self, f: WatchFn) {
        self.state().on_watch.set(Some(f));
    }

    /// Watches `co`, from its next resume through [`resume`](Guest::resume) on. A note is kept along with the limits, once for all
    /// coroutines that give the same key: so a text for a key that is [known](Guest::knows_note) does not matter. False if it is
    /// watched already, or there is no memory for it.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state.
    pub unsafe fn watch(&self, co: *mut lua_State, limits: &Watch, key: u64, note: &[u8]) -> bool {
        let state = self.state();
        state.stay_reachable();
        if !sys::HOOK_PER_COROUTINE && co != state.main.get() && !state.coroutines.insert(co) {
            return false; // LuaJIT: only those that are watched are in the set
        }
        let Some(entry) = state.entry(co) else {
            return false;
        };
        if !entry.watched.get().is_null() {
            return false;
        }
        state.forget_watched();
        clock::prepare();
        let notes = &state.coroutines.notes;
        entry.watched.set(notes.watched(limits, key, note));
        true
    }

    /// Whether there is a note of this key.
    pub fn knows_note(&self, key: u64) -> bool {
        self.state().coroutines.notes.has(key)
    }

    /// The limits of a watched coroutine.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state.
    pub unsafe fn watch_of(&self, co: *mut lua_State) -> Option<Watch> {
        // SAFETY: by the caller.
        unsafe { watched::limits(self.state().word(co)) }.map(Watched::watch)
    }

    /// The note of a watched coroutine, which lives as long as that.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state.
    pub unsafe fn note_of(&self, co: *mut lua_State) -> Option<*const [u8]> {
        // SAFETY: by the caller.
        unsafe { watched::limits(self.state().word(co)) }.map(|w| std::ptr::from_ref(w.note()))
    }

    /// Whether its watch has killed this coroutine.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state.
    pub unsafe fn is_killed(&self, co: *mut lua_State) -> bool {
        watched::is_killed(self.state().word(co))
    }

    /// A flag of the module's, which costs next to nothing to look at: before each resume it has to be asked by which clock.
    pub fn ask_before_resume(&self, yes: bool) {
        self.state().coroutines.asks.set(yes);
    }

    /// What [`ask_before_resume`](Guest::ask_before_resume) has set.
    #[inline]
    pub fn asks_before_resume(&self) -> bool {
        self.state().coroutines.asks.get()
    }

    /// `lua_resume` of `co` from `l`, with `nargs` arguments on its stack, under its watch if it has one.
    ///
    /// # Safety
    /// As `lua_resume`, on the state's thread.
    #[inline]
    pub unsafe fn resume(&self, l: *mut lua_State, co: *mut lua_State, nargs: c_int) -> Resumed {
        // SAFETY: by the caller.
        unsafe { self.resume_watched(l, co, nargs) }.into()
    }

    #[cfg_attr(not(feature = "luajit"), inline(never))] // see the header
    #[cfg_attr(feature = "luajit", inline(always))]
    unsafe fn resume_watched(&self, l: *mut lua_State, co: *mut lua_State, nargs: c_int) -> Ended {
        // SAFETY: by the caller.
        unsafe { self.resume_by(l, co, nargs, false) }
    }

    /// The same, with limits that follow a clock of the user's.
    ///
    /// # Safety
    /// As [`resume`](Guest::resume).
    #[cold]
    pub unsafe fn resume_polled(
        &self,
        l: *mut lua_State,
        co: *mut lua_State,
        nargs: c_int,
    ) -> Resumed {
        // SAFETY: by the caller.
        unsafe { self.resume_by(l, co, nargs, true) }.into()
    }

    #[inline(always)]
    unsafe fn resume_by(
        &self,
        l: *mut lua_State,
        co: *mut lua_State,
        nargs: c_int,
        polled: bool,
    ) -> Ended {
        let mut nres = 0;
        let state = self.state();
        if !sys::HOOK_PER_COROUTINE && state.record().request.flags() & TARGETS != 0 {
            hook::before_resume(state, co);
        }
        let word = state.word(co);
        if watched::is_killed(word) {
            return Ended::KILLED;
        }
        // SAFETY: the coroutine is alive.
        let Some(limits) = (unsafe { watched::limits(word) }) else {
            // Not watched; or the main state, which never times out.
            // SAFETY: by the caller.
            let status = unsafe { sys::lua_resume(co, l, nargs, &mut nres) };
            return Ended { status, nres };
        };
        let frame = Frame {
            outer: state.frame.get(),
            co,
            limits,
            times: Times::never(),
            polled,
            killed: Cell::new(false),
        };
        let outer_until = state.watch_until.get();
        if polled {
            // SAFETY: live coroutines, on their thread; `l` runs a C function that Lua has called.
            unsafe {
                if !sys::HOOK_PER_COROUTINE {
                    state.interpret_meanwhile(l);
                }
                hook::start_polling(state, co, limits.poll);
            }
        } else {
            frame.start(limits);
        }
        // SAFETY: the frame is closed below, and `lua_resume` catches all errors.
        let status = unsafe {
            state.open_frame(&frame, outer_until);
            sys::lua_resume(co, l, nargs, &mut nres)
        };
        state.close_frame(&frame, outer_until);
        if polled || frame.killed.get() {
            // SAFETY: as above.
            unsafe { hook::stop_watching(state, co) };
        }
        if polled {
            state.compile_unless_limited();
        }
        if frame.killed.get() {
            state.one_has_died(frame.is_ward());
        }
        if state.record().request.flags() & WATCH != 0 {
            state.answer_watch();
        }
        if frame.killed.get() {
            return Ended::KILLED;
        }
        Ended { status, nres }
    }
}

impl State {
    /// The word of a coroutine: its limits, and whether it was killed.
    #[inline(always)]
    fn word(&self, co: *mut lua_State) -> Word {
        let (last, word) = self.last_watched.get();
        if last == co {
            return word;
        }
        self.find_watched(co)
    }
}
