//! Delivery: how a request that is marked on a state's record gets our hook onto its coroutines.
//!
//! Nearly all of this runs in **signal context**: loads and stores, `gettid`, `lua_sethook`. No allocation, no lock, no panic, no
//! thread-local. The signal interrupts the thread that runs the state at any instruction, also in the middle of Lua's own functions and of
//! ours. What makes it safe to touch the state all the same:
//!
//! - it is this thread's: the record names its owner, and is asked again once the state can no longer be taken away ([`on_poke`]);
//! - where other threads may run it too (a module's state), the code that is interrupted is found on this very stack ([`crate::home`]);
//! - what is hooked is alive and set up: the set of coroutines leaves out those that Lua is still making, and is not read while it is
//!   being changed.
//!
//! **A delivery may be lost**: Lua overwrites what `lua_sethook` has stored in a few places, and so may the script's own `debug.sethook`. So the
//! timer thread asks again until the call that set the limit has control, and each time all is set anew. Asked in vain some times, the
//! handler also switches hooks on where they are off ([`hookless`]).
//!
//! Whom a request is for decides who is hooked: a call whose limit is reached, all coroutines; an interrupt by an id, that coroutine; a watch, those
//! that are being resumed. (LuaJIT: one hook for all; it looks who runs.)

use super::placing::{OUR_COUNT, is_ours, keep_on, set_on};
use super::{is_interrupted, is_of};
use crate::coroutines::{Entry, SavedHook};
use crate::record::{RECORDS, RECOUNT_STEP, Record};
use crate::request::{CHECK, INTERRUPT, KILL, RECOUNT, SAMPLE, SWEEP, TARGETS, WATCH};
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hookless, jit};
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use watchdog::{Ticks, cpu::own_time, poke::Thread};

/// Deliveries of the same stop, or looks at the count, after which hooks are switched on where they are off.
const PATIENCE: u32 = 3;

/// LuaJIT: how many instructions the hook stays for a call that has expired while it was suspended. Its coroutine may run for some instructions at a
/// time only; whoever resumes it again and again does so within this many of his own.
const LINGER: u32 = 200;

/// More instructions than any interpreter runs in a microsecond.
const UNSEEN_PER_US: i64 = 1000;

/// The signal handler. **Signal context**: loads and stores, `gettid`, `lua_sethook`. No allocation, no lock, no panic, no
/// thread-local.
#[inline(never)] // compared by address: it must have one
pub fn on_poke() {
    let me = Thread::calling(); // once: ten thousand states may be late at the same time
    #[cfg(feature = "luajit")]
    jit::sampling::poked(me);
    let mut walk: Option<Walk> = None;
    RECORDS.for_each_pending(|r: &'static Record| {
        if r.request.flags() == 0 || !is_of(r, me) {
            return;
        }
        // From here on the state stays on this thread (`home`), if it still is.
        r.inspectors.enter();
        if is_of(r, me) {
            // SAFETY: an owner is stored only while the state is attached, and taken away before it goes, on that thread.
            // This is that thread, so nothing but the code that this handler interrupts uses the state.
            if let Some(state) = unsafe { r.state.load(Ordering::Acquire).as_ref() }
                && !deliver_meanwhile(state, r)
            {
                // To find out whether the state runs here may take a walk through all coroutines, too.
                let walk = walk.get_or_insert_with(|| Walk::begin(r));
                walk.goes_to(r);
                // Where others run the state too, only what runs on this very stack is touched.
                if !state.follows.get() || state.runs_here() {
                    act(state, r.request.flags());
                }
            }
        }
        r.inspectors.leave();
    });
    if let Some(walk) = walk {
        walk.end(me);
    }
}

/// **Signal context.** One run of the handler: through the coroutines of all states of this thread for which something is asked.
///
/// What it takes is noted for each of them, as a whole: for the thread is to have time for itself, however many states it has. Noted for each by itself, ten
/// thousand that were late at the same time, for which nearly nothing was to be done, left it none.
struct Walk {
    began: Ticks,
    cpu: Duration,
    first: &'static Record,
    several: bool,
}

impl Walk {
    fn begin(first: &'static Record) -> Walk {
        Walk {
            began: Ticks::now(),
            cpu: own_time(),
            first,
            several: false,
        }
    }

    fn goes_to(&mut self, r: &'static Record) {
        self.several |= !ptr::eq(self.first, r);
        r.walks(self.began);
    }

    fn end(self, me: Thread) {
        let (took, now) = (own_time().saturating_sub(self.cpu), Ticks::now());
        // Not one that has come to another thread meanwhile: that has done nothing for it.
        let note = |r: &Record| {
            if r.is_walked_since(self.began) && is_of(r, me) {
                r.walked(took, now);
            }
        };
        match self.several {
            true => RECORDS.for_each_used(note),
            false => note(self.first),
        }
    }
}

/// Does what is asked for. **Signal context.**
pub fn act(state: &State, flags: u64) {
    if flags & RECOUNT != 0 {
        recount(state);
    }
    if flags & SWEEP != 0 {
        state.answer(SWEEP);
        jit::unmark(state); // what is asked for besides marks again, below
        #[cfg(feature = "luajit")]
        jit::take_sample(state);
    }
    if flags & SAMPLE != 0 {
        state.answer(SAMPLE);
        state.sight();
    }
    if flags & TARGETS != 0 {
        deliver_to_targets(state);
    }
    if flags & WATCH != 0 {
        deliver_to_late(state);
    }
    let rest = flags & !(RECOUNT | SWEEP | TARGETS | WATCH | SAMPLE);
    if rest == CHECK && !state.may_be_due() {
        // The timer thread has asked once more while the call came to its end. A hook would be seen by whoever asks for hooks now, and
        // stay in coroutines that are suspended until they are resumed.
        state.answer(CHECK);
    } else if rest != 0 {
        deliver(state);
    }
}

/// How many deliveries of this stop there have been, with this one. **Signal context.**
fn count_delivery(state: &State) -> u32 {
    let n = state.unanswered.get().saturating_add(1);
    state.unanswered.set(n);
    if n > PATIENCE {
        state.memory.awaited.begin();
    }
    n
}

/// Sets the hook on the coroutines whose watch is due. **Signal context**; owner thread.
fn deliver_to_late(state: &State) {
    let n = count_delivery(state);
    if state.is_ward_late() {
        hookless::suspect_nobody(state);
        // SAFETY: `for_each_live` passes live, initialised coroutines of this state.
        state.for_each_live(|co, entry| unsafe {
            hookless::suspect(state, co);
            set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, n > PATIENCE);
        });
        return;
    }
    let late = |co: *mut lua_State, entry: &Entry| {
        // SAFETY: a coroutine that is being resumed in a frame of ours is alive and initialised.
        unsafe { set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, n > PATIENCE) };
    };
    if !sys::HOOK_PER_COROUTINE {
        state.for_each_late(|_| late(state.main.get(), &state.main_entry));
    } else if !state.coroutines.is_busy() {
        state.for_each_late(|co| {
            if let Some(entry) = state.coroutines.get(co) {
                late(co, entry);
            }
        });
    }
}

/// Sets the hook on the coroutines that were interrupted by their ids. **Signal context**; owner thread.
///
/// LuaJIT: all coroutines share one hook, so it is set only if one of them may be running; the hook looks which. One that is suspended
/// is waited for: the timer thread goes on asking, and [`before_resume`] need not wait for that.
fn deliver_to_targets(state: &State) {
    if state.is_asked_for_more() {
        // SAFETY: `for_each_live` passes live, initialised coroutines of this state.
        state.for_each_live(|co, entry| unsafe {
            set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false);
        });
        return;
    }
    let mut waited_for = false;
    state.for_each_live(|co, entry| {
        if is_interrupted(entry) {
            // SAFETY: `for_each_live` passes live, initialised coroutines of this state.
            unsafe { set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false) };
            waited_for = !sys::HOOK_PER_COROUTINE;
        }
    });
    if !sys::HOOK_PER_COROUTINE && !waited_for {
        state.coroutines.for_each(|co, entry| {
            waited_for |= is_interrupted(entry) && state.is_on_this_stack(co);
        });
        if waited_for {
            hook_whoever_runs(state);
        }
    }
}

/// Sets the one hook that all coroutines share.
fn hook_whoever_runs(state: &State) {
    let main = state.main.get();
    // SAFETY: the main state is live; this is its thread.
    unsafe {
        set_on(
            state,
            main,
            &state.main_entry,
            sys::MASK_ALL,
            OUR_COUNT,
            false,
        )
    };
}

/// LuaJIT: this coroutine is about to be resumed, and somebody has been interrupted. Perhaps it is this one.
#[cold]
pub fn before_resume(state: &State, co: *mut lua_State) {
    if state.coroutines.get(co).is_some_and(is_interrupted) {
        hook_whoever_runs(state);
    }
}

/// Sets the hook on every coroutine of the state. **Signal context**; owner thread.
fn deliver(state: &State) {
    let main = state.main.get();
    if main.is_null() {
        return;
    }
    let n = count_delivery(state);
    state.hooked.set(true);
    state.delivered.set(true);
    let mask = sys::MASK_ALL;
    let switch_on = n > PATIENCE;
    if !sys::HOOK_PER_COROUTINE && state.dozing.get() {
        state.lingers.set(LINGER);
    }
    hookless::suspect_nobody(state);
    // SAFETY: `for_each_live` passes live, initialised coroutines of this state.
    state.for_each_live(|co, entry| unsafe {
        hookless::suspect(state, co);
        set_on(state, co, entry, mask, 1, switch_on);
    });
    if !state.allocator_is_ours() && state.scope_state.get() != main {
        // The host has changed the allocator: the set may hold dead coroutines. The scope's own is alive.
        let none = Entry::default();
        // SAFETY: the scope is open in it.
        unsafe { set_on(state, state.scope_state.get(), &none, mask, 1, switch_on) };
    }
}

/// While the thread rests from a walk through very many coroutines: sets the hook on those in which hooks were off then ([`hookless`]). False if it does not rest. **Signal context**; owner
/// thread.
fn deliver_meanwhile(state: &State, r: &Record) -> bool {
    let insists = r.takes_insistence();
    if insists || !r.unseen.load(Ordering::Relaxed) || !r.rests(Ticks::now()) {
        return false;
    }
    let flags = r.request.flags();
    let stops = flags & (INTERRUPT | KILL) != 0
        || flags & CHECK != 0 && state.may_be_due()
        || flags & WATCH != 0 && state.is_ward_late();
    // Where others run the state too, only what runs on this very stack is touched.
    if stops && (!state.follows.get() || state.is_on_this_stack(state.main.get())) {
        let n = count_delivery(state);
        state.hooked.set(true);
        state.delivered.set(true);
        // SAFETY: live coroutines of this state, which were initialised when they were found.
        hookless::for_each_suspect(state, |co, entry| unsafe {
            keep_on(state, co, entry, n > PATIENCE);
        });
    }
    true
}

/// Sees that the count hook is still on every coroutine. **Signal context**; owner thread.
///
/// `debug.sethook` removes it, and what runs until it is back is not counted. So each time that it has to be put back costs
/// what the fastest machine could have run since the last look: a script gains nothing by removing it.
fn recount(state: &State) {
    state.answer(RECOUNT);
    state.sample();
    if state.least_budget().is_none() || state.rehooking.get() {
        return;
    }
    let (mask, step) = (sys::LUA_MASKCOUNT, state.count_step());
    let now = Ticks::now();
    let last = state.recounted.replace(now);
    // Nothing has been counted for some time: perhaps it is a finalizer that runs, and they do so with hooks off.
    let silent = state.uncounted.get().saturating_add(1);
    state.uncounted.set(silent);
    let mut missing = false;
    jit::unmark(state);
    state.for_each_live(|co, entry| {
        // SAFETY: `for_each_live` passes live, initialised coroutines of this state.
        unsafe {
            if !is_ours(SavedHook::of(co)) {
                // One that has never run, or is being made, has not removed anything.
                missing |= state.layout.get().jump_of(co) != Some(0);
                set_on(state, co, entry, mask, step, false);
            }
            if silent > PATIENCE {
                hookless::switch_on(state, co);
            }
        }
    });
    jit::mark(state);
    if missing {
        let unseen = now.since(last).max(RECOUNT_STEP);
        state.charge(
            UNSEEN_PER_US * i64::try_from(unseen.as_micros()).unwrap_or(i64::MAX / UNSEEN_PER_US),
        );
        if state.least_budget().is_some_and(|left| left <= 0) {
            state.ask_self(CHECK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Guest;
    use crate::limits::Limits;
    use crate::request::BREAK;
    use std::time::Duration;

    /// As when the timer thread asks while a call is being closed: that in which this runs has an hour.
    unsafe extern "C-unwind" fn check(l: *mut lua_State) -> std::ffi::c_int {
        let state = crate::hook::state_of(l).unwrap();
        state.ask_self(CHECK);
        // SAFETY: this runs in it.
        assert!(!is_ours(unsafe { SavedHook::of(l) }));
        assert_eq!(state.record().request.flags(), 0);
        0
    }

    /// A poke for a watch was nearly always lost while the watched coroutine did nothing but call with limits.
    #[test]
    fn calls_do_not_take_away_what_is_asked_for_besides() {
        unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> std::ffi::c_int {
            0
        }
        // SAFETY: as below.
        unsafe {
            let l = sys::luaL_newstate();
            let guest = Guest::attach(l).unwrap();
            let state = crate::hook::state_of(l).unwrap();
            let limits = Limits::new().timeout(Duration::from_secs(3600));
            for flags in [WATCH, SAMPLE, TARGETS] {
                let request = &state.record().request;
                assert!(request.ask(request.generation(), flags));
                state.place.set_pending();
                sys::lua_pushcfunction(l, nothing);
                assert_eq!(guest.call(l, 0, 0, 0, &limits).unwrap(), 0);
                assert_eq!(request.flags(), flags);
                assert!(state.place.is_pending(), "{flags}");
                state.answer(flags);
                assert!(!state.place.is_pending());
            }
            sys::lua_close(l);
        }
    }

    /// To find that a state does not run takes a look at all its coroutines. Not noted, that had the next poke come before the thread got anywhere: a state with
    /// 400,000 of them, between two finalizers, was not closed in a minute.
    #[test]
    fn a_look_that_finds_nothing_is_noted_as_a_walk() {
        // SAFETY: a new state, on this thread, closed at the end.
        unsafe {
            let l = sys::luaL_newstate();
            let _guest = Guest::attach(l).unwrap();
            let state = crate::hook::state_of(l).unwrap();
            let record = state.record();
            assert!(!state.runs_here());
            let ended = record.walk_ended();
            assert!(record.request.ask(record.request.generation(), BREAK));
            state.place.set_pending();
            on_poke();
            assert!(record.walk_ended() > ended);
            assert!(!is_ours(SavedHook::of(state.main.get())));
            sys::lua_close(l);
        }
    }

    #[test]
    fn a_check_that_finds_nothing_sets_no_hook() {
        // SAFETY: a new state, on this thread, closed at the end.
        unsafe {
            let l = sys::luaL_newstate();
            let guest = Guest::attach(l).unwrap();
            let state = crate::hook::state_of(l).unwrap();
            let is_hooked = || is_ours(SavedHook::of(state.main.get()));
            check(l);
            let limits = Limits::new().timeout(Duration::from_secs(3600));
            sys::lua_pushcfunction(l, check);
            assert_eq!(guest.call(l, 0, 0, 0, &limits).unwrap(), 0);
            state.ask_self(BREAK); // this is for whatever runs
            assert!(is_hooked());
            sys::lua_close(l);
        }
    }

    /// A coroutine that killed itself went on for a while, if the thread rested from a walk that had taken long: more than one in 100,000 times on a busy machine.
    #[test]
    fn who_asks_on_its_own_thread_waits_for_no_rest() {
        unsafe extern "C-unwind" fn unmoved(_: *mut lua_State, _: *mut lua_State) {}
        unsafe extern "C-unwind" fn ask(l: *mut lua_State) -> std::ffi::c_int {
            // SAFETY: this runs in it.
            let guest = unsafe { Guest::of(l) }.unwrap();
            let record = guest.state().record();
            for unseen in [false, true] {
                record.walked(Duration::from_secs(100), Ticks::now());
                record.unseen.store(unseen, Ordering::Relaxed);
                // SAFETY: as above.
                unsafe { sys::set_hook(l, None, 0, 0) };
                assert!(guest.handle().break_off());
                // SAFETY: as above.
                assert!(is_ours(unsafe { SavedHook::of(l) }));
            }
            0
        }
        // SAFETY: a new state, on this thread, closed at the end.
        unsafe {
            let l = sys::luaL_newstate();
            Guest::attach(l).unwrap().on_break(unmoved);
            sys::lua_pushcfunction(l, ask);
            assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
            sys::lua_close(l);
        }
    }
}
