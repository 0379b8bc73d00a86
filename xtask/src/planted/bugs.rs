//! The bugs that can be planted, each with the test that has to see it.
//!
//! A bug is one replacement in one file. If the text is not found once and only once, the task says so: then the code has changed, and the bug has to be
//! put differently.

use crate::engine::Engine;

/// What has to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A file of the engine's tests, and a test in it (or what its name begins with).
    Engine(Engine, &'static str, &'static str),
    /// The same of the crate `watchdog`.
    Watchdog(&'static str, &'static str),
    /// A test inside the engine.
    Unit(Engine, &'static str),
    /// A stretch of `leash-step`.
    Step(Engine, &'static str),
    /// A scenario of `leash-stress`.
    Stress(Engine, &'static str),
}

/// See the module's header.
pub struct Bug {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    pub file: &'static str,
    pub find: &'static str,
    pub replace: &'static str,
    pub check: Check,
}

/// All of them.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "mark",
        what: "a call takes away the mark of what is asked for besides",
        file: "crates/leash/src/boundary.rs",
        find: "        if request.answer(flags) & !flags == 0 {\n            self.place.clear_pending();\n            if request.flags() != 0 {\n",
        replace: "        {\n            request.answer(flags);\n            self.place.clear_pending();\n            if request.flags() == u64::MAX {\n",
        check: Check::Unit(Engine::Lua54, "calls_do_not_take_away"),
    },
    Bug {
        name: "oldpc",
        what: "5.2 and 5.3: a hook that is set in a signal handler changes whose lines are compared",
        file: "crates/leash/src/hook/placing.rs",
        find: "        last.put_back();\n",
        replace: "        let _ = last;\n",
        check: Check::Unit(Engine::Lua53, "setting_our_hook_leaves_it_alone"),
    },
    Bug {
        name: "quietly",
        what: "the last call of a state ends without a look at what a handler has left meanwhile",
        file: "crates/leash/src/boundary.rs",
        find: "        fence(Ordering::SeqCst);\n        self.is_undisturbed()\n",
        replace: "        fence(Ordering::SeqCst);\n        true\n",
        check: Check::Step(Engine::Lua54, "leaving"),
    },
    Bug {
        name: "look",
        what: "a look for whether a state runs here is not noted as work",
        file: "crates/leash/src/hook/delivery.rs",
        find: "                let walk = walk.get_or_insert_with(|| Walk::begin(r));\n                walk.goes_to(r);\n",
        replace: "                if !state.runs_here() { r.inspectors.leave(); return }\n                let walk = walk.get_or_insert_with(|| Walk::begin(r));\n                walk.goes_to(r);\n",
        check: Check::Unit(Engine::Lua54, "a_look_that_finds_nothing"),
    },
    Bug {
        name: "around",
        what: "a call ends without a look at the calls around it",
        file: "crates/leash/src/boundary.rs",
        find: "        self.look_around();\n",
        replace: "        let _ = State::look_around;\n",
        check: Check::Unit(Engine::Lua54, "is_told_when_a_call_inside_it_ends"),
    },
    Bug {
        name: "next-finalizer",
        what: "LuaJIT: the allocator does not switch hooks on in the next finalizer",
        file: "crates/leash/src/hookless.rs",
        find: "            if mask & (IN_FINALIZER | IN_EVENT) == IN_FINALIZER {",
        replace: "            if mask & (IN_FINALIZER | IN_EVENT) == IN_EVENT {",
        check: Check::Engine(
            Engine::Luajit,
            "hostile_finalizers",
            "thousands_of_finalizers_that_collect",
        ),
    },
    Bug {
        name: "thousands",
        what: "a handler looks at the clock for each of its states, and what it took is noted for the first alone",
        file: "crates/leash/src/hook/delivery.rs",
        find: "r.walks(self.began);",
        replace: "if !self.several { r.walks(self.began) }\n        std::hint::black_box((own_time(), own_time()));",
        check: Check::Engine(Engine::Lua54, "many_states", "thousands_of_states"),
    },
    Bug {
        name: "walk",
        what: "a delivery is asked for during another",
        file: "crates/leash/src/record/timer.rs",
        find: "if began != Ticks::from_nanos(0) && now.since(began) < LONGEST_WALK {",
        replace: "if began == Ticks::NEVER && now.since(began) < LONGEST_WALK {",
        check: Check::Unit(Engine::Lua54, "no_delivery_is_asked_for"),
    },
    Bug {
        name: "turns",
        what: "the timer thread does not ask for short turns",
        file: "crates/watchdog/src/os/linux.rs",
        find: "    ask_for_short_turns();\n",
        replace: "    let _ = ask_for_short_turns;\n",
        check: Check::Watchdog("turns", "the_timer_thread_has_short_turns"),
    },
    Bug {
        name: "users-hook",
        what: "the user's hook is not put back",
        file: "crates/leash/src/hook/placing.rs",
        find: "sys::set_hook(co, h.hook, h.mask, h.count);",
        replace: "sys::set_hook(co, None, 0, 0);",
        check: Check::Engine(Engine::Lua54, "limits", "the_users_hook_is_back"),
    },
    Bug {
        name: "deadline",
        what: "a missing store: the timer thread is not told the deadline",
        file: "crates/leash/src/boundary.rs",
        find: ".store(deadline.as_nanos(), Ordering::Relaxed);\n        record.scoped.store(true, Ordering::Relaxed);",
        replace: ".store(u64::MAX, Ordering::Relaxed);\n        record.scoped.store(true, Ordering::Relaxed);",
        check: Check::Engine(Engine::Lua54, "stop", "a_stop_says_where"),
    },
    Bug {
        name: "deadlines",
        what: "a missing store: when a call has ended, the timer thread is not told the deadline of the one around it",
        file: "crates/leash/src/boundary.rs",
        find: ".store(deadline.as_nanos(), Ordering::Relaxed);\n        record.cpu_until",
        replace: ".store(u64::MAX, Ordering::Relaxed);\n        record.cpu_until",
        check: Check::Engine(Engine::Lua54, "limits", "an_outer_limit_holds"),
    },
    Bug {
        name: "freed-coroutine",
        what: "a freed coroutine is kept in the set",
        file: "crates/leash/src/alloc.rs",
        find: "state.coroutines.remove(co);",
        replace: "",
        check: Check::Stress(Engine::Lua54, "coroutines"),
    },
    Bug {
        name: "finalizers",
        what: "hooks are never switched on in finalizers",
        file: "crates/leash/src/hook/placing.rs",
        find: "        if switch_on {\n            hookless::switch_on(state, co);",
        replace: "        if switch_on && state.closing.get() {\n            hookless::switch_on(state, co);",
        check: Check::Engine(Engine::Lua54, "stop", "hooks_off_does_not_help"),
    },
    Bug {
        name: "bell",
        what: "the timer thread is not woken",
        file: "crates/watchdog/src/sleep.rs",
        find: "os::wake(&self.bell);",
        replace: "",
        check: Check::Watchdog("alarm", "a_deadline_of_the_past"),
    },
    Bug {
        name: "strings",
        what: "5.5: what a detached state's strings refer to is freed",
        file: "crates/leash/src/sys.rs",
        find: "STRINGS_KEEP_ALLOCATOR: bool = cfg!(feature = \"lua55\")",
        replace: "STRINGS_KEEP_ALLOCATOR: bool = false",
        check: Check::Engine(Engine::Lua55, "hostile", "strings_outlive"),
    },
    Bug {
        name: "generation",
        what: "a record serves the next state under the same generation",
        file: "crates/leash/src/request.rs",
        find: "self.generation().wrapping_add(1).wrapping_mul(GENERATION)",
        replace: "self.generation().wrapping_mul(GENERATION)",
        check: Check::Engine(Engine::Lua54, "threads", "a_handle_to_an_idle"),
    },
    Bug {
        name: "thread",
        what: "the signal handler does not ask on which thread it is",
        file: "crates/leash/src/hook.rs",
        find: "r.owner.load(Ordering::SeqCst) == me.to_bits()",
        replace: "r.owner.load(Ordering::SeqCst) != 0 && me.to_bits() != 0",
        check: Check::Engine(Engine::Lua54, "faults", "a_signal_on_the_wrong"),
    },
    Bug {
        name: "resend",
        what: "a request is not sent again",
        file: "crates/leash/src/record/timer.rs",
        find: "self.tell_if_stuck(now, reason.unwrap_or(Reason::Memory));\n        now.after(pause).min(next)",
        replace: "self.tell_if_stuck(now, reason.unwrap_or(Reason::Memory));\n        let _ = pause;\n        next",
        check: Check::Engine(Engine::Lua54, "faults", "a_delivery_that_is_lost"),
    },
    Bug {
        name: "half-made",
        what: "a coroutine is hooked before Lua has set it up",
        file: "crates/leash/src/sys.rs",
        find: "!end.sub(1).read().is_null()",
        replace: "let _ = end;\n        true",
        check: Check::Engine(Engine::Lua53, "faults", "an_interrupt_in_every"),
    },
    Bug {
        name: "half-made-stepped",
        what: "the same",
        file: "crates/leash/src/sys.rs",
        find: "!end.sub(1).read().is_null()",
        replace: "let _ = end;\n        true",
        check: Check::Step(Engine::Lua53, "create-and-die"),
    },
    Bug {
        name: "blocked",
        what: "the signal is not unblocked",
        file: "crates/watchdog/src/os/linux.rs",
        find: "unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut()) };",
        replace: "let _ = &set;",
        check: Check::Engine(Engine::Lua54, "threads", "a_thread_that_blocks"),
    },
    Bug {
        name: "busy",
        what: "the signal handler reads the set of coroutines while it is changed",
        file: "crates/leash/src/coroutines.rs",
        find: "self.busy.set(true);",
        replace: "",
        check: Check::Unit(Engine::Lua54, "a_handler_in_the_middle"),
    },
    Bug {
        name: "resend-stepped",
        what: "a request is not sent again, and an instruction that overwrites what the handler has set loses it",
        file: "crates/leash/src/record/timer.rs",
        find: "self.tell_if_stuck(now, reason.unwrap_or(Reason::Memory));\n        now.after(pause).min(next)",
        replace: "self.tell_if_stuck(now, reason.unwrap_or(Reason::Memory));\n        let _ = pause;\n        next",
        check: Check::Step(Engine::Lua54, "sethook"),
    },
    Bug {
        name: "tower",
        what: "each protected call of a coroutine catches the stop",
        file: "crates/leash/src/raise.rs",
        find: "pcalls::pass(state, l);",
        replace: "",
        check: Check::Engine(Engine::Lua54, "hostile", "a_tower_of"),
    },
    Bug {
        name: "bit",
        what: "LuaJIT: the bit 0x80 is not taken away",
        file: "crates/leash/src/jit.rs",
        find: "unsafe { mask.write_volatile(was & !PROFILE) };",
        replace: "unsafe { mask.write_volatile(was) };",
        check: Check::Engine(Engine::Luajit, "jit", "the_bit_is_gone"),
    },
    Bug {
        name: "sweep",
        what: "LuaJIT: nobody looks for a bit 0x80 that comes back",
        file: "crates/leash/src/jit.rs",
        find: "        state.record().sweep();\n",
        replace: "",
        check: Check::Engine(Engine::Luajit, "jit", "the_bit_does_not_stay"),
    },
    Bug {
        name: "guards",
        what: "LuaJIT: compiled code has no guards",
        file: "crates/leash/src/jit/owner.rs",
        find: "        start();\n        // Not saved",
        replace: "        // Not saved",
        check: Check::Engine(Engine::Luajit, "jit", "every_loop_is_stopped_by_a_deadline"),
    },
    Bug {
        name: "closing",
        what: "LuaJIT: no guard before the instruction that closes a loop",
        file: "crates/leash/src/guards/closing.rs",
        find: "behind => behind > 0,",
        replace: "_ => false,",
        check: Check::Engine(Engine::Luajit, "jit_guards", "each_trace_has_one_guard"),
    },
    Bug {
        name: "trace",
        what: "LuaJIT: a traceback is taken of a stack that compiled code does not keep",
        file: "crates/leash/src/hook/shortage.rs",
        find: "if cfg!(feature = \"luajit\") && !state.interpreted.get() {",
        replace: "if cfg!(feature = \"luajit\") && state.closing.get() {",
        check: Check::Engine(
            Engine::Luajit,
            "hostile",
            "memory_that_runs_out_in_compiled",
        ),
    },
    Bug {
        name: "interned",
        what: "LuaJIT: Lua is called without protection while memory is short",
        file: "crates/leash/src/recorder.rs",
        find: "if !state.can_settle.get() {",
        replace: "if state.closing.get() {",
        check: Check::Engine(Engine::Luajit, "faults", "an_attach_that_is_refused"),
    },
];
