//! Wards that come back, and those among them that have died.
//!
//! While one dies, hooks are everywhere, the collector rests and hooks may be on where Lua has them off. Whoever sees the last one
//! end takes all that back: the hook that runs in its resumer, or the resume that is ours. A main state never comes back to anybody of
//! ours; it has died when its host calls something anew.

use crate::coroutines::SavedHook;
use crate::info;
use crate::request::WATCH;
use crate::state::State;
use crate::sys::{self, lua_Debug, lua_State};
use crate::{hook, hookless, jit, userhook};
use std::ffi::c_int;
use std::sync::atomic::{Ordering, compiler_fence};

impl State {
    /// Wards that were seen to run, and have come back.
    pub(super) fn let_go(&self) {
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
    pub(super) unsafe fn let_main_go(&self, l: *mut lua_State, event: c_int) {
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
                waits = !info::line(l, level, &mut ar, false) || *ar.what.cast::<u8>() != b'C';
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

    pub fn is_stopping_anything(&self) -> bool {
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
        hook::only_count(self);
        if !sys::HOOK_PER_COROUTINE {
            // What has died may have set a hook, which would go on in the others, without any limit. (And `debug.sethook` keeps its
            // function elsewhere, so the one that was there before cannot be put back from here.)
            // SAFETY: live, on this thread.
            unsafe { userhook::set(self, self.main.get(), SavedHook::default()) };
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

    /// A call inside a ward that is dying, or late, has been left, and has taken the hooks away.
    #[inline]
    pub fn go_on_ending(&self) {
        if self.wards.is_empty() {
            return;
        }
        let is_asked = self.record().request.flags() & WATCH != 0;
        if self.is_ending_one() || is_asked && self.is_ward_late() {
            self.ask_self(WATCH);
        }
    }
}
