//! One attached Lua state, as its owner thread sees it.
//!
//! Everything here is read and written on the thread that runs the state: by the boundary, the hook, the allocator, and the signal
//! handler that interrupts them. So the fields are cells, not atomics. What the handler shares with the code it interrupts is kept
//! whole by order: a scope is complete before it is linked, the owner is stored last on entering and taken away first on leaving,
//! and a handler that finds no owner, or no request, touches nothing.

use crate::alloc;
use crate::coroutines::{Coroutines, Entry};
use crate::glue::Glue;
use crate::guest::InterruptFn;
use crate::home::Stack;
use crate::hookless::Hookless;
use crate::jit::{self, Jit};
use crate::layout::Layout;
use crate::leftover::Leftover;
use crate::memory::Memory;
use crate::record::Record;
use crate::said::Said;
use crate::scope::{Scope, Scopes};
use crate::slab::Place;
use crate::sys::{self, lua_State};
use crate::target::{self, Target};
use crate::watch::{Frame, Wards, WatchFn, Watched};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use watchdog::Ticks;

/// The most instructions between two counts: what a coroutine can run without being seen.
pub const COUNT_STEP: i64 = 256;

/// See the module's header.
pub struct State {
    /// The record, by which other threads know this state.
    pub place: Place<Record>,
    /// The main state; null once it is gone.
    pub main: Cell<*mut lua_State>,
    /// An address in the block that tells, when it is freed, that the state is going: the main state's; on LuaJIT, while it is being closed, the [sentinel](crate::sentinel)'s.
    pub landmark: Cell<usize>,
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
    /// The open scopes ([`crate::asleep`]), the newest first, and the coroutine in which that was opened.
    pub scope: Cell<*const Scope>,
    /// See `scope`.
    pub scope_state: Cell<*mut lua_State>,
    /// Those that are asleep and not looked at before `parked_until`.
    pub parked: Cell<*const Scope>,
    /// See `parked`.
    pub parked_until: Cell<Ticks>,
    /// Some call that is asleep has to end when it wakes up.
    pub dozing: Cell<bool>,
    /// How many scopes in the list of the open ones may fall asleep, or vanish.
    pub loose: Cell<usize>,
    /// The last one that was given to a scope.
    pub serial: Cell<c_int>,
    /// A call that counts instructions has been seen asleep.
    pub shuffles: Cell<bool>,
    /// The thread's CPU time when it was last charged.
    pub cpu_sampled: Cell<Duration>,
    /// LuaJIT: functions that are part of a call's boundary ([`crate::glue`]).
    pub glue: Glue,
    /// A stop has been delivered since the last call began or ended.
    pub delivered: Cell<bool>,
    /// Count hooks are being set or taken away: a look at them says nothing.
    pub rehooking: Cell<bool>,
    /// When the count hooks were last looked at.
    pub recounted: Cell<Ticks>,
    /// Looks at the count hooks since one of them last ran.
    pub uncounted: Cell<u32>,
    /// Our hook may be set somewhere.
    pub hooked: Cell<bool>,
    /// LuaJIT: instructions for which it is to stay there although nothing is due.
    pub lingers: Cell<u32>,
    /// With these masks, besides `sys::MASK_ALL`.
    pub our_masks: Cell<c_int>,
    /// Deliveries since the hook last found nothing to stop.
    pub unanswered: Cell<u32>,
    /// Where hooks have been switched on.
    pub hookless: Hookless,
    /// Where the code was when it was stopped; filled once for each stop.
    pub traceback: RefCell<String>,
    /// The target of the state as a whole, once it has an id.
    pub whole: Cell<Option<&'static Target>>,
    /// What was said with the interrupt that is being handled.
    pub heard: Said,
    /// What was said by whoever has killed the state.
    pub said: RefCell<Option<String>>,
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
    /// Coroutines that must yield in time whoever resumes them, and those that were killed.
    pub wards: Wards,
    /// How compiled code is made to stop.
    pub jit: Cell<Jit>,
    /// LuaJIT: the place of `prof_mode`, while it is ours to change ([`crate::guards`]); else null.
    #[cfg(feature = "luajit")]
    pub prof_mode: Cell<*mut std::ffi::c_int>,
    /// LuaJIT: where the recording began that is under way.
    #[cfg(feature = "luajit")]
    pub recorded_from: Cell<std::ffi::c_int>,
    /// LuaJIT: we have turned the compiler off.
    pub interpreted: Cell<bool>,
    /// The coroutine from which the module was last entered ([`crate::Guest::attach`]).
    pub caller: Cell<*mut lua_State>,
    /// And it stays off.
    pub stays_interpreted: Cell<bool>,
    /// LuaJIT: the function that ends a recording is there ([`crate::recorder`]).
    #[cfg(feature = "luajit")]
    pub can_settle: Cell<bool>,
    /// It was on before.
    pub compiles_later: Cell<bool>,
    /// LuaJIT: the registry holds what tells when the state is being closed ([`crate::sentinel`]).
    pub has_sentinel: Cell<bool>,
    /// Code of our own runs in the state, and ends soon: the error that ends a coroutine is being made, or LuaJIT is asked for something. The hook is to leave that alone.
    pub runs_ours: Cell<bool>,
    /// [`crate::Vm::close`] is at work.
    pub closing: Cell<bool>,
    /// What finalizers leave then.
    pub leftover: Leftover,
    /// What to call when a watch is due.
    pub on_watch: Cell<Option<WatchFn>>,
    /// What to call when a coroutine is interrupted.
    pub on_interrupt: Cell<Option<InterruptFn>>,
    /// What to call when whatever runs is broken off.
    pub on_break: Cell<Option<InterruptFn>>,
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
            landmark: Cell::new(main as usize),
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
            parked: Cell::new(ptr::null()),
            parked_until: Cell::new(Ticks::NEVER),
            dozing: Cell::new(false),
            loose: Cell::new(0),
            serial: Cell::new(0),
            shuffles: Cell::new(false),
            cpu_sampled: Cell::new(Duration::ZERO),
            glue: Glue::default(),
            delivered: Cell::new(false),
            rehooking: Cell::new(false),
            recounted: Cell::new(Ticks::from_nanos(0)),
            uncounted: Cell::new(0),
            hooked: Cell::new(false),
            lingers: Cell::new(0),
            our_masks: Cell::new(0),
            unanswered: Cell::new(0),
            hookless: Hookless::default(),
            traceback: RefCell::new(String::new()),
            whole: Cell::new(None),
            heard: Said::default(),
            said: RefCell::new(None),
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
            wards: Wards::default(),
            jit: Cell::new(Jit::default()),
            #[cfg(feature = "luajit")]
            prof_mode: Cell::new(ptr::null_mut()),
            #[cfg(feature = "luajit")]
            recorded_from: Cell::new(0),
            interpreted: Cell::new(false),
            caller: Cell::new(main),
            stays_interpreted: Cell::new(false),
            #[cfg(feature = "luajit")]
            can_settle: Cell::new(false),
            compiles_later: Cell::new(true),
            has_sentinel: Cell::new(false),
            runs_ours: Cell::new(false),
            closing: Cell::new(false),
            leftover: Leftover::new(),
            on_watch: Cell::new(None),
            on_interrupt: Cell::new(None),
            on_break: Cell::new(None),
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
        // SAFETY: the state is live, and so is what allocates for it.
        unsafe { self.memory.keep_no_spares() };
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

    /// Starts it again.
    pub fn start_collector(&self) {
        if self.collector_stopped.replace(false) {
            // SAFETY: the state is live, on its thread; this sets a word.
            unsafe { sys::gc(self.main.get(), sys::LUA_GCRESTART) };
        }
    }

    /// Whether the allocator still tells us of coroutines. A host may change it after the attach.
    pub fn allocator_is_ours(&self) -> bool {
        // SAFETY: `main` is live (it is null otherwise, and callers look).
        let (f, ud) = unsafe { sys::allocator(self.main.get()) };
        alloc::is_ours(f) && ud.cast_const().cast() == ptr::from_ref(self)
    }

    /// An error of ours is on its way. If the state is being closed, and is late, nobody gets any more memory on 5.1: its collector goes on in finalizers, and what one makes in the
    /// time until it is stopped is finalized, too. Of some that made thousands there were ever more.
    ///
    /// Only there: from 5.2 on what is made while the state is closed is finalized only if a finalizer collects, and then the limit ends that one.
    pub fn grow_no_more_if_closing_late(&self) {
        if cfg!(feature = "lua51") && self.closing.get() {
            let mut late = false;
            self.for_each_scope(|outermost| late = outermost.hit.get().is_some());
            if late {
                self.for_each_scope(|s| s.memory_until.set(0));
                self.memory.set_limit(0);
            }
        }
    }

    /// The block that holds the main state is being freed.
    pub fn main_is_gone(&self) {
        self.place.clear_pending();
        self.record().request.renew();
        let in_a_call = !self.is_quiet();
        self.record().closing.store(in_a_call, Ordering::Relaxed);
        self.record().owner.store(0, Ordering::Release);
        self.record()
            .state
            .store(ptr::null_mut(), Ordering::Release);
        // SAFETY: owner thread. The state is gone, or about to.
        unsafe { jit::unguard(self, false) };
        self.main.set(ptr::null_mut());
        self.landmark.set(0);
        self.parked.set(ptr::null());
        self.forget_wards();
        self.coroutines.clear();
        self.main_entry.release();
        if let Some(whole) = self.whole.take() {
            target::release(whole);
        }
        self.forget_watched();
    }

    /// A coroutine has gone, or got a watch.
    pub fn forget_watched(&self) {
        self.last_watched.set((ptr::null_mut(), ptr::null()));
    }

    /// Whether a block that goes may be a coroutine of which something is known. LuaJIT: where none is watched, has an id or is in a call, there is none;
    /// and tables of three or four fields are of the same size.
    #[inline(always)]
    pub fn knows_coroutines(&self) -> bool {
        sys::HOOK_PER_COROUTINE || !self.coroutines.is_empty() || !self.wards.is_empty()
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
}
