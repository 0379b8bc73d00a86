//! The one hook: what happens when an interrupt lands.
//!
//! The way of every stop: a request is marked on the state's [record](crate::record); the owner thread is poked; its signal
//! handler ([`on_poke`]) sets [`HOOK`] on every coroutine of the state, which is what `lua_sethook` may do inside a signal; the
//! virtual machine meets the hook at its next instruction, call or return; the hook looks what is due, and either finds nothing
//! (a late interrupt: it puts back what was there) or raises an error, again and again at each next instruction, until the call
//! that set the limit has control. `pcall` catches the error and runs into the next one.
//!
//! **The hook allocates nothing in Lua**: an allocation can run a collector step, hence finalizers,
//! inside the hook. The error is a light userdata. The trace goes into memory of our own. (The exception: [`shortage::collect`].)
//!
//! **How it is raised** so that no message handler runs for it is in [`crate::raise`]; **finalizers and the script's own hooks**, where
//! no hook runs, in [`crate::hookless`]; how the hook gets to where it is met in [`delivery`], what it puts aside there in [`placing`], when it counts in [`counting`].

mod counting;
mod delivery;
mod oldpc;
mod placing;
mod shortage;

pub use counting::{only_count, start_counting, start_polling, stop_watching};
pub use delivery::{act, before_resume, on_poke};
pub use placing::{
    OUR_COUNT, hooked_at, is_our_hook, is_ours, is_waiting, merge, set_on, set_to_wait, wait_for,
};
pub use shortage::{memory_ran_out, trace_from_allocator};

use crate::coroutines::{Entry, SavedHook};
use crate::raise::{raise, throw_for};
use crate::record::{RECORDS, Record};
use crate::request::{BREAK, CHECK, SWEEP, TARGETS, WATCH};
use crate::state::{COUNT_STEP, State};
use crate::sys::{self, lua_Debug, lua_State};
use crate::{alloc, hookless, jit};
use placing::take_off;
use shortage::collect;
use std::ptr;
use std::sync::atomic::Ordering;
use watchdog::{Ticks, poke::Thread};

/// The function that `lua_sethook` gets from us.
pub const HOOK: sys::Hook = hook;

/// The hook. **longjmp**: `lua_error` below does not return. Nothing that owns anything is alive there.
#[inline(never)] // compared by address: it must have one
unsafe extern "C-unwind" fn hook(l: *mut lua_State, ar: *mut lua_Debug) {
    let Some(state) = state_of(l) else {
        // A hook that has outlived its attach: it goes.
        // SAFETY: `l` is running this hook.
        unsafe { sys::set_hook(l, None, 0, 0) };
        return;
    };
    state.memory.fall(false);
    let marked = jit::unmark(state);
    // SAFETY: `l` runs this hook, and `ar` is what it got.
    if state.runs_ours.get() || unsafe { hookless::is_raising(state, l, ar) } {
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
    // SAFETY: as above.
    if unsafe { hookless::is_over(state, l, ar) } {
        return;
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
        // Only a coroutine that can be closed tells its last error to anybody.
        // SAFETY: as above.
        unsafe { throw_for(state, l, sys::CLOSES_COROUTINES.then_some(l)) };
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
            let now = SavedHook::of(l);
            if now.mask == sys::MASK_ALL {
                state.charge(COUNT_STEP); // a delivery has taken the count away, and up to a step that had been counted
            }
            let step = state.count_step();
            if now.mask != sys::LUA_MASKCOUNT || now.count != step {
                sys::lua_sethook(l, Some(HOOK), sys::LUA_MASKCOUNT, step);
            }
        } else if let Some(every) = state.polling(l) {
            counting::go_on_polling(state, l, every);
        } else if state.waits_for_wards() {
            if SavedHook::of(l).mask != sys::LUA_MASKCALL {
                set_to_wait(state, state.main.get(), &state.main_entry);
            }
        } else if state.lingers.get() != 0 && state.has_calls() {
            state.lingers.set(state.lingers.get() - 1);
        } else {
            take_off(state, l, hooked_at(state, l).1);
            // The last call that counted may have been collected with its coroutine.
            state.compile_unless_limited();
        }
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

/// Whether the state of this record is this thread's.
fn is_of(r: &Record, me: Thread) -> bool {
    // SeqCst: see `Inspectors::enter`.
    r.owner.load(Ordering::SeqCst) == me.to_bits()
}
