//! Which wards are late, who is warned, and who dies. In the hook.
//!
//! **Who is inside.** Whatever runs while a ward is being resumed runs inside it: coroutines that it has resumed, by whatever function. So, unlike the
//! watches of `corowatch`, a ward that is late has the hook set everywhere, and the error is raised in whatever runs, until the ward has come back.
//! Its `jump` ([`crate::layout`]) tells whether it has ([`super::ending`]).
//!
//! What is doomed stays so, whatever it does: it is killed again whenever it runs. One that is killed while it is suspended dies at its next resume.

use super::frame::Frame;
use super::times::Times;
use super::ward::{Extension, Ward, Warning};
use super::watched::{self, Watched};
use super::watching::NEVER;
use crate::limits::{Reason, Stop};
use crate::request::WATCH;
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hook, trace};
use std::ffi::c_int;
use std::time::Duration;
use watchdog::Ticks;

/// What has become of one.
enum Fate {
    Fine,
    /// The function that warns was called: everything may have changed.
    Warned,
    Doomed,
}

impl State {
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
    pub(super) fn hook_for_its_end(&self, co: *mut lua_State) {
        if sys::HOOK_PER_COROUTINE
            && let Some(entry) = self.entry(co)
        {
            // SAFETY: a live coroutine, on its thread.
            unsafe { hook::set_to_wait(self, co, entry) };
        }
    }

    /// The module's object for the error that ends `co`, pushed; false: there is none. `unseen`: no message handler is called for it.
    ///
    /// # Safety
    /// `l` runs this hook.
    pub unsafe fn push_doom(&self, l: *mut lua_State, co: *mut lua_State, unseen: bool) -> bool {
        match self.wards.push.get() {
            // SAFETY: by the caller. The object is made by Lua, so the collector is to do nothing now. Nor is the hook: a handler that
            // finds us still at it may have switched hooks on, even here.
            Some(push) => unsafe {
                self.stop_collector();
                self.runs_ours.set(true);
                let pushed = push(l, co, unseen);
                self.runs_ours.set(false);
                pushed
            },
            None => false,
        }
    }
}
