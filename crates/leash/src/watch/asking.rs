//! Watching and killing coroutines, as the module asks for it: what [`Guest`] has to do with [wards](super::wards).

use super::ward::{PushFn, Ward, WarnFn};
use super::wards::WARD;
use super::{Watch, clock, watched};
use crate::guest::Guest;
use crate::limits::Stop;
use crate::sys::lua_State;
use std::ptr;
use std::time::Duration;

/// They have no notes.
const NO_NOTE: u64 = 0;

impl Guest {
    /// What to call for wards, which are coroutines that must yield in time whoever resumes them ([`ward`](Guest::ward)): to warn, and to make the error that ends one, which is *doomed* from then on.
    pub fn on_ward(&self, warn: WarnFn, push: PushFn) {
        let wards = &self.state().wards;
        wards.on_warn.set(Some(warn));
        wards.push.set(Some(push));
    }

    /// Has `co` yield in time, whoever resumes it, from its next resume on; from now on, if it is running. The main state never has
    /// to; its limits are there to be [inherited](Guest::ward_of). Limits that it has as a ward are replaced. False if it is watched by
    /// [`watch`](Guest::watch), or there is no memory for it.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state, which runs on this thread.
    pub unsafe fn ward(
        &self,
        co: *mut lua_State,
        timeout: Option<Duration>,
        warn: Option<Duration>,
        mark: u64,
    ) -> bool {
        let state = self.state();
        // SAFETY: by the caller.
        unsafe { self.unward(co) };
        let limits = Watch {
            kill: timeout,
            warn,
            poll: WARD,
            mark,
        };
        // SAFETY: by the caller.
        if !unsafe { self.watch(co, &limits, NO_NOTE, &[]) } {
            return false;
        }
        clock::prepare();
        if co == state.main.get() {
            return true;
        }
        let ward = state.wards.add(co);
        ward.limits
            .set(state.entry(co).map_or(ptr::null(), |e| e.watched.get()));
        state.take_samples();
        if state.jump(co) != 0 {
            state.sight();
        }
        true
    }

    /// Takes the limits of a ward away.
    ///
    /// # Safety
    /// As [`ward`](Guest::ward), and it is not inside itself.
    pub unsafe fn unward(&self, co: *mut lua_State) {
        let state = self.state();
        // SAFETY: by the caller.
        if unsafe { self.ward_of(co) }.is_none() {
            return;
        }
        state.wards.remove(co);
        state.wards_have_gone();
        if let Some(entry) = state.entry(co) {
            watched::release(entry.watched.replace(ptr::null()));
        }
        state.forget_watched();
        state.publish_seen();
    }

    /// The limits of a ward.
    ///
    /// # Safety
    /// As [`ward`](Guest::ward).
    pub unsafe fn ward_of(&self, co: *mut lua_State) -> Option<Watch> {
        // SAFETY: by the caller.
        unsafe { self.watch_of(co) }.filter(|w| w.poll == WARD)
    }

    /// The innermost ward that is being resumed around `l`, which runs: itself, or one that has resumed it.
    ///
    /// # Safety
    /// As [`ward`](Guest::ward).
    pub unsafe fn inside(&self, l: *mut lua_State) -> Option<*mut lua_State> {
        let state = self.state();
        // SAFETY: by the caller.
        if l != state.main.get() && unsafe { self.ward_of(l) }.is_some() {
            return Some(l);
        }
        let wards = state.wards.each();
        let running = wards.filter(|w| w.has_limits() && state.jump(w.co) != 0);
        running.min_by_key(|w| state.jump(w.co)).map(|w| w.co)
    }

    /// Whether it runs, or waits for one that it has resumed.
    ///
    /// # Safety
    /// As [`ward`](Guest::ward).
    pub unsafe fn is_running(&self, co: *mut lua_State) -> bool {
        self.state().jump(co) != 0
    }

    /// Whether this coroutine was ended, or is to be ended, by its limits as a ward or by its id.
    ///
    /// # Safety
    /// As [`ward`](Guest::ward).
    pub unsafe fn is_doomed(&self, co: *mut lua_State) -> bool {
        let ward = self.state().wards.get(co);
        ward.is_some_and(|w| w.doomed.get().is_some())
    }

    /// What is to be said of the end of such a coroutine.
    ///
    /// # Safety
    /// As [`ward`](Guest::ward).
    pub unsafe fn doom_of(&self, co: *mut lua_State) -> Option<Stop> {
        self.state().wards.get(co).and_then(Ward::report)
    }

    /// Whether the module has made an object of it, which it has from now on.
    ///
    /// # Safety
    /// As [`ward`](Guest::ward).
    pub unsafe fn has_doom_object(&self, co: *mut lua_State) -> bool {
        let ward = self.state().wards.get(co);
        ward.is_some_and(|w| w.has_object.replace(true))
    }

    /// Whether it is the first time that this is asked: it is said once why, and then that the coroutine is dead.
    ///
    /// # Safety
    /// As [`ward`](Guest::ward).
    pub unsafe fn tell_doom(&self, co: *mut lua_State) -> bool {
        let ward = self.state().wards.get(co);
        ward.is_some_and(|w| !w.told.replace(true))
    }
}
