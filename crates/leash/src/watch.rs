//! Coroutines that must yield in time.
//!
//! A watch belongs to a coroutine and counts from each resume to the yield that ends it. The resume goes through
//! [`Guest::resume`], which notes the limits in a frame on the C stack, calls `lua_resume`, and takes the frame away. While frames are
//! open, the record of the state holds the earliest of their points in time, and the timer thread looks at it. When one has passed,
//! the hook is set on that coroutine alone, and asks the module what to do ([`WatchFn`]): warn, and perhaps start afresh, or kill.
//!
//! **What a resume pays** is two stores, a look into the set of coroutines, and a clock. The clock is the coarse one (3 ns; a tick of the
//! kernel, some milliseconds, is added so that nothing comes early), unless the limit is short. There is no fence and no arming:
//! the alarm stands at some earlier deadline, and when it fires, the timer thread reads the present one and moves on to it. Only when no
//! deadline has been there for a while does the timer thread go to sleep for good; before that it runs a `membarrier`, which puts the
//! fence that the resume has saved where the timer thread is. Where the kernel has none, it goes on looking ten times a second.
//!
//! **A kill** is the same error as any stop, repeated at each instruction until the coroutine is dead or has returned; the frame
//! is then closed, and the coroutine counts as dead whatever it did.
//!
//! A frame is plain data on the stack of the resume, which no error jumps over: `lua_resume` catches all.

use crate::guest::Guest;
use crate::hook;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use watchdog::Ticks;

/// Limits of one coroutine, counted from each resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// When it is killed.
    pub kill: Option<Duration>,
    /// When its owner is told.
    pub warn: Option<Duration>,
    /// The limits follow a clock of the user's: instead of our timer, the [`WatchFn`] is called with [`Event::Poll`] every so
    /// many instructions.
    pub poll: Option<u32>,
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

/// What an entry of the set of coroutines holds.
pub struct Watched {
    limits: Watch,
    killed: Cell<bool>,
}

/// One resume that is going on.
pub struct Frame {
    outer: *const Frame,
    co: *mut lua_State,
    watched: *const Watched,
    kill_at: Cell<u64>,
    warn_at: Cell<u64>,
}

const NEVER: u64 = u64::MAX;

/// Limits shorter than this are worth the exact clock.
const SHORT: Duration = Duration::from_millis(50);

impl Frame {
    /// The next point in time at which something is due, outer frames not counted.
    fn next(&self) -> u64 {
        self.kill_at.get().min(self.warn_at.get())
    }

    fn start(&self, limits: &Watch) {
        let now = start_time(limits);
        let at = |limit: Option<Duration>| {
            limit.map_or(NEVER, |d| {
                now.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(NEVER))
            })
        };
        self.kill_at.set(at(limits.kill));
        self.warn_at.set(at(limits.warn));
    }
}

/// The time from which a limit counts: never before the present, and up to a tick later where that is cheaper.
fn start_time(limits: &Watch) -> u64 {
    let short = |limit: Option<Duration>| limit.is_some_and(|d| d < SHORT);
    if short(limits.kill) || short(limits.warn) {
        return Ticks::now().as_nanos();
    }
    coarse_now() + resolution()
}

/// The present, or up to a tick of the kernel before it.
fn coarse_now() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: valid for writing.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut t) } != 0 {
        return Ticks::now().as_nanos();
    }
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// The coarse clock's tick.
fn resolution() -> u64 {
    static TICK: AtomicU64 = AtomicU64::new(0);
    match TICK.load(Ordering::Relaxed) {
        0 => {
            let mut t = libc::timespec {
                tv_sec: 0,
                tv_nsec: 10_000_000,
            };
            // SAFETY: valid for writing; a failure leaves a safe value.
            unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut t) };
            TICK.store(t.tv_nsec as u64, Ordering::Relaxed);
            t.tv_nsec as u64
        }
        tick => tick,
    }
}

/// What the timer thread has to know of the open frames of a state.
pub struct Watching {
    /// The earliest point in time of all open frames. Written by the owner at every resume, without a fence.
    until: AtomicU64,
    /// No later than this the timer thread looks again. Written by both sides.
    looks_at: AtomicU64,
    /// Looks that have found nothing in a row.
    idle: AtomicU32,
}

impl Default for Watching {
    fn default() -> Self {
        Watching {
            until: AtomicU64::new(NEVER),
            looks_at: AtomicU64::new(NEVER),
            idle: AtomicU32::new(0),
        }
    }
}

/// How long, and how often, the timer thread goes on looking when no frame is open.
const IDLE_LOOKS: u32 = 4;
const IDLE_PAUSE: Duration = Duration::from_millis(100);

impl Watching {
    /// Back to the start, for another state.
    pub fn reset(&self) {
        self.until.store(NEVER, Ordering::Relaxed);
        self.looks_at.store(NEVER, Ordering::Relaxed);
    }

    /// Owner: sets the earliest point in time. True if the timer thread has to be told.
    ///
    /// Relaxed, without a fence: see `due`.
    #[inline]
    fn set(&self, until: u64) -> bool {
        self.until.store(until, Ordering::Relaxed);
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        until < self.looks_at.load(Ordering::Relaxed)
    }

    /// Timer thread: is a frame late, and if not, when to look again.
    pub fn due(&self, now: Ticks) -> (bool, Ticks) {
        if self.looks_at.load(Ordering::Relaxed) == NEVER {
            return (false, Ticks::NEVER);
        }
        let mut until = self.until.load(Ordering::Relaxed);
        let mut next = until;
        if until == NEVER {
            let idle = self.idle.fetch_add(1, Ordering::Relaxed);
            next = now.after(IDLE_PAUSE).as_nanos();
            if idle >= IDLE_LOOKS {
                // Going to sleep. The owner stores `until` and then reads `looks_at`; here it is the other way round. His half
                // of the fence is made by `membarrier`: after it, either he has seen NEVER, and tells us, or we see his store.
                self.looks_at.store(NEVER, Ordering::SeqCst);
                if membarrier() {
                    until = self.until.load(Ordering::SeqCst);
                    next = until;
                }
            }
        } else {
            self.idle.store(0, Ordering::Relaxed);
        }
        self.looks_at.store(next, Ordering::Relaxed);
        if until <= now.as_nanos() {
            return (true, Ticks::NEVER); // asked for again and again, until it is answered
        }
        (false, Ticks::from_nanos(next))
    }
}

/// A full fence on every thread of this process that runs. False where the kernel has no such thing.
fn membarrier() -> bool {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    const PRIVATE_EXPEDITED: c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;
    // SAFETY: the system call has no memory effects.
    let call = |command: c_int| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 };
    if !REGISTERED.load(Ordering::Relaxed) {
        if !call(REGISTER_PRIVATE_EXPEDITED) {
            return false;
        }
        REGISTERED.store(true, Ordering::Relaxed);
    }
    // A child of a fork has to register again.
    call(PRIVATE_EXPEDITED) || call(REGISTER_PRIVATE_EXPEDITED) && call(PRIVATE_EXPEDITED)
}

impl Guest {
    /// What to call when a watch is due.
    pub fn on_watch(&self, f: WatchFn) {
        self.state().on_watch.set(Some(f));
    }

    /// Watches `co`, from its next resume through [`resume`](Guest::resume) on. False if it is watched already, or there is no
    /// memory for it.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state.
    pub unsafe fn watch(&self, co: *mut lua_State, limits: Watch) -> bool {
        let state = self.state();
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
        entry.watched.set(Box::into_raw(Box::new(Watched {
            limits,
            killed: Cell::new(false),
        })));
        true
    }

    /// The limits of a watched coroutine.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state.
    pub unsafe fn watch_of(&self, co: *mut lua_State) -> Option<Watch> {
        self.watched(co).map(|w| w.limits)
    }

    /// Whether its watch has killed this coroutine.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state.
    pub unsafe fn is_killed(&self, co: *mut lua_State) -> bool {
        self.watched(co).is_some_and(|w| w.killed.get())
    }

    #[inline]
    fn watched(&self, co: *mut lua_State) -> Option<&Watched> {
        let state = self.state();
        let (last, w) = state.last_watched.get();
        let w = if last == co {
            w
        } else {
            state.find_watched(co)
        };
        // SAFETY: the box belongs to the entry, which lives as long as the coroutine; `last_watched` is forgotten with it.
        unsafe { w.as_ref() }
    }

    /// `lua_resume` of `co` from `l`, with `nargs` arguments on its stack, under its watch if it has one.
    ///
    /// # Safety
    /// As `lua_resume`, on the state's thread.
    #[inline]
    pub unsafe fn resume(&self, l: *mut lua_State, co: *mut lua_State, nargs: c_int) -> Resumed {
        let mut nres = 0;
        let watched = match self.watched(co) {
            // Not watched; or the main state, which never times out.
            None => {
                // SAFETY: by the caller.
                let status = unsafe { sys::lua_resume(co, l, nargs, &mut nres) };
                return Resumed::Status(status, nres);
            }
            Some(w) => w,
        };
        if watched.killed.get() {
            return Resumed::Killed;
        }
        let state = self.state();
        let frame = Frame {
            outer: state.frame.get(),
            co,
            watched,
            kill_at: Cell::new(NEVER),
            warn_at: Cell::new(NEVER),
        };
        let outer_until = state.watch_until.get();
        match watched.limits.poll {
            None => frame.start(&watched.limits),
            // SAFETY: a live coroutine, on its thread.
            Some(n) => unsafe { hook::start_polling(state, co, n) },
        }
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        state.frame.set(&frame);
        state.set_watch_until(outer_until.min(frame.next()));
        // SAFETY: by the caller. All errors are caught there.
        let status = unsafe { sys::lua_resume(co, l, nargs, &mut nres) };
        state.frame.set(frame.outer);
        state.set_watch_until(outer_until);
        // The state may have been closed, and the coroutine with it, only by leaving the process.
        if watched.limits.poll.is_some() || watched.killed.get() {
            // SAFETY: as above.
            unsafe { hook::stop_watching(state, co) };
        }
        if outer_until != NEVER && outer_until <= coarse_now() {
            state.ask_self(crate::request::WATCH); // the coroutine that resumed this one is late itself
        }
        if watched.killed.get() {
            Resumed::Killed
        } else {
            Resumed::Status(status, nres)
        }
    }
}

/// The end of [`Watched`], with its coroutine.
pub fn release(watched: *const Watched) {
    if !watched.is_null() {
        // SAFETY: made by `watch`; the entry that held it has just let go of it, and no frame refers to a coroutine that is
        // being collected.
        drop(unsafe { Box::from_raw(watched.cast_mut()) });
    }
}

impl State {
    /// The watch of a coroutine, or null. Remembers the answer: most programs resume the same coroutine many times.
    fn find_watched(&self, co: *mut lua_State) -> *const Watched {
        let w = self.entry(co).map_or(std::ptr::null(), |e| e.watched.get());
        self.last_watched.set((co, w));
        w
    }

    #[inline]
    fn set_watch_until(&self, until: u64) {
        self.watch_until.set(until);
        let watching = &self.record().watching;
        if watching.set(until) {
            self.tell_timer(until);
        }
    }

    #[cold]
    fn tell_timer(&self, until: u64) {
        let watching = &self.record().watching;
        watching.idle.store(0, Ordering::Relaxed);
        watching.looks_at.store(until, Ordering::Relaxed);
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
            // SAFETY: the watch of a coroutine that is being resumed.
            let killed = unsafe { &*frame.watched }.killed.get();
            // Where all coroutines share a hook, a late one waits until what it resumed comes back.
            let reachable = sys::HOOK_PER_COROUTINE || std::ptr::eq(p, self.frame.get());
            if reachable && (killed || frame.next() <= now) {
                f(frame.co);
            }
            p = frame.outer;
        }
    }

    /// The base count of a polled watch on the coroutine that runs.
    pub fn polling(&self, l: *mut lua_State) -> Option<u32> {
        // SAFETY: the watch of a coroutine that is being resumed.
        self.frame_of(l)
            .and_then(|f| unsafe { &*f.watched }.limits.poll)
    }

    /// What is to be done with the coroutine that runs this hook. True: it has to die. **longjmp**: the module's function may
    /// raise.
    ///
    /// # Safety
    /// `l` runs this hook; `polled` if it is the count hook of a polled watch.
    pub unsafe fn look_at_watch(&self, l: *mut lua_State, polled: bool) -> bool {
        let Some(frame) = self.frame_of(l) else {
            return false;
        };
        // SAFETY: as above.
        let watched = unsafe { &*frame.watched };
        if watched.killed.get() {
            return true;
        }
        let ask = |event| match self.on_watch.get() {
            // SAFETY: `l` runs this hook; nothing here owns anything.
            Some(f) => unsafe { f(l, event) },
            None => Answer::GoOn,
        };
        if watched.limits.poll.is_some() {
            if polled && ask(Event::Poll) == Answer::Kill {
                watched.killed.set(true);
            }
            return watched.killed.get();
        }
        let now = Ticks::now().as_nanos();
        if frame.warn_at.get() <= now {
            frame.warn_at.set(NEVER); // once, also if the function raises
            self.set_watch_until(self.earliest_frame());
            if ask(Event::Warn) == Answer::Afresh {
                frame.start(&watched.limits);
                self.set_watch_until(self.earliest_frame());
            }
            return false;
        }
        if frame.kill_at.get() <= now {
            watched.killed.set(true); // also if the function raises
            ask(Event::Kill);
            return true;
        }
        false
    }

    fn earliest_frame(&self) -> u64 {
        let (mut earliest, mut p) = (NEVER, self.frame.get());
        // SAFETY: as above.
        while let Some(frame) = unsafe { p.as_ref() } {
            earliest = earliest.min(frame.next());
            p = frame.outer;
        }
        earliest
    }
}
