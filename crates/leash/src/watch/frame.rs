//! One resume of a watched coroutine that is going on.
//!
//! A frame is plain data on the C stack of the resume, which no error jumps over: `lua_resume` catches all. Frames are linked, the
//! innermost first; the signal handler walks through them, so a frame is complete before it is linked.

use super::times::Times;
use super::watched::{self, Watched};
use super::watching::NEVER;
use super::{Answer, Event, clock};
use crate::request::WATCH;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::cell::Cell;
use std::sync::atomic::Ordering;
use watchdog::Ticks;

/// See the module's header.
pub struct Frame {
    pub outer: *const Frame,
    pub co: *mut lua_State,
    pub limits: *const Watched,
    pub times: Times,
    /// The limits follow a clock of the user's, by a count hook.
    pub polled: bool,
    pub killed: Cell<bool>,
}

impl Frame {
    /// The next point in time at which something is due, outer frames not counted.
    #[inline]
    pub fn next(&self) -> u64 {
        self.times.next()
    }

    /// Both limits count from now on.
    #[inline]
    pub fn start(&self, limits: &Watched) {
        self.times.start(limits, clock::start(limits.shortest()));
    }

    pub fn limits(&self) -> &Watched {
        // SAFETY: those of a coroutine that is being resumed.
        unsafe { &*self.limits }
    }
}

impl State {
    /// The word of a coroutine. Remembers the answer: most programs resume the same coroutine many times.
    #[inline(never)]
    pub(super) fn find_watched(&self, co: *mut lua_State) -> watched::Word {
        let word = self.entry(co).map_or(std::ptr::null(), |e| e.watched.get());
        self.last_watched.set((co, word));
        word
    }

    /// Owner: sets the earliest point in time of all frames.
    #[inline]
    pub(super) fn set_watch_until(&self, until: u64) {
        self.watch_until.set(until);
        let record = self.record();
        record.watching.set(until);
        if record.lookout.has_to_be_told(until) {
            self.tell_timer(until);
        }
    }

    #[cold]
    fn tell_timer(&self, until: u64) {
        self.record().lookout.told(until);
        self.record().arm(Ticks::now()); // it looks at everything, and finds out when to look again
    }

    /// The frame of a coroutine that is being resumed under a watch.
    fn frame_of(&self, co: *mut lua_State) -> Option<&Frame> {
        let mut f = self.frame.get();
        // SAFETY: open frames live in C frames below this one.
        while let Some(frame) = unsafe { f.as_ref() } {
            if frame.co == co {
                return Some(frame);
            }
            f = frame.outer;
        }
        None
    }

    /// Calls `f` for each coroutine whose watch is due. **Signal context.**
    pub fn for_each_late(&self, mut f: impl FnMut(*mut lua_State)) {
        let now = Ticks::now().as_nanos();
        let mut p = self.frame.get();
        // SAFETY: as above.
        while let Some(frame) = unsafe { p.as_ref() } {
            // Where all coroutines share a hook, a late one waits until what it resumed comes back.
            let reachable = sys::HOOK_PER_COROUTINE || std::ptr::eq(p, self.frame.get());
            if reachable && (frame.killed.get() || frame.next() <= now) {
                f(frame.co);
            }
            p = frame.outer;
        }
    }

    /// The base count of a polled watch on the coroutine that runs; LuaJIT: of the innermost.
    pub fn polling(&self, l: *mut lua_State) -> Option<u32> {
        let mut frames = self.frames().filter(|f| f.polled);
        let frame = frames.find(|f| !sys::HOOK_PER_COROUTINE || f.co == l)?;
        Some(frame.limits().poll)
    }

    /// Calls `f` for each coroutine that is being resumed under a polled watch.
    pub fn for_each_polled(&self, f: impl FnMut(*mut lua_State)) {
        self.frames().filter(|f| f.polled).map(|f| f.co).for_each(f);
    }

    /// What is to be done with the coroutine that runs this hook. True: it has to die. **longjmp**: the module's function may
    /// raise.
    ///
    /// # Safety
    /// `l` runs this hook; `counted` if it is the count hook of a polled watch.
    pub unsafe fn look_at_watch(&self, l: *mut lua_State, counted: bool) -> bool {
        let Some(frame) = self.frame_of(l).filter(|f| !f.is_ward()) else {
            return false;
        };
        if frame.killed.get() {
            return true;
        }
        let ask = |event| match self.on_watch.get() {
            // SAFETY: `l` runs this hook; nothing here owns anything.
            Some(f) => unsafe { f(l, event) },
            None => Answer::GoOn,
        };
        if frame.polled {
            if counted && ask(Event::Poll) == Answer::Kill {
                self.kill(frame);
            }
            return frame.killed.get();
        }
        let now = Ticks::now().as_nanos();
        if frame.times.warn_at.get() <= now {
            frame.times.warn_at.set(NEVER); // once, also if the function raises
            self.set_watch_until(self.earliest_frame());
            if ask(Event::Warn) == Answer::Afresh {
                frame.start(frame.limits());
                self.set_watch_until(self.earliest_frame());
            }
            return false;
        }
        if frame.times.kill_at.get() <= now {
            self.kill(frame); // also if the function raises
            ask(Event::Kill);
            return true;
        }
        false
    }

    /// From here on the coroutine is dead, whatever it does.
    fn kill(&self, frame: &Frame) {
        frame.killed.set(true);
        if let Some(entry) = self.entry(frame.co) {
            entry.watched.set(watched::killed(entry.watched.get()));
        }
        self.forget_watched();
    }

    /// A frame has been closed, and a late one was asked for. Perhaps it was this one; if not, it is asked for again.
    #[cold]
    pub(super) fn answer_watch(&self) {
        let request = &self.record().request;
        self.place.clear_pending();
        request.answer(WATCH);
        let mut late = false;
        self.for_each_late(|_| late = true);
        if late || self.is_ward_late() {
            self.ask_self(WATCH);
        } else if request.flags() == 0 {
            self.record().settled();
        } else {
            self.place.set_pending();
        }
    }

    pub(super) fn earliest_frame(&self) -> u64 {
        let (mut earliest, mut p) = (NEVER, self.frame.get());
        // SAFETY: as above.
        while let Some(frame) = unsafe { p.as_ref() } {
            earliest = earliest.min(frame.next());
            p = frame.outer;
        }
        earliest
    }

    /// Opens a frame, which has to be closed at the same place.
    ///
    /// # Safety
    /// It stays where it is until then.
    #[inline]
    pub(super) unsafe fn open_frame(&self, frame: &Frame, outer_until: u64) {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        self.frame.set(frame);
        self.set_watch_until(outer_until.min(frame.next()));
    }

    /// Closes the innermost frame.
    #[inline]
    pub(super) fn close_frame(&self, frame: &Frame, outer_until: u64) {
        self.frame.set(frame.outer);
        self.watch_until.set(outer_until);
        self.record().watching.set(outer_until); // the timer thread has been told of it
    }
}
