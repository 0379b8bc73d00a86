//! Which wards run, seen by a signal handler.
//!
//! **Two clocks.** Where a ward is resumed by [`crate::Guest::resume`], a frame counts, exactly. Where it is resumed by anything else, a
//! signal handler sees that it runs ([`State::sight`]), 10 ms after the resume at the latest ([`super::sampling`]), and its clock starts then: so
//! it is late rather than early. That it has yielded since is seen by a hook on whoever has resumed it and is waiting for it: while the ward
//! runs, that hook costs nothing; when the ward comes back, the first thing that its resumer runs is the hook. So two
//! short resumes are not taken for a long one. (LuaJIT has one hook for all, so there it is a hook for calls, which the next resume is.)
//!
//! What could go wrong: a host, or a C function, that resumes a ward again and again without running Lua in between: the hook of the resumer
//! does not run. Where nothing of Lua waits for the ward, it is not seen at all; a C function that Lua has called, and that resumes for itself, is
//! taken for one long resume.

use super::times::Times;
use super::watched;
use super::watching::NEVER;
use crate::hook;
use crate::request::WATCH;
use crate::state::State;
use crate::sys;
use watchdog::Ticks;

impl State {
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
}
