//! What a state does with what others ask of its coroutines by their ids: kills and tracebacks.
//!
//! An [id](crate::target) can be known to anybody, so what is asked arrives on the target's word, from any thread. The hook runs in whatever runs, and
//! looks through the targets here, if one of them has been asked for such since the last look; for an interrupt it looks only whether it is meant itself ([`crate::hook`]).
//!
//! A traceback is taken in the hook, on the state's thread, and handed back through the target. So a state that runs nothing of Lua, since it waits
//! in a C function, does not answer.

use crate::guest::Guest;
use crate::limits::Reason;
use crate::request::{CHECK, TARGETS};
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::target::{self, KILLED, TRACE, Target};
use crate::trace;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use watchdog::Ticks;

/// Why there is no traceback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untraced {
    /// Nothing has this id, or no longer.
    Gone,
    /// Its state has run nothing of Lua meanwhile.
    Timeout,
}

/// Ends the coroutine or state with this id, from any thread: it cannot be caught inside. False if it is unknown.
///
/// A coroutine ends, and everything that it has resumed. A state, or its main state, is unwound to its outermost call with limits; if none is open, to the
/// host's own protected call.
pub fn kill(id: u64, message: Option<String>) -> bool {
    target::ask(id, KILLED, message)
}

/// Where the coroutine or state with this id is, from another thread than its own. It is not stopped.
///
/// # Errors
/// See [`Untraced`]. It waits up to `timeout`.
pub fn traceback(id: u64, timeout: Duration) -> Result<String, Untraced> {
    const FIRST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_millis(2);
    let until = Ticks::now().after(timeout);
    let mut pause = FIRST;
    let trace = target::trace_of(id).ok_or(Untraced::Gone)?;
    trace.take();
    loop {
        // Again, if another thread that asked for the same has taken the answer.
        if !target::ask(id, TRACE, None) {
            return Err(Untraced::Gone);
        }
        std::thread::sleep(pause);
        if let Some(text) = trace.take() {
            return Ok(text);
        }
        if Ticks::now() >= until {
            return Err(Untraced::Timeout);
        }
        pause = (pause * 2).min(LONGEST);
    }
}

impl Target {
    fn asks_for_more(&self) -> bool {
        self.flags() & (KILLED | TRACE) != 0
    }
}

impl State {
    /// Calls `f` for each coroutine that has a target. **Signal context.**
    fn for_each_target(&self, mut f: impl FnMut(*mut lua_State, &'static Target)) {
        let mut look = |co, entry: &crate::coroutines::Entry| {
            if let Some(target) = entry.target.get() {
                f(co, target);
            }
        };
        self.for_each_live(&mut look);
        if !sys::HOOK_PER_COROUTINE {
            self.coroutines.for_each(look);
        }
        if let Some(whole) = self.whole.get() {
            f(self.main.get(), whole);
        }
    }

    /// Whether the hook has to run in whatever runs. **Signal context.** No look at all the coroutines, which the hook would take at each instruction while one that is
    /// suspended is interrupted.
    pub fn is_asked_for_more(&self) -> bool {
        let whole = self.whole.get();
        self.record().asked_for_more.load(Ordering::SeqCst) || whole.is_some_and(|t| t.flags() != 0)
    }

    /// Does what is asked. `l` runs the hook.
    pub fn answer_more(&self, l: *mut lua_State) {
        let asked = &self.record().asked_for_more;
        if self.record().request.flags() & TARGETS == 0 || !asked.load(Ordering::SeqCst) {
            return;
        }
        loop {
            // First this, then the look: who asks meanwhile is seen by one or the other. Swaps: each comes after what it takes the place of, with all that was done before that.
            asked.swap(false, Ordering::SeqCst);
            // One at a time: what is done with it may look through the coroutines itself.
            let mut found = None;
            self.for_each_target(|co, t| {
                if t.asks_for_more() {
                    found = Some((co, t));
                }
            });
            let Some((co, target)) = found else {
                return;
            };
            asked.swap(true, Ordering::SeqCst); // there may be others, and what follows may not come back
            if target.answer(TRACE) {
                target.trace.put(Some(self.trace_of(l, co, target)));
            }
            if target.answer(KILLED) {
                let said = target.said.take();
                if co != self.main.get() {
                    self.kill_coroutine(l, co, said);
                } else if self.hit_outermost(Reason::Kill) {
                    self.said.replace(said);
                    self.ask_self(CHECK);
                } else {
                    self.kill_coroutine(l, co, said.or_else(|| Some("killed".into())));
                }
            }
        }
    }

    /// What was said with the kill, for the call that it ends.
    pub fn take_said(&self, enclosing: bool) -> Option<String> {
        if enclosing { None } else { self.said.take() }
    }

    fn trace_of(&self, l: *mut lua_State, co: *mut lua_State, target: &Target) -> String {
        let whole = self.whole.get().is_some_and(|w| ptr::eq(w, target));
        let mut text = String::new();
        let co = if whole { l } else { co };
        // SAFETY: live: it has a target.
        let runs = unsafe { self.layout.get().jump_of(co) } != Some(0);
        match runs {
            true => trace::capture(self, co, self.hookless.is_any(), &mut text),
            false => trace::capture_one(co, &mut text),
        }
        text
    }
}

impl Guest {
    /// The id of the state as a whole: what it means is whatever runs in it. None when there are 8 million ids.
    pub fn state_id(&self) -> Option<u64> {
        let state = self.state();
        state.stay_reachable();
        if state.whole.get().is_none() {
            state.whole.set(target::take(state.record()));
        }
        state.whole.get().map(target::id)
    }

    /// [`traceback`], of a coroutine of this state or of the state itself, from inside. None if the id is not one of them.
    ///
    /// # Safety
    /// In a C function that Lua has called in `l`, a coroutine of this state.
    pub unsafe fn traceback(&self, l: *mut lua_State, id: u64) -> Option<String> {
        let state = self.state();
        let mut found = None;
        state.for_each_target(|co, t| {
            if target::id(t) == id {
                found = Some((co, t));
            }
        });
        found.map(|(co, target)| state.trace_of(l, co, target))
    }

    /// What was said with the interrupt that is being handled. It stays there while its handler runs.
    pub fn said(&self) -> Option<&str> {
        self.state().heard.get()
    }
}
