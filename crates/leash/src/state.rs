//! One attached Lua state, as its owner thread sees it.
//!
//! Everything here is read and written on the thread that runs the state: by the boundary, the hook, the allocator, and the signal
//! handler that interrupts them. So the fields are cells, not atomics. What the handler shares with the code it interrupts is kept
//! whole by order: a scope is complete before it is linked, the owner is stored last on entering and taken away first on leaving,
//! and a handler that finds no owner, or no request, touches nothing.

use crate::alloc;
use crate::coroutines::{Coroutines, Entry};
use crate::guest::InterruptFn;
use crate::home::Stack;
use crate::hook;
use crate::hookless::{self, Hookless};
use crate::jit::{self, Jit};
use crate::layout::Layout;
use crate::limits::Reason;
use crate::memory::Memory;
use crate::record::{RECOUNT_STEP, Record, thread_identity};
use crate::request::{CHECK, INTERRUPT, KILL, RECOUNT, SWEEP};
use crate::scope::{Scope, Scopes};
use crate::slab::Place;
use crate::sys::{self, lua_State};
use crate::watch::{Frame, WatchFn, Watched};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock, poke::Thread};

/// The most instructions between two counts: what a coroutine can run without being seen.
pub const COUNT_STEP: i64 = 256;

/// See the module's header.
pub struct State {
    /// The record, by which other threads know this state.
    pub place: Place<Record>,
    /// The main state; null once it is gone.
    pub main: Cell<*mut lua_State>,
    /// The registry table, which identifies the state when the allocator no longer does.
    pub registry: *const c_void,
    /// Saved hook of the main state.
    pub main_entry: Entry,
    /// All other coroutines.
    pub coroutines: Coroutines,
    /// Size of a coroutine's block, and where in it the `lua_State` lies.
    pub coroutine_size: Cell<usize>,
    /// See `coroutine_size`.
    pub coroutine_offset: Cell<usize>,
    /// Places found in a `lua_State`.
    pub layout: Cell<Layout>,

    /// Its memory, and the host's allocator.
    pub memory: Memory,

    /// Memory for scopes.
    pub scopes: Scopes,
    /// The innermost open scope, and the coroutine in which it was opened.
    pub scope: Cell<*const Scope>,
    /// See `scope`.
    pub scope_state: Cell<*mut lua_State>,
    /// A stop has been delivered since the last call began or ended.
    pub delivered: Cell<bool>,
    /// Count hooks are being set or taken away: a look at them says nothing.
    pub rehooking: Cell<bool>,
    /// When the count hooks were last looked at.
    pub recounted: Cell<Ticks>,
    /// Our hook may be set somewhere.
    pub hooked: Cell<bool>,
    /// Deliveries since the hook last found nothing to stop.
    pub unanswered: Cell<u32>,
    /// Where hooks have been switched on.
    pub hookless: Hookless,
    /// Where the code was when it was stopped; filled once for each stop.
    pub traceback: RefCell<String>,
    /// The collector was stopped by us, to raise an error.
    pub collector_stopped: Cell<bool>,

    /// While the attach looks for the blocks of a coroutine: the last few blocks that were made.
    pub learning: Cell<bool>,
    recent: Cell<[(usize, usize); 8]>,
    /// The thread that runs the state, as `pthread_self`, which a fork keeps.
    pub pthread: Cell<usize>,
    /// That thread's stack.
    pub stack: Cell<Stack>,
    /// The allocator keeps `thread` up to date: the state is run by others than us ([`crate::home`]).
    pub follows: Cell<bool>,
    /// Attached for the life of the state ([`crate::Guest`]).
    pub belongs_to_lua: Cell<bool>,
    /// The innermost resume of a watched coroutine that is going on, and the earliest point in time of all.
    pub frame: Cell<*const Frame>,
    /// See `frame`.
    pub watch_until: Cell<u64>,
    /// The coroutine that was last asked for, and its watch: a cache.
    pub last_watched: Cell<(*mut lua_State, *const Watched)>,
    /// How compiled code is made to stop.
    pub jit: Cell<Jit>,
    /// LuaJIT: we have turned the compiler off.
    pub interpreted: Cell<bool>,
    /// [`crate::Vm::close`] is at work.
    pub closing: Cell<bool>,
    /// What to call when a watch is due.
    pub on_watch: Cell<Option<WatchFn>>,
    /// What to call when a coroutine is interrupted.
    pub on_interrupt: Cell<Option<InterruptFn>>,
}

impl State {
    /// A state around `main`; the allocator is not wrapped yet.
    ///
    /// # Safety
    /// `main` is the main state, live, on its own thread.
    pub unsafe fn new(main: *mut lua_State, place: Place<Record>) -> State {
        // SAFETY: by the caller.
        let (registry, base, used) = unsafe {
            (
                sys::lua_topointer(main, sys::LUA_REGISTRYINDEX),
                sys::allocator(main),
                sys::bytes_in_use(main),
            )
        };
        State {
            place,
            main: Cell::new(main),
            registry,
            main_entry: Entry::default(),
            coroutines: Coroutines::new(),
            coroutine_size: Cell::new(usize::MAX),
            coroutine_offset: Cell::new(0),
            layout: Cell::new(Layout::default()),
            memory: Memory::new(base, used),
            scopes: Scopes::default(),
            scope: Cell::new(ptr::null()),
            scope_state: Cell::new(ptr::null_mut()),
            delivered: Cell::new(false),
            rehooking: Cell::new(false),
            recounted: Cell::new(Ticks::from_nanos(0)),
            hooked: Cell::new(false),
            unanswered: Cell::new(0),
            hookless: Hookless::default(),
            traceback: RefCell::new(String::new()),
            collector_stopped: Cell::new(false),
            learning: Cell::new(false),
            recent: Cell::new([(0, 0); 8]),
            pthread: Cell::new(0),
            stack: Cell::new((0, 0)),
            follows: Cell::new(false),
            belongs_to_lua: Cell::new(false),
            frame: Cell::new(ptr::null()),
            watch_until: Cell::new(u64::MAX),
            last_watched: Cell::new((ptr::null_mut(), ptr::null())),
            jit: Cell::new(Jit::default()),
            interpreted: Cell::new(false),
            closing: Cell::new(false),
            on_watch: Cell::new(None),
            on_interrupt: Cell::new(None),
        }
    }

    /// The record.
    pub fn record(&self) -> &'static Record {
        self.place.get()
    }

    // --- the allocator's side ---

    /// Puts our allocator in front of the host's.
    ///
    /// # Safety
    /// The state is live, on this thread; `self` stays where it is until [`unwrap_allocator`](Self::unwrap_allocator).
    pub unsafe fn wrap_allocator(&self) {
        let ud = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: by the caller.
        unsafe { sys::lua_setallocf(self.main.get(), alloc::allocate, ud) };
    }

    /// Puts the host's allocator back, if ours is still the one in force.
    ///
    /// # Safety
    /// The state is live, on this thread.
    pub unsafe fn unwrap_allocator(&self) {
        if self.allocator_is_ours() {
            // SAFETY: by the caller.
            unsafe {
                let (f, ud) = self.memory.base();
                sys::lua_setallocf(self.main.get(), f, ud);
            }
        }
    }

    /// Stops the collector until the boundary has control.
    ///
    /// # Safety
    /// The state is live, on this thread. Allowed in a hook: it sets a word.
    pub unsafe fn stop_collector(&self) {
        let main = self.main.get();
        // SAFETY: by the caller.
        unsafe {
            if !self.collector_stopped.get() && sys::gc(main, sys::COLLECTOR_IS_RUNNING) != 0 {
                sys::gc(main, sys::LUA_GCSTOP);
                self.collector_stopped.set(true);
            }
        }
    }

    /// Whether the allocator still tells us of coroutines. A host may change it after the attach.
    pub fn allocator_is_ours(&self) -> bool {
        // SAFETY: `main` is live (it is null otherwise, and callers look).
        let (f, ud) = unsafe { sys::allocator(self.main.get()) };
        alloc::is_ours(f) && ud.cast_const().cast() == ptr::from_ref(self)
    }

    /// The block that holds the main state is being freed.
    pub fn main_is_gone(&self) {
        self.place.clear_pending();
        self.record().request.renew();
        let in_a_call = !self.scope.get().is_null();
        self.record().closing.store(in_a_call, Ordering::Relaxed);
        self.record().owner.store(0, Ordering::Release);
        self.record()
            .state
            .store(ptr::null_mut(), Ordering::Release);
        // SAFETY: owner thread. The state is gone, or about to.
        unsafe { jit::unguard(self, false) };
        self.main.set(ptr::null_mut());
        self.coroutines.clear();
        self.main_entry.release();
        self.forget_watched();
    }

    /// A coroutine has gone, or got a watch.
    pub fn forget_watched(&self) {
        self.last_watched.set((ptr::null_mut(), ptr::null()));
    }

    /// The entry of a coroutine; none if it is not in the set.
    pub fn entry(&self, co: *mut lua_State) -> Option<&Entry> {
        if co == self.main.get() {
            Some(&self.main_entry)
        } else {
            self.coroutines.get(co)
        }
    }

    /// Frees a state that belonged to Lua, which is gone.
    ///
    /// # Safety
    /// `state` was leaked by the attach, `main_is_gone` has been called, and nobody uses it afterwards.
    pub unsafe fn free(state: *const State) {
        // SAFETY: by the caller.
        let state = unsafe { Box::from_raw(state.cast_mut()) };
        state.place.give_back();
    }

    /// Calls `f` for the main state and every other live, initialised coroutine. **Signal context.** A set that is being
    /// changed right now is left alone: the next delivery finds it whole.
    pub fn for_each_live(&self, mut f: impl FnMut(*mut lua_State, &Entry)) {
        f(self.main.get(), &self.main_entry);
        if sys::HOOK_PER_COROUTINE && self.allocator_is_ours() {
            self.coroutines.for_each(|co, entry| {
                // SAFETY: in the set: its block is allocated, of a coroutine's size, and zeroed before Lua set it up.
                if self.is_coroutine(co) && unsafe { sys::is_initialised(co) } {
                    f(co, entry);
                }
            });
        }
    }

    /// Notes a block while learning.
    pub fn remember_block(&self, block: usize, size: usize) {
        let mut r = self.recent.get();
        r.rotate_right(1);
        r[0] = (block, size);
        self.recent.set(r);
    }

    /// Which of the last blocks holds `address`.
    pub fn block_of(&self, address: usize) -> Option<(usize, usize)> {
        let r = self.recent.get();
        r.into_iter()
            .find(|&(b, size)| address.wrapping_sub(b) < size)
    }

    /// Whether a block of a coroutine's size is one. **Signal context.**
    pub fn is_coroutine(&self, co: *mut lua_State) -> bool {
        if !cfg!(feature = "lua51") {
            return true;
        }
        let Some(global) = self.layout.get().global else {
            return false;
        };
        // SAFETY: `co` is in the set, so its block is live and of a coroutine's size; both words lie in it. If it is something
        // else that looks the same (a buffer that a script has filled to that end), then `lua_sethook`, which in 5.1 stores
        // four words inside the block, spoils that script's own buffer and nothing else.
        unsafe {
            let tag = co.cast::<u8>().add(sys::TYPE_TAG_OFFSET).read();
            let word = |l: *mut lua_State| l.byte_add(global).cast::<usize>().read();
            tag == sys::LUA_TTHREAD as u8 && word(co) == word(self.main.get())
        }
    }

    // --- scopes ---

    /// Calls `f` for each open scope, the innermost first.
    pub fn for_each_scope(&self, mut f: impl FnMut(&Scope)) {
        let mut s = self.scope.get();
        // SAFETY: open scopes stay in place, each linked to the next until null.
        while let Some(scope) = unsafe { s.as_ref() } {
            f(scope);
            s = scope.outer;
        }
    }

    /// Opens a scope for code that runs in `l`.
    pub fn enter(&self, scope: &Scope, l: *mut lua_State) {
        let record = self.record();
        let outermost = scope.outer.is_null();
        if outermost {
            jit::unmark(self); // a late delivery
            // Requests were for calls that are over.
            self.place.clear_pending();
            record
                .request
                .answer(CHECK | INTERRUPT | KILL | RECOUNT | SWEEP);
            record.settled();
            self.unanswered.set(0);
            self.traceback.borrow_mut().clear();
            record
                .started
                .store(scope.started.as_nanos(), Ordering::Relaxed);
            if scope.cpu_until != u64::MAX {
                self.publish_clock();
            }
        } else if scope.cpu_until != u64::MAX {
            self.publish_clock();
        }
        if scope.budget.get().is_some() || self.jit.get() == Jit::Interpreted {
            self.interpret_only();
        }
        self.memory.begin();
        self.scope_state.set(l);
        self.rehooking.set(true);
        compiler_fence(Ordering::SeqCst);
        self.scope.set(scope);
        if outermost {
            self.pthread.set(thread_identity());
            if self.follows.get() {
                self.follow_to_this_thread();
            }
            record
                .owner
                .store(Thread::current().to_bits(), Ordering::Release);
        }
        self.publish();
        if scope.budget.get().is_some() {
            self.recounted.set(scope.started);
            self.for_each_scope(|s| {
                if !ptr::eq(s, scope)
                    && let Some(left) = s.budget.get()
                {
                    s.budget.set(Some(left.saturating_sub(COUNT_STEP)));
                }
            });
            hook::start_counting(self);
        }
        compiler_fence(Ordering::SeqCst);
        self.rehooking.set(false);
        if scope.deadline <= scope.started
            || scope.cpu_until <= nanos(scope.cpu_started)
            || scope.budget.get().is_some_and(|n| n <= 0)
        {
            self.ask_self(CHECK); // a limit of zero needs no timer
        }
    }

    /// Compiled code is not entered from now on: it counts no instructions. Compiled code that called us goes on in the
    /// interpreter.
    pub fn interpret_only(&self) {
        // SAFETY: the state is live, on this thread.
        unsafe { sys::interpret_only(self.main.get()) };
        self.interpreted.set(true);
    }

    /// Undoes [`interpret_only`](State::interpret_only).
    pub fn compile_again(&self) {
        if self.interpreted.replace(false) {
            // SAFETY: the state is live, on this thread.
            unsafe { sys::compile_again(self.main.get()) };
        }
    }

    fn publish_clock(&self) {
        let clock = ThreadClock::current().to_bits();
        self.record().cpu_clock.store(clock, Ordering::Relaxed);
    }

    /// Copies the limits in force to where the timer thread and the allocator look, and arms the alarm.
    fn publish(&self) {
        let record = self.record();
        // SAFETY: the innermost open scope, if any.
        let scope = unsafe { self.scope.get().as_ref() };
        let deadline = scope.map_or(Ticks::NEVER, |s| s.earliest);
        let cpu = scope.map_or(u64::MAX, |s| s.cpu_earliest);
        self.memory
            .set_limit(scope.map_or(usize::MAX, |s| s.memory_least));
        record
            .deadline
            .store(deadline.as_nanos(), Ordering::Relaxed);
        record.cpu_until.store(cpu, Ordering::Relaxed);
        record.scoped.store(scope.is_some(), Ordering::Relaxed);
        if scope.is_none() {
            let sweeps = record.next_sweep() != Ticks::NEVER;
            if self.follows.get() && (record.request.flags() != 0 || sweeps) {
                record.arm(Ticks::now()); // a coroutine has been interrupted by its id
            } else {
                match record.watching.next_look() {
                    Ticks::NEVER => record.disarm(),
                    at => record.arm(at),
                }
            }
            return;
        }
        let mut at = deadline
            .min(record.next_sweep())
            .min(record.watching.next_look());
        let counting = self.least_budget().is_some();
        record.counting.store(counting, Ordering::Relaxed);
        if counting {
            at = at.min(Ticks::now().after(RECOUNT_STEP));
        }
        if cpu != u64::MAX {
            // A thread gets no more CPU time than time passes, so nothing is due before this.
            let used = ThreadClock::current().read().unwrap_or_default();
            let left = cpu.saturating_sub(nanos(used));
            at = at.min(Ticks::now().after(Duration::from_nanos(left)));
        }
        record.arm(at);
        if record.request.flags() != 0 {
            record.arm(Ticks::now()); // see `record`, "No request is lost"
        }
    }

    /// Closes the innermost scope. True if a stop goes on in a scope around it.
    pub fn leave(&self, scope: &Scope) -> bool {
        let record = self.record();
        let outermost = scope.outer.is_null();
        if self.main.get().is_null() {
            self.scope.set(scope.outer);
            record.scoped.store(false, Ordering::Relaxed);
            record.closing.store(false, Ordering::Relaxed);
            record.disarm();
            return false;
        }
        self.scope.set(scope.outer);
        let mut goes_on = false;
        self.for_each_scope(|s| goes_on |= s.hit.get().is_some());
        if !goes_on {
            // First no handler finds a request, then the hooks go.
            self.place.clear_pending();
            record.request.answer(if outermost {
                CHECK | INTERRUPT | KILL | SWEEP
            } else {
                CHECK | SWEEP
            });
            if outermost && !self.follows.get() {
                record.owner.store(0, Ordering::Release);
            }
            record.settled();
            compiler_fence(Ordering::SeqCst);
            // Setting a count hook anew forgets what has been counted: so not without need, and never for nothing.
            let counting = self.least_budget().is_some();
            if self.delivered.get() {
                jit::sweep(self);
            }
            if self.delivered.replace(false) || self.hooked.get() && !counting {
                self.hooked.set(false);
                self.rehooking.set(true);
                compiler_fence(Ordering::SeqCst);
                hook::remove_everywhere(self);
                if counting {
                    self.charge(COUNT_STEP);
                    hook::start_counting(self);
                }
                compiler_fence(Ordering::SeqCst);
                self.rehooking.set(false);
            }
            if !counting && self.jit.get() == Jit::Guarded {
                self.compile_again();
            }
            if self.collector_stopped.replace(false) {
                // SAFETY: the state is live, on its thread; this sets a word.
                unsafe { sys::gc(self.main.get(), sys::LUA_GCRESTART) };
            }
            hookless::forget(self);
            self.memory.settle();
        }
        // SAFETY: the scope around this one is open. It may be none.
        let outer = unsafe { scope.outer.as_ref() };
        self.scope_state
            .set(outer.map_or(self.main.get(), |o| o.l.get()));
        self.publish();
        goes_on
    }

    /// What has to end now, if anything: the outermost scope that is due.
    pub fn verdict(&self) -> Option<Reason> {
        self.drop_abandoned();
        let flags = self.record().request.flags();
        if flags & (INTERRUPT | KILL) != 0 {
            let reason = if flags & INTERRUPT != 0 {
                Reason::Interrupt
            } else {
                Reason::Kill
            };
            self.for_each_scope(|s| {
                if s.outer.is_null() {
                    s.hit(reason);
                }
            });
        }
        let now = Ticks::now();
        let mut cpu = Duration::ZERO;
        // SAFETY: the innermost open scope, if any.
        if unsafe { self.scope.get().as_ref() }.is_some_and(|s| s.cpu_earliest != u64::MAX) {
            cpu = ThreadClock::current().read().unwrap_or_default();
        }
        let mut verdict = None;
        self.for_each_scope(|s| {
            s.look(now, cpu);
            verdict = s.hit.get().or(verdict);
        });
        verdict
    }

    /// Asks on the owner thread itself, and delivers at once.
    pub fn ask_self(&self, flags: u64) {
        let record = self.record();
        if record.request.ask(record.request.generation(), flags) {
            self.place.set_pending();
            hook::act(self, flags);
            record.arm(Ticks::now()); // asks again until it is answered
        }
    }

    /// The fewest instructions that any open scope has left; none: nobody counts.
    pub fn least_budget(&self) -> Option<i64> {
        let mut least = None;
        self.for_each_scope(|s| {
            if let Some(n) = s.budget.get() {
                least = Some(least.map_or(n, |l: i64| l.min(n)));
            }
        });
        least
    }

    /// Takes `n` instructions from every budget.
    pub fn charge(&self, n: i64) {
        self.for_each_scope(|s| {
            if let Some(left) = s.budget.get() {
                s.budget.set(Some(left.saturating_sub(n)));
            }
        });
    }

    /// A new coroutine starts a count of its own, of which up to a step is never seen.
    #[inline]
    pub fn charge_for_coroutine(&self) {
        if !self.scope.get().is_null() {
            self.charge(COUNT_STEP);
        }
    }

    /// The next base count for a count hook.
    pub fn count_step(&self) -> c_int {
        self.least_budget()
            .unwrap_or(COUNT_STEP)
            .clamp(1, COUNT_STEP) as c_int
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
