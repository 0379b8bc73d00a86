//! Deadlines that cost nothing while code runs, and a way to poke a thread.
//!
//! The bottom layer of Leash: time and threads, nothing of Lua. It serves whoever has to stop, or look after, code that does not
//! look at a clock itself.
//!
//! - An [`Alarm`] is a deadline that can be set, moved and taken away by a store to memory, without a lock, an
//!   allocation or a system call. One timer thread watches all of them and calls their [`Watch`]; with none armed it sleeps.
//! - [`poke`] makes a certain thread call a function of yours at once, by a signal.
//! - [`cpu::ThreadClock`] tells from anywhere how long a thread has been computing.
//! - All of it goes on working in the child of a [`fork`].
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::time::Duration;
//! use watchdog::{Alarm, Ticks, Watch};
//!
//! struct Stop(AtomicBool);
//!
//! impl Watch for Stop {
//!     fn due(&self, _now: Ticks) -> Ticks {
//!         self.0.store(true, Ordering::Relaxed);
//!         Ticks::NEVER // not again, until it is armed again
//!     }
//! }
//!
//! # fn main() -> Result<(), watchdog::TimerError> {
//! let stop = Arc::new(Stop(AtomicBool::new(false)));
//! let alarm = Alarm::new(stop.clone())?; // once
//!
//! let start = Ticks::now();
//! alarm.arm(start.after(Duration::from_millis(10))); // as often as you like
//! while !stop.0.load(Ordering::Relaxed) {
//!     std::hint::spin_loop(); // the work
//! }
//! alarm.disarm();
//! assert!(Ticks::now().since(start) >= Duration::from_millis(10));
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - A deadline never comes early on account of `arm`. How late it comes is the scheduler's business: usually 50 us or less on an idle core.
//! - A `Watch` is called on the timer thread, by one alarm at a time, and should be quick. It may be called for nothing.
//! - A `Watch` that panics loses its deadline; all others go on.
//! - The timer thread is named `leash-timer`, blocks all signals but those of its own faults, and never ends.
//!
//! # How it works
//!
//! Each file of the source begins with its idea and with what must always be true in it. In the order in which they build on one another:
//! `slot` (who may touch what), `slab` (memory that stays), `sleep` (no lost wake-up), `schedule` (the three together), `timer` (the
//! thread), `alarm` (what users hold); beside them `poke`, `cpu`, `fork`, `gauge` and `tsc` (a cheaper clock), and `os` for what differs between systems.
//! The lock-free parts are explored by loom: `cargo test -p watchdog --test loom`.

#![deny(missing_docs)]

mod alarm;
pub mod cpu;
pub mod fork;
mod gauge;
mod latch;
mod list;
mod os;
pub mod poke;
mod schedule;
mod slab;
mod sleep;
mod slot;
mod sync;
mod ticks;
mod timer;
mod tsc;

pub use alarm::{Alarm, TimerError, Watch};
pub use ticks::Ticks;
