//! All wards of a state: who runs, who is late, who dies.
//!
//! **Two clocks.** Where a ward is resumed by [`crate::Guest::resume`], a frame counts, exactly. Where it is resumed by anything else, a
//! signal handler sees that it runs ([`State::sight`]), 10 ms after the resume at the latest ([`super::sampling`]), and its clock starts then: so
//! it is late rather than early. That it has yielded since is seen by a hook on whoever has resumed it and is waiting for it: while the ward
//! runs, that hook costs nothing; when the ward comes back, the first thing that its resumer runs is the hook. So two
//! short resumes are not taken for a long one. (LuaJIT has one hook for all, so there it is a hook for calls, which the next resume is.)
//!
//! **Who is inside.** Whatever runs while a ward is being resumed runs inside it: coroutines that it has resumed, by whatever function. So, unlike the
//! watches of `corowatch`, a ward that is late has the hook set everywhere, and the error is raised in whatever runs, until the ward has come back.
//! Its `jump` ([`crate::layout`]) tells whether it has.
//!
//! What could go wrong: a host, or a C function, that resumes a ward again and again without running Lua in between: the hook of the resumer
//! does not run. Where nothing of Lua waits for the ward, it is not seen at all; a C function that Lua has called, and that resumes for itself, is
//! taken for one long resume.

use super::frame::Frame;
use super::times::Times;
use super::ward::{Extension, PushFn, Ward, WarnFn, Warning};
use super::watched::{self, Watched};
use super::watching::NEVER;
use crate::coroutines::SavedHook;
use crate::limits::{Reason, Stop};
use crate::request::WATCH;
use crate::state::{COUNT_STEP, State};
use crate::sys::{self, lua_Debug, lua_State};
use crate::{hook, hookless, jit, trace, userhook};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::Duration;
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
    count: Cell<usize>,
    /// The list is being changed: a signal handler keeps off.
    busy: Cell<bool>,
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

    fn is_seen(&self, ward: &Ward) -> bool {
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
    fn note_seen(&self, ward: &Ward) -> bool {
        let n = self.count.get();
        if n == MOST_SEEN {
            return false;
        }
        self.seen[n].set(ward);
        compiler_fence(Ordering::SeqCst);
        self.count.set(n + 1);
        true
    }

    fn forget_seen(&self, ward: &Ward) {
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

/// What has become of one.
enum Fate {
    Fine,
    /// The function that warns was called: everything may have changed.
    Warned,
    Doomed,
}

impl State {
    /// Its frame; zero: it does not run, nor wait for one that it has resumed.
    pub(super) fn jump(&self, co: *mut lua_State) -> usize {
        // SAFETY: a ward's coroutine is live.
        unsafe { self.layout.get().jump_of(co) }.unwrap_or(0)
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        // SAFETY: open frames live in C frames below this one.
        let frame = |p: *const Frame| unsafe { p.as_ref() };
        std::iter::successors(frame(self.frame.get()), move |f| frame(f.outer))
    }

    // --- signal context ---

    /// Looks which wards run that are not resumed by us. **Signal context**; owner thread.
    pub fn sight(&self) {
        if self.wards.busy.get() || self.coroutines.is_busy() {
            return; // the next look finds it whole
        }
        let mut new = false;
        for ward in self.wards.each() {
            let jump = self.jump(ward.co);
            let counted = self.frames().any(|f| f.co == ward.co);
            if jump == 0 || counted || self.wards.is_seen(ward) {
                continue;
            }
            if ward.doomed.get().is_some() {
                new |= self.wards.note_seen(ward);
            } else if ward.has_limits() && self.wait_for(jump) && self.wards.note_seen(ward) {
                // SAFETY: the limits of a live coroutine.
                if let Some(limits) = unsafe { watched::limits(ward.limits.get()) } {
                    ward.times.start(limits, Ticks::now().as_nanos());
                }
                new = true;
            }
        }
        if new {
            self.publish_seen();
        }
        let main = self.main.get();
        if self.wards.seen().any(|w| w.co == main) {
            self.record()
                .request
                .ask(self.record().request.generation(), WATCH);
            hook::act(self, WATCH);
        }
    }

    /// Has the hook run in whatever waits for the coroutine whose frame is at `jump`, when that comes back. False if nothing of Lua waits
    /// for it. **Signal context.**
    fn wait_for(&self, jump: usize) -> bool {
        let mut found = false;
        self.for_each_live(|co, entry| {
            if self.jump(co) > jump {
                found = true;
                // SAFETY: live, initialised, on its thread: its `jump` is set.
                unsafe { hook::set_to_wait(self, co, entry) };
            }
        });
        found
    }

    /// Tells the timer thread when something is due among those that were seen.
    pub(super) fn publish_seen(&self) {
        let mut until = NEVER;
        for ward in self.wards.seen() {
            until = until.min(match ward.doomed.get() {
                // A host may be idle for as long as it likes: a look now and then is enough.
                Some(_) if ward.co == self.main.get() => NEVER,
                Some(_) => 0,
                None => ward.times.next(),
            });
        }
        let sampling = &self.record().watching.sampling;
        sampling.set_until(until);
        if until != NEVER {
            self.record().arm(Ticks::now()); // it finds out itself
        }
    }

    /// Whether the hook has to be everywhere. **Signal context.**
    pub fn is_ward_late(&self) -> bool {
        let mut now = 0;
        let mut late = |doomed: bool, times: &Times| {
            if now == 0 {
                now = Ticks::now().as_nanos();
            }
            doomed || times.next() <= now
        };
        self.frames()
            .any(|f| f.is_ward() && late(f.killed.get(), &f.times))
            || self
                .wards
                .seen()
                .any(|w| late(w.doomed.get().is_some(), &w.times))
    }

    /// LuaJIT: whether the hook for calls has to stay.
    pub fn waits_for_wards(&self) -> bool {
        !sys::HOOK_PER_COROUTINE && self.wards.count.get() != 0
    }

    // --- in the hook ---

    /// Looks after the wards; the one that has to die, if one has. **longjmp**: the module's function may raise.
    ///
    /// # Safety
    /// `l` runs this hook, for `event`.
    pub unsafe fn look_at_wards(&self, l: *mut lua_State, event: c_int) -> Option<*mut lua_State> {
        self.let_go();
        // SAFETY: by the caller.
        unsafe { self.let_main_go(l, event) };
        if let Some(ward) = self.wards.get(l)
            && ward.doomed.get().is_some()
            && !self.wards.is_seen(ward)
            && !self.frames().any(|f| f.co == l)
        {
            self.wards.note_seen(ward); // killed while it was suspended
            self.publish_seen();
            self.ask_self(WATCH); // whoever has resumed it is to see it end
        }
        let mut dies = None;
        for frame in self.frames().filter(|f| f.is_ward()) {
            let Some(ward) = self.wards.get(frame.co) else {
                continue;
            };
            // SAFETY: by the caller.
            match unsafe { self.fate(l, ward, &frame.times, frame.limits()) } {
                Fate::Fine => {}
                Fate::Warned => return None,
                Fate::Doomed => {
                    frame.killed.set(true);
                    dies = Some(ward.co);
                }
            }
        }
        for ward in self.wards.seen() {
            // SAFETY: the limits of a live coroutine.
            let limits = unsafe { watched::limits(ward.limits.get()) };
            let fate = match (ward.doomed.get(), limits) {
                (Some(_), _) => Fate::Doomed,
                (None, None) => Fate::Fine,
                // SAFETY: by the caller.
                (None, Some(limits)) => unsafe { self.fate(l, ward, &ward.times, limits) },
            };
            match fate {
                Fate::Fine => {}
                Fate::Warned => return None,
                Fate::Doomed => dies = dies.or(Some(ward.co)),
            }
        }
        dies
    }

    /// # Safety
    /// As [`look_at_wards`](State::look_at_wards).
    unsafe fn fate(&self, l: *mut lua_State, ward: &Ward, times: &Times, limits: &Watched) -> Fate {
        if ward.doomed.get().is_some() {
            return Fate::Doomed;
        }
        let now = Ticks::now().as_nanos();
        let elapsed = Duration::from_nanos(now.saturating_sub(times.started.get()));
        if times.warn_at.get() <= now {
            times.warn_at.set(NEVER); // once, also if the function raises
            self.times_have_changed();
            let watch = limits.watch();
            let warning = Warning {
                mark: watch.mark,
                elapsed,
                timeout: watch.kill,
            };
            // SAFETY: by the caller; nothing here owns anything.
            match unsafe { self.warn(l, &warning) } {
                Extension::None => {}
                Extension::Afresh => times.start(limits, Ticks::now().as_nanos()),
                Extension::Grant(more) => {
                    let at = times.kill_at.get().saturating_add(super::nanos(more));
                    times.kill_at.set(at);
                }
            }
            self.times_have_changed();
            return Fate::Warned;
        }
        if times.kill_at.get() > now {
            return Fate::Fine;
        }
        self.doom(l, ward, Reason::Timeout, elapsed, None);
        Fate::Doomed
    }

    fn times_have_changed(&self) {
        self.set_watch_until(self.earliest_frame());
        self.publish_seen();
    }

    /// From here on it is dead, whatever it does.
    fn doom(
        &self,
        l: *mut lua_State,
        ward: &Ward,
        reason: Reason,
        elapsed: Duration,
        message: Option<String>,
    ) {
        let mut traceback = String::new();
        let (limit, suspended) = (ward.limit(), self.jump(ward.co) == 0);
        match suspended {
            true => trace::capture_one(ward.co, &mut traceback),
            false => trace::capture(self, l, self.hookless.is_any(), &mut traceback),
        }
        ward.doom(Stop {
            reason,
            elapsed,
            cpu: Duration::ZERO,
            memory: self.memory.used.get(),
            limit: match reason {
                Reason::Timeout => limit,
                _ => String::new(),
            },
            message,
            traceback,
            enclosing: false,
        });
        if let Some(entry) = self.entry(ward.co) {
            entry.watched.set(watched::killed(entry.watched.get()));
        }
        self.forget_watched();
    }

    /// Kills a coroutine, for somebody who knows its id. `l` runs the hook.
    pub fn kill_coroutine(&self, l: *mut lua_State, co: *mut lua_State, message: Option<String>) {
        let ward = self.wards.add(co);
        if ward.doomed.get().is_some() {
            return;
        }
        let frame = self.frames().find(|f| f.co == co);
        let started = match frame {
            Some(f) if f.is_ward() => f.times.started.get(),
            _ => ward.times.started.get(),
        };
        let elapsed = match started {
            0 => Duration::ZERO,
            at => Duration::from_nanos(Ticks::now().as_nanos().saturating_sub(at)),
        };
        self.doom(l, ward, Reason::Kill, elapsed, message);
        if let Some(frame) = frame {
            frame.killed.set(true);
            frame.times.kill_at.set(0);
            self.set_watch_until(0);
        }
        let by_frame = frame.is_some_and(Frame::is_ward);
        if self.jump(co) == 0 {
            // It dies when it is resumed: by the hook that stays on it; on LuaJIT when it is seen to run.
            self.take_samples();
            self.hook_for_its_end(co);
        } else if !by_frame {
            self.wards.note_seen(ward);
            self.take_samples();
        }
        self.publish_seen();
        self.ask_self(WATCH);
    }

    /// A coroutine that is to die at its next instruction.
    fn hook_for_its_end(&self, co: *mut lua_State) {
        if sys::HOOK_PER_COROUTINE
            && let Some(entry) = self.entry(co)
        {
            // SAFETY: a live coroutine, on its thread.
            unsafe { hook::set_to_wait(self, co, entry) };
        }
    }

    /// The module's object for the error that ends `co`, pushed; false: there is none.
    ///
    /// # Safety
    /// `l` runs this hook.
    pub unsafe fn push_doom(&self, l: *mut lua_State, co: *mut lua_State) -> bool {
        match self.wards.push.get() {
            // SAFETY: by the caller. The object is made by Lua, so the collector is to do nothing now. Nor is the hook: a handler that
            // finds us still at it may have switched hooks on, even here.
            Some(push) => unsafe {
                self.stop_collector();
                self.makes_doom.set(true);
                let pushed = push(l, co);
                self.makes_doom.set(false);
                pushed
            },
            None => false,
        }
    }

    /// Wards that were seen to run, and have come back.
    fn let_go(&self) {
        let mut ended = false;
        while let Some(ward) = self.wards.seen().find(|w| self.jump(w.co) == 0) {
            if ward.doomed.get().is_some() {
                ended = true;
                ward.told.set(true); // by the error that has ended it
            }
            self.wards.forget_seen(ward);
            self.publish_seen();
        }
        if ended {
            self.nobody_dies();
        }
    }

    /// A main state that was to die has, when its host calls something anew.
    ///
    /// # Safety
    /// As [`look_at_wards`](State::look_at_wards).
    unsafe fn let_main_go(&self, l: *mut lua_State, event: c_int) {
        let main = self.main.get();
        let Some(ward) = self.wards.seen().find(|w| w.co == main) else {
            return;
        };
        // Not the first time: the error has to be raised in what runs now.
        if ward.thrown.replace(true)
            && event == sys::LUA_HOOKCALL
            // SAFETY: by the caller.
            && unsafe { self.is_called_by_host(l) }
        {
            self.wards.remove(main);
            self.wards_have_gone();
            self.publish_seen();
            self.nobody_dies();
        }
    }

    /// Whether the function at level 0 was called by the host: below it are nothing but C functions.
    ///
    /// # Safety
    /// `l` runs this hook.
    unsafe fn is_called_by_host(&self, l: *mut lua_State) -> bool {
        let (own, mut waits) = (self.jump(l), false);
        self.for_each_live(|co, _| waits |= self.jump(co) > own);
        // SAFETY: `ar` is plain data, filled before it is read.
        unsafe {
            let (mut ar, mut level): (lua_Debug, c_int) = (std::mem::zeroed(), 1);
            while !waits && sys::lua_getstack(l, level, &mut ar) != 0 {
                waits = !sys::frame_info(l, &mut ar, false) || *ar.what.cast::<u8>() != b'C';
                level += 1;
            }
        }
        !waits
    }

    fn is_ending_one(&self) -> bool {
        self.frames().any(|f| f.is_ward() && f.killed.get())
            || self.wards.seen().any(|w| w.doomed.get().is_some())
    }

    /// A watched coroutine that was to die has come back.
    #[cold]
    pub fn one_has_died(&self, is_ward: bool) {
        if is_ward {
            self.nobody_dies();
        } else if !self.is_stopping_anything() {
            self.end_of_errors();
        }
    }

    fn is_stopping_anything(&self) -> bool {
        self.is_ending_one() || self.is_stopping()
    }

    /// What the errors needed goes.
    fn end_of_errors(&self) {
        self.start_collector();
        hookless::forget(self);
        self.memory.settle();
    }

    /// Perhaps nothing dies any more: then the hooks go.
    fn nobody_dies(&self) {
        if self.is_stopping_anything() {
            return; // whoever ends last does it
        }
        jit::sweep(self);
        self.rehooking.set(true);
        compiler_fence(Ordering::SeqCst);
        hook::remove_everywhere(self);
        if !sys::HOOK_PER_COROUTINE {
            // What has died may have set a hook, which would go on in the others, without any limit. (And `debug.sethook` keeps its
            // function elsewhere, so the one that was there before cannot be put back from here.)
            // SAFETY: live, on this thread.
            unsafe { userhook::set(self, self.main.get(), SavedHook::default()) };
        }
        if self.least_budget().is_some() {
            self.charge(COUNT_STEP);
            hook::start_counting(self);
        }
        for frame in self.frames().filter(|f| f.polled) {
            // SAFETY: it waits for what it has resumed, so it is live, on this thread.
            unsafe { hook::start_polling(self, frame.co, frame.limits().poll) };
        }
        compiler_fence(Ordering::SeqCst);
        self.rehooking.set(false);
        self.end_of_errors();
        for ward in self.wards.each() {
            if ward.doomed.get().is_some() && self.jump(ward.co) == 0 {
                self.hook_for_its_end(ward.co);
            }
        }
    }

    /// A call inside a ward that is dying has been left, and has taken the hooks away.
    #[inline]
    pub fn go_on_ending(&self) {
        if !self.wards.is_empty() && self.is_ending_one() {
            self.ask_self(WATCH);
        }
    }

    // --- coming and going ---

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
