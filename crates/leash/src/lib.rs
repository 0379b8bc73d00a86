//! The way to stop, bound and observe running Lua code.
//!
//! [`Vm::attach`] takes a Lua state; [`Vm::call`] is `lua_pcall` with [`Limits`]: wall-clock time, CPU time, instructions, memory.
//! What runs inside ends when a limit is reached, whatever it is doing: `pcall`, coroutines, looping error handlers and
//! finalizers do not save it. [`Handle`] stops a call from any thread.
//!
//! Until something is due, running code costs nothing: a timer thread ([`watchdog`]) holds the deadlines. When one passes, it
//! pokes the thread that runs the state by a signal, and the signal handler sets a Lua hook, which raises an error at the next
//! instruction. `docs/architecture.md` tells the whole; each module's header tells its part, and what could go wrong there.
//!
//! One engine for each build, by cargo feature: `lua51 lua52 lua53 lua54 lua55 luajit` ([`ENGINE`]). What differs between them is
//! in [`sys`], and nowhere else.

mod alloc;
mod asked;
mod asleep;
mod boundary;
mod call;
mod compiler;
mod coroutines;
mod counted;
mod glue;
#[cfg(feature = "luajit")]
mod guards;
mod guest;
mod home;
mod hook;
mod hookless;
mod hookmask;
#[doc(hidden)]
pub mod info;
mod jit;
mod layout;
mod leftover;
#[cfg(feature = "luajit")]
mod library;
mod limits;
#[cfg(test)]
mod lockfree;
#[cfg(any(feature = "lua51", feature = "luajit"))]
mod mainstate;
mod memory;
mod older;
mod overdue;
mod pcalls;
#[cfg(feature = "luajit")]
mod profile;
mod raise;
mod record;
#[cfg(feature = "luajit")]
mod recorder;
mod registry;
mod request;
mod said;
mod scope;
mod sentinel;
mod sigint;
mod slab;
mod state;
pub mod stdlib;
mod sync;
pub mod sys;
mod target;
mod trace;
mod userhook;
mod vm;
mod warning;
mod watch;

pub use asked::{Untraced, kill, traceback};
pub use call::Ended;
pub use guest::{Guest, InterruptFn, UserHook};
pub use hook::is_our_hook;
pub use jit::Jit;
pub use layout::Layout;
pub use limits::{Limits, Reason, Stop};
pub use sigint::is_wanted as sigint_is_wanted;
pub use sys::{ENGINE, release as lua_release};
pub use target::{How, exists, interrupt, interrupt_with};
pub use vm::{AttachError, Handle, Vm};
pub use watch::{Answer, Event, Extension, PushFn, Resumed, WarnFn, Warning, Watch, WatchFn};
