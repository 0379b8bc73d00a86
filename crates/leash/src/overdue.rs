//! A stop that a C function keeps waiting, and that it can be told of all the same: it is refused memory.
//!
//! No hook runs in a C function, and some do not come back for long: `table.move` in a table that is rebuilt for each element, a string that grows and grows. But what takes
//! long usually takes memory, and C code has to be ready to be refused that: Lua raises an error there, and then the hook is met. So when somebody who has to end has been asked to
//! for [`LATE`], new blocks from [`LARGE`] bytes on are refused.
//!
//! - **Nothing else may see it**: only where it is certain that a call ends, for its time is up or it is being stopped; never for an interrupt by an id, which code may survive, nor
//!   while a warning may put the limit off.
//! - **Not where hooks are off**, in a finalizer or a hook of the script: there a protected call that fails takes back what a delivery has done ([`crate::hookless`]), and one that succeeds
//!   does not.
//! - **Not what grows**: a larger stack may be what the hook needs to be called.
//! - **Not on LuaJIT**, where not all of the collector and of the compiler can be refused memory ([`crate::memory`]).

use crate::limits::Reason;
use crate::request::{CHECK, INTERRUPT, KILL};
use crate::state::State;
use crate::{hook, hookless};
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

/// What code of Lua takes to meet the hook is far less.
const LATE: Duration = Duration::from_millis(5);

/// The parts of a table of a hundred elements, or a long string.
pub const LARGE: usize = 4096;

/// Whether hooks are off in what runs, or were at the last delivery, which has switched them on.
fn is_hookless(state: &State) -> bool {
    state.record().unseen.load(Ordering::Relaxed)
        || hookless::is_off_besides(state, ptr::null_mut())
}

/// Whether what runs has to end and has been asked to for [`LATE`]. Called by the allocator.
#[cold]
#[inline(never)]
pub fn is_overdue(state: &State) -> bool {
    let record = state.record();
    let flags = record.request.flags();
    if cfg!(feature = "luajit") || flags & (CHECK | INTERRUPT | KILL) == 0 {
        return false;
    }
    let now = Ticks::now();
    if !record.has_waited(LATE, now) || is_hookless(state) {
        return false;
    }
    state.refresh();
    if flags & (INTERRUPT | KILL) != 0 {
        let reason = match flags & INTERRUPT {
            0 => Reason::Kill,
            _ => Reason::Interrupt,
        };
        state.hit_outermost(reason);
    }
    let cpu = match record.cpu_until.load(Ordering::Relaxed) {
        u64::MAX => Duration::ZERO,
        _ => ThreadClock::current().read().unwrap_or_default(),
    };
    // It is noted, for this may be the last that is heard of the code: the error may end the call.
    let mut ends = false;
    state.for_each_scope(|s| {
        s.look(now, cpu);
        ends |= s.hit.get().is_some();
    });
    if ends {
        hook::trace_from_allocator(state, ptr::null());
    }
    ends
}
