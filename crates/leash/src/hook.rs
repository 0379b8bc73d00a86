//! The one hook: what happens when an interrupt lands.
//!
//! The way of every stop: a request is marked on the state's [record](crate::record); the owner thread is poked; its signal
//! handler ([`on_poke`]) sets [`HOOK`] on every coroutine of the state, which is what `lua_sethook` may do inside a signal; the
//! virtual machine meets the hook at its next instruction, call or return; the hook looks what is due, and either finds nothing
//! (a late interrupt: it puts back what was there) or raises an error, again and again at each next instruction, until the call
//! that set the limit has control. `pcall` catches the error and runs into the next one.
//!
//! **The hook allocates nothing in Lua** (DESIGN section 4, rule 2): an allocation can run a collector step, hence finalizers,
//! inside the hook. The error is a light userdata. The trace goes into memory of our own. (The exception: [`collect`].)
//!
//! **How it is raised** so that no message handler runs for it is in [`crate::raise`]; **finalizers and the script's own hooks**, where
//! no hook runs, in [`crate::hookless`].
//!
//! **The user's own hook** is saved in the coroutine's entry when ours goes in and put back when ours comes out. The handler may
//! land inside the user's own `lua_sethook`: then what it saves is torn, and the rest of that call's stores come after ours. Field by
//! field: what is not ours any more was stored later, and is the user's; what is still ours was stored before, and is in the copy.

use crate::coroutines::{Entry, SavedHook};
use crate::raise::{raise, throw, throw_for};
use crate::record::RECOUNT_STEP;
use crate::record::{RECORDS, Record, thread_identity};
use crate::request::{BREAK, CHECK, RECOUNT, SAMPLE, SWEEP, TARGETS, WATCH};
use crate::state::State;
use crate::sys::{self, lua_Debug, lua_State};
use crate::{alloc, hookless, jit, trace};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::atomic::Ordering;
use watchdog::{Ticks, poke::Thread};

/// The function that `lua_sethook` gets from us.
pub const HOOK: sys::Hook = hook;

/// Deliveries of the same stop, or looks at the count, after which hooks are switched on where they are off.
const PATIENCE: u32 = 3;

/// LuaJIT: how many instructions the hook stays for a call that has expired while it was suspended. Its coroutine may run for some instructions at a
/// time only; whoever resumes it again and again does so within this many of his own.
const LINGER: u32 = 200;

/// More instructions than any interpreter runs in a microsecond.
const UNSEEN_PER_US: i64 = 1000;

/// Whether a hook that `lua_gethook` returned is the one that Leash sets. For hosts, debuggers and tests that look at hooks.
pub fn is_our_hook(hook: sys::Hook) -> bool {
    hook as usize == HOOK as usize
}

/// Whether our hook is set on `l` and waits for the next call: something may be due. For C functions that work for long.
///
/// # Safety
/// `l` is a live coroutine on its own thread.
pub unsafe fn is_waiting(l: *mut lua_State) -> bool {
    // SAFETY: by the caller. A signal handler may set it at any time; then it is seen the next time.
    let now = unsafe { SavedHook::of(l) };
    is_ours(now) && now.mask & sys::LUA_MASKCALL != 0
}

/// See [`is_our_hook`].
pub fn is_ours(h: SavedHook) -> bool {
    h.hook.is_some_and(is_our_hook)
}

// --- delivery: signal context ---

/// The signal handler. **Signal context**: loads and stores, `gettid`, `lua_sethook`. No allocation, no lock, no panic, no
/// thread-local.
#[inline(never)] // compared by address: it must have one
pub fn on_poke() {
    let me = Thread::calling(); // once: ten thousand states may be late at the same time
    #[cfg(feature = "luajit")]
    jit::sampling::poked(me);
    RECORDS.for_each_pending(|r: &'static Record| {
        if r.request.flags() == 0 || !is_of(r, me) {
            return;
        }
        // From here on the state stays on this thread (`home`), if it still is.
        r.inspectors.enter();
        if is_of(r, me) {
            // SAFETY: an owner is stored only while the state is attached, and taken away before it goes, on that thread.
            // This is that thread, so nothing but the code that this handler interrupts uses the state.
            if let Some(state) = unsafe { r.state.load(Ordering::Acquire).as_ref() } {
                // Where others run the state too, only what runs on this very stack is touched.
                if !state.follows.get() || state.runs_here() {
                    let start = Ticks::now();
                    act(state, r.request.flags());
                    r.walked(start, Ticks::now());
                }
            }
        }
        r.inspectors.leave();
    });
}

fn is_of(r: &Record, me: Thread) -> bool {
    // SeqCst: see `Inspectors::enter`.
    r.owner.load(Ordering::SeqCst) == me.to_bits()
}

/// Does what is asked for. **Signal context.**
pub fn act(state: &State, flags: u64) {
    if flags & RECOUNT != 0 {
        recount(state);
    }
    if flags & SWEEP != 0 {
        state.place.clear_pending();
        state.record().request.answer(SWEEP);
        jit::unmark(state); // what is asked for besides marks again, below
        #[cfg(feature = "luajit")]
        jit::take_sample(state);
    }
    if flags & SAMPLE != 0 {
        state.place.clear_pending();
        state.record().request.answer(SAMPLE);
        state.sight();
    }
    if flags & TARGETS != 0 {
        deliver_to_targets(state);
    }
    if flags & WATCH != 0 {
        deliver_to_late(state);
    }
    if flags & !(RECOUNT | SWEEP | TARGETS | WATCH | SAMPLE) != 0 {
        deliver(state);
    }
}

/// Sets the hook on the coroutines whose watch is due. **Signal context**; owner thread.
fn deliver_to_late(state: &State) {
    let n = state.unanswered.get().saturating_add(1);
    state.unanswered.set(n);
    if state.is_ward_late() {
        // SAFETY: `for_each_live` passes live, initialised coroutines of this state.
        state.for_each_live(|co, entry| unsafe {
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

/// Has the hook run when control is back in `co`, or comes to it. **Signal context.** (LuaJIT: when the next function is called.)
///
/// # Safety
/// `co` is a live, initialised coroutine of this state, on its thread.
pub unsafe fn set_to_wait(state: &State, co: *mut lua_State, entry: &Entry) {
    // SAFETY: by the caller.
    unsafe {
        if sys::HOOK_PER_COROUTINE {
            set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false);
        } else if state.least_budget().is_none() {
            set_on(state, co, entry, sys::LUA_MASKCALL, 0, false);
        }
    }
}

/// Sets the count hook of a polled watch.
///
/// # Safety
/// `co` is a live coroutine, on its thread.
pub unsafe fn start_polling(state: &State, co: *mut lua_State, every: u32) {
    let every = c_int::try_from(every).unwrap_or(c_int::MAX).max(1);
    let (on, entry) = hooked_at(state, co);
    if let Some(entry) = entry {
        // SAFETY: by the caller.
        unsafe { set_on(state, on, entry, sys::LUA_MASKCOUNT, every, false) };
    }
}

/// A watched coroutine has come back: our hook goes, and that of the polled one that resumed it comes again.
///
/// # Safety
/// As [`start_polling`].
pub unsafe fn stop_watching(state: &State, co: *mut lua_State) {
    let (on, entry) = hooked_at(state, co);
    // SAFETY: by the caller.
    unsafe { take_off(state, on, entry) };
}

/// Where the hook of a coroutine is, and the entry that keeps the user's.
pub fn hooked_at(state: &State, co: *mut lua_State) -> (*mut lua_State, Option<&Entry>) {
    if sys::HOOK_PER_COROUTINE {
        (co, state.entry(co))
    } else {
        (state.main.get(), Some(&state.main_entry))
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

fn is_interrupted(entry: &Entry) -> bool {
    entry.target.get().is_some_and(|t| t.flags() != 0)
}

/// Who is interrupted when the hook runs in `l`: `l` itself by its id, or, where the hook is the whole state's, the main state by its own.
fn interrupted_in(state: &State, l: *mut lua_State) -> Option<(*mut lua_State, &Entry)> {
    let own = state.entry(l).filter(|e| is_interrupted(e));
    let main = &state.main_entry;
    match own {
        Some(entry) => Some((l, entry)),
        None if !sys::HOOK_PER_COROUTINE && is_interrupted(main) => Some((state.main.get(), main)),
        None => None,
    }
}

/// Sets the hook on every coroutine of the state. **Signal context**; owner thread.
pub fn deliver(state: &State) {
    let main = state.main.get();
    if main.is_null() {
        return;
    }
    let n = state.unanswered.get().saturating_add(1);
    state.unanswered.set(n);
    state.hooked.set(true);
    state.delivered.set(true);
    let mask = sys::MASK_ALL;
    let switch_on = n > PATIENCE;
    if !sys::HOOK_PER_COROUTINE && state.dozing.get() {
        state.lingers.set(LINGER);
    }
    // SAFETY: `for_each_live` passes live, initialised coroutines of this state.
    state.for_each_live(|co, entry| unsafe {
        set_on(state, co, entry, mask, 1, switch_on);
    });
    if !state.allocator_is_ours() && state.scope_state.get() != main {
        // The host has changed the allocator: the set may hold dead coroutines. The scope's own is alive.
        let none = Entry::default();
        // SAFETY: the scope is open in it.
        unsafe { set_on(state, state.scope_state.get(), &none, mask, 1, switch_on) };
    }
}

/// Puts our hook on one coroutine, and what was there into `entry`.
unsafe fn set_on(
    state: &State,
    co: *mut lua_State,
    entry: &Entry,
    mask: c_int,
    count: c_int,
    switch_on: bool,
) {
    // SAFETY: by the caller: `co` is live, initialised, on its thread.
    unsafe {
        let now = SavedHook::of(co);
        match entry.saved.get() {
            None if is_ours(now) => {} // inherited from the coroutine that made it
            None => entry.saved.set(Some(now)),
            Some(was) => entry.saved.set(Some(merge(state, was, now))),
        }
        if mask == sys::MASK_ALL {
            jit::set_hook(state, co, HOOK, mask, count);
        } else {
            state.our_masks.set(state.our_masks.get() | mask);
            sys::set_hook(co, Some(HOOK), mask, count);
        }
        if switch_on {
            hookless::switch_on(state, co);
        }
    }
}

/// The count that goes with `sys::MASK_ALL`.
const OUR_COUNT: c_int = 1;

/// The user's hook, from the copy that was made and what is set now. See the header.
pub fn merge(state: &State, was: SavedHook, now: SavedHook) -> SavedHook {
    if !is_ours(now) {
        return now; // set as a whole since
    }
    // What we have not set was set by the user.
    let our_mask = now.mask == sys::MASK_ALL
        || state.our_masks.get() & now.mask != 0
            && [sys::LUA_MASKCOUNT, sys::LUA_MASKCALL].contains(&now.mask);
    // The count is stored before the mask: it may be ours again although the mask is the user's. (His may be the same as ours.)
    let our_count = our_mask || now.count == OUR_COUNT && was.count != 0;
    SavedHook {
        hook: was.hook,
        mask: if our_mask { was.mask } else { now.mask },
        count: if our_count { was.count } else { now.count },
    }
}

/// Sees that the count hook is still on every coroutine. **Signal context**; owner thread.
///
/// `debug.sethook` removes it, and what runs until it is back is not counted. So each time that it has to be put back costs
/// what the fastest machine could have run since the last look: a script gains nothing by removing it.
fn recount(state: &State) {
    state.place.clear_pending();
    state.record().request.answer(RECOUNT);
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

// --- taking the hook away ---

/// Puts back what was on this coroutine before.
unsafe fn take_off(state: &State, co: *mut lua_State, entry: Option<&Entry>) {
    // SAFETY: by the caller: `co` is live, initialised, on its thread.
    unsafe {
        let now = SavedHook::of(co);
        let was = entry.and_then(|e| e.saved.take());
        if !is_ours(now) {
            return; // the user has set or removed a hook since: that stands
        }
        // A coroutine made while ours was set has inherited ours: what it would have inherited is its maker's, for which the
        // main state's stands in.
        let inherited = state.main_entry.saved.get();
        let h = was
            .map(|w| merge(state, w, now))
            .or(inherited)
            .unwrap_or_default();
        sys::set_hook(co, h.hook, h.mask, h.count);
        if sys::HOOK_PER_COROUTINE
            && let Some(entry) = entry.filter(|e| state.waits_for(e))
        {
            set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false);
        }
    }
}

/// Sets our hook on a coroutine that is suspended in a call whose time is up: so that is noticed when it is resumed. On LuaJIT the timer thread
/// has that looked at.
///
/// # Safety
/// `co` is a live coroutine, on its thread.
pub unsafe fn wait_for(state: &State, co: *mut lua_State) {
    if sys::HOOK_PER_COROUTINE
        && let Some(entry) = state.entry(co)
    {
        // SAFETY: by the caller.
        unsafe { set_on(state, co, entry, sys::MASK_ALL, OUR_COUNT, false) };
    }
}

/// Puts back the user's hooks everywhere. Owner thread, when no request is open.
pub fn remove_everywhere(state: &State) {
    state.unanswered.set(0);
    state.lingers.set(0);
    jit::unmark(state);
    // The main state last: its saved hook stands in for others.
    let main = state.main.get();
    state.for_each_live(|co, entry| {
        if co != main {
            // SAFETY: a live, initialised coroutine of this state.
            unsafe { take_off(state, co, Some(entry)) };
        }
    });
    if !state.allocator_is_ours() && state.scope_state.get() != main {
        // SAFETY: a scope is being closed in it.
        unsafe { take_off(state, state.scope_state.get(), None) };
    }
    // SAFETY: live; on this thread.
    unsafe { take_off(state, main, Some(&state.main_entry)) };
    if state.frame.get().is_null() && state.wards.is_empty() {
        state.our_masks.set(0); // none of ours is left anywhere
    }
}

/// Sets the count hook everywhere, for an instruction limit.
pub fn start_counting(state: &State) {
    state.hooked.set(true);
    let (mask, step) = (sys::LUA_MASKCOUNT, state.count_step());
    // SAFETY: live, initialised coroutines of this state.
    state.for_each_live(|co, entry| unsafe {
        set_on(state, co, entry, mask, step, false);
    });
}

// --- the hook ---

/// The hook. **longjmp**: `lua_error` below does not return. Nothing that owns anything is alive there.
#[inline(never)] // compared by address: it must have one
unsafe extern "C-unwind" fn hook(l: *mut lua_State, ar: *mut lua_Debug) {
    let Some(state) = state_of(l) else {
        // A hook that has outlived its attach: it goes.
        // SAFETY: `l` is running this hook.
        unsafe { sys::set_hook(l, None, 0, 0) };
        return;
    };
    let marked = jit::unmark(state);
    if state.makes_doom.get() {
        return;
    }
    hookless::settle(state);
    // SAFETY: `ar` is what Lua passes to hooks; `l` runs here.
    let counted = unsafe {
        (*ar).event == sys::LUA_HOOKCOUNT && sys::lua_gethookmask(l) == sys::LUA_MASKCOUNT
    };
    if counted {
        state.uncounted.set(0);
        if marked && !hookless::in_finalizer(state) {
            // `recount` asks, in case the script has switched LuaJIT's compiler on.
            // SAFETY: `l` runs this hook.
            unsafe { state.interpret_only(l) };
        }
        // SAFETY: as above.
        state.charge(i64::from(unsafe { sys::lua_gethookcount(l) }));
    }
    // SAFETY: as above.
    if unsafe { (*ar).event } == sys::LUA_HOOKCALL && hookless::in_event(state) {
        return; // the next instruction is soon enough
    }
    state.answer_more(l);
    if state.has_calls() {
        state.is_awake(l);
        // SAFETY: as above.
        if unsafe { state.is_in_glue(l, ar) } {
            return; // as good as inside the boundary: it has control after a few instructions
        }
        // SAFETY: `l` runs this hook, and nothing here owns anything.
        unsafe { state.look_at_warnings(l) };
        if state.verdict().is_some() {
            // SAFETY: `l` runs this hook.
            unsafe { raise(state, l) };
        }
    }
    if !state.wards.is_empty() {
        // SAFETY: `l` runs this hook.
        let dies = unsafe { state.look_at_wards(l, (*ar).event) };
        if dies.is_some() {
            // SAFETY: as above.
            unsafe { throw_for(state, l, dies) };
        }
    }
    // SAFETY: `l` runs this hook, and nothing here owns anything.
    if !state.frame.get().is_null() && unsafe { state.look_at_watch(l, counted) } {
        // SAFETY: as above.
        unsafe { throw(state, l) };
    }
    if hookless::in_event(state) {
        return; // interrupts are for the program, and are delivered again when it goes on
    }
    if state.memory.wants_collection() {
        // SAFETY: `l` runs this hook. A finalizer may raise an error, as anywhere: nothing here owns anything.
        unsafe { collect(state, l) };
    }
    // Not before: coroutines that die by a stop as fast as a finalizer makes them say nothing of the finalizer.
    state.unanswered.set(0);
    let own = interrupted_in(state, l).and_then(|(who, entry)| Some((who, entry.target.get()?)));
    let whole = state.whole.get().map(|target| (ptr::null_mut(), target));
    let mut interrupted = own.filter(|(_, t)| t.answer_once());
    if interrupted.is_none() {
        interrupted = whole.filter(|(_, t)| t.answer_once());
    }
    let broken = state.record().request.flags() & BREAK != 0;
    if interrupted_in(state, l).is_none() {
        // SAFETY: `l` runs this hook.
        unsafe { go_on(state, l) };
    } else if broken {
        state.record().request.answer(BREAK);
    }
    if broken && let Some(f) = state.on_break.get() {
        // SAFETY: as below.
        unsafe { f(l, l) };
    }
    if let Some((who, target)) = interrupted
        && let Some(f) = state.on_interrupt.get()
    {
        state.heard.put(target.said.take());
        // SAFETY: `l` runs this hook. The function may raise: nothing here owns anything.
        unsafe { f(l, who) };
    }
}

/// Memory is about to run out ([`crate::memory`]). The one exception to the rule that the hook allocates nothing: finalizers may, and a stop
/// reaches them as it does elsewhere.
#[cold]
unsafe fn collect(state: &State, l: *mut lua_State) {
    let before = state.memory.used.get();
    state.memory.collect_later(); // should a finalizer raise
    // SAFETY: by the caller.
    unsafe {
        let runs = sys::gc(l, sys::COLLECTOR_IS_RUNNING) != 0;
        sys::gc(l, sys::LUA_GCCOLLECT);
        if state.memory.used.get() > before / 8 * 7 {
            sys::gc(l, sys::LUA_GCCOLLECT); // what has been finalized goes the second time
        }
        if !runs {
            sys::gc(l, sys::LUA_GCSTOP);
        }
    }
    state.memory.collect_later();
}

/// Nothing is due, or nothing more: a late interrupt, one that is about to be handled, or a count that is not at its end.
unsafe fn go_on(state: &State, l: *mut lua_State) {
    let request = &state.record().request;
    if request.flags() != 0 {
        // First the answer, then the look: who interrupts a coroutine marks its target first and asks then, so either his mark
        // is seen here or what he asks comes after the answer. So with deadlines: one may have passed since the hook looked, and
        // what the timer thread has asked be answered with the rest.
        state.place.clear_pending();
        request.answer(CHECK | SWEEP | TARGETS | WATCH | BREAK);
        let mut again = 0;
        let mut look = |_, e: &Entry| {
            if is_interrupted(e) {
                again |= TARGETS;
            }
        };
        state.for_each_live(&mut look);
        if !sys::HOOK_PER_COROUTINE {
            state.coroutines.for_each(look);
        }
        if state.is_asked_for_more() {
            again |= TARGETS;
        }
        state.for_each_late(|_| again |= WATCH);
        if state.is_ward_late() {
            again |= WATCH;
        }
        if state.has_calls() && state.verdict().is_some() {
            again |= CHECK;
        }
        if again != 0 {
            request.ask(request.generation(), again);
            // Whoever asked before may have seen the answer, and need not come again.
            state.record().arm(Ticks::now());
        }
        if request.flags() == 0 {
            state.record().settled();
            jit::sweep(state);
        } else {
            state.place.set_pending();
        }
    }
    // SAFETY: by the caller.
    unsafe {
        if state.least_budget().is_some() {
            let (now, step) = (SavedHook::of(l), state.count_step());
            if now.mask != sys::LUA_MASKCOUNT || now.count != step {
                sys::lua_sethook(l, Some(HOOK), sys::LUA_MASKCOUNT, step);
            }
        } else if let Some(every) = state.polling(l) {
            start_polling(state, l, every);
        } else if state.waits_for_wards() {
            if SavedHook::of(l).mask != sys::LUA_MASKCALL {
                set_to_wait(state, state.main.get(), &state.main_entry);
            }
        } else if state.lingers.get() != 0 {
            state.lingers.set(state.lingers.get() - 1);
        } else {
            take_off(state, l, hooked_at(state, l).1);
            // The last call that counted may have been collected with its coroutine.
            let unlimited = state.scope.get().is_null() || state.jit.get() == jit::Jit::Guarded;
            if state.interpreted.get() && unlimited && !hookless::in_finalizer(state) {
                state.compile_again();
            }
        }
    }
}

/// The attached state that `l` belongs to: by the allocator's user data, or, if a host has changed the allocator, by the registry.
pub fn state_of(l: *mut lua_State) -> Option<&'static State> {
    // SAFETY: `l` runs the hook that asks.
    let (f, ud) = unsafe { sys::allocator(l) };
    if alloc::is_ours(f) {
        // SAFETY: our allocator's user data is the state, which lives as long as the allocator is in force.
        return Some(unsafe { &*ud.cast::<State>() });
    }
    // SAFETY: as above; a pseudo-index needs no stack.
    let registry = unsafe { sys::lua_topointer(l, sys::LUA_REGISTRYINDEX) };
    let mut found = None;
    let me = Thread::calling();
    RECORDS.for_each_used(|r| {
        let state = r.state.load(Ordering::Acquire);
        if is_of(r, me) && !state.is_null() {
            // SAFETY: as in `on_poke`.
            let state = unsafe { &*state };
            if state.registry == registry {
                found = Some(state);
            }
        }
    });
    found
}

/// Notes where the code is at which memory ran out: an uncaught memory error leaves no other trace.
///
/// Not while Lua moves the stack of a coroutine that the trace would look at: 5.4 and 5.5 turn the frames' pointers into offsets
/// before they ask for the new block (`luaD_reallocstack`), and `lua_getinfo` would follow them. `block` is what is to be resized.
///
/// Not on LuaJIT where code may be compiled: compiled code keeps frames in registers, and `L->base` is where the interpreter left it.
pub fn trace_from_allocator(state: &State, block: *const c_void) {
    if cfg!(feature = "luajit") && !state.interpreted.get() {
        return;
    }
    if !state.traceback.borrow().is_empty() || state.pthread.get() != thread_identity() {
        return;
    }
    if let Some(l) = trace::running(state)
        && !trace::is_stack_of_active(state, block)
    {
        trace::capture(state, l, true, &mut state.traceback.borrow_mut());
    }
}

/// Whether a call that ended with `status` was ended by the memory limit, although no hook came to see it: an uncaught memory
/// error. The buffers of 5.3 and later ask the allocator by themselves, and raise a plain error with the same words.
///
/// # Safety
/// As after `lua_pcall`: the error object of a status other than 0 is on the stack of `l`.
pub unsafe fn memory_ran_out(state: &State, l: *mut lua_State, status: c_int) -> bool {
    if status == 0 || !state.memory.has_refused() {
        return false;
    }
    // SAFETY: by the caller. A string is read in place; nothing is converted.
    unsafe {
        status == sys::LUA_ERRMEM
            || sys::lua_type(l, -1) == sys::LUA_TSTRING
                && CStr::from_ptr(sys::lua_tostring(l, -1))
                    .to_bytes()
                    .windows(NOT_ENOUGH.len())
                    .any(|w| w == NOT_ENOUGH)
    }
}

const NOT_ENOUGH: &[u8] = b"not enough memory";
