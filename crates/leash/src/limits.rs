//! What a caller may ask for, and what is reported when a limit is reached.
//!
//! A limit that is not set is not there: no clock is read and no hook is set for it. Limits of nested calls do not replace each
//! other: all are in force, and the one that is reached first ends the call that set it.

use std::fmt;
use std::time::Duration;
use watchdog::Ticks;

/// The limits of one call. By default nothing is limited; and the greatest value of a type, such as `Duration::MAX` or `u64::MAX`, means no limit as well.
///
/// ```
/// use std::time::Duration;
/// let limits = leash::Limits::new().timeout(Duration::from_millis(500)).memory(64 << 20);
/// assert_eq!(limits.to_string(), "timeout 500ms, memory 64 MiB");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub(crate) timeout: Bound,
    pub(crate) cpu: Bound,
    pub(crate) instructions: Bound,
    pub(crate) memory: Bound,
    pub(crate) warn: Option<(Bound, u64)>,
    pub(crate) sigint: bool,
}

/// One limit, in nanoseconds, instructions or bytes. The greatest number is none: nobody gets there. (One word, for each call copies all of them.)
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound(u64);

impl Bound {
    const NONE: Bound = Bound(u64::MAX);

    #[inline]
    fn time(d: Duration) -> Bound {
        Bound(nanos(d))
    }

    /// The number; none if there is no limit.
    #[inline]
    pub(crate) fn get(self) -> Option<u64> {
        (self != Bound::NONE).then_some(self.0)
    }

    /// Of a limit in nanoseconds.
    #[inline]
    pub(crate) fn duration(self) -> Option<Duration> {
        self.get().map(Duration::from_nanos)
    }

    /// That long after `from`.
    #[inline]
    pub(crate) fn after(self, from: Ticks) -> Ticks {
        Ticks::from_nanos(from.as_nanos().saturating_add(self.0))
    }

    /// That many more than `from`; the greatest number if there is no limit.
    #[inline]
    pub(crate) fn above(self, from: u64) -> u64 {
        from.saturating_add(self.0)
    }

    /// The limit of memory above `from` bytes in use.
    #[inline]
    pub(crate) fn bytes_above(self, from: usize) -> usize {
        usize::try_from(self.above(from as u64)).unwrap_or(usize::MAX)
    }

    /// Of a limit in instructions.
    #[inline]
    pub(crate) fn budget(self) -> Option<i64> {
        self.get().map(|n| i64::try_from(n).unwrap_or(i64::MAX))
    }

    fn less(self, spent: Duration) -> Bound {
        self.get()
            .map_or(self, |n| Bound(n.saturating_sub(nanos(spent))))
    }
}

impl Default for Bound {
    fn default() -> Bound {
        Bound::NONE
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// As an integer, which counts further than a process lives.
pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl Limits {
    /// No limits.
    pub fn new() -> Limits {
        Limits::default()
    }

    /// Wall-clock time from the start of the call, on the monotonic clock. Zero stops at the first instruction.
    pub fn timeout(mut self, limit: Duration) -> Limits {
        self.timeout = Bound::time(limit);
        self
    }

    /// [`timeout`](Limits::timeout), in nanoseconds (the greatest number: none) and in place: it is on the way of every `leash.call`.
    #[inline]
    pub fn set_timeout(&mut self, nanos: u64) {
        self.timeout = Bound(nanos);
    }

    /// CPU time that the calling thread spends, by the thread's CPU clock. Time spent waiting does not count.
    pub fn cpu(mut self, limit: Duration) -> Limits {
        self.cpu = Bound::time(limit);
        self
    }

    /// Virtual machine instructions, counted by a count hook: running code is slower by it, and only then. The same script
    /// stops at the same instruction each time. Each coroutine made inside costs 256 instructions, so that a script cannot
    /// hide its work in many short coroutines, and so does each interrupt that it survives, for that takes away what was being counted.
    pub fn instructions(mut self, limit: u64) -> Limits {
        self.instructions = Bound(limit);
        self
    }

    /// Bytes that the state may grow by from the start of the call.
    pub fn memory(mut self, limit: usize) -> Limits {
        self.memory = Bound(u64::try_from(limit).unwrap_or(u64::MAX));
        self
    }

    /// Ctrl-C (SIGINT) ends the call, with [`Reason::Interrupt`]. For as long as it is open, handlers of SIGINT that were there before are not called.
    /// A second Ctrl-C while the first is unanswered does what it would have done without Leash; a process that ignores Ctrl-C goes on ignoring it.
    pub fn sigint(mut self) -> Limits {
        self.sigint = true;
        self
    }

    /// Has the function that was given to [`Guest::on_ward`](crate::Guest::on_ward) called, once, when the call has lasted for `after`. `mark` is for that
    /// function.
    pub fn warn(mut self, after: Duration, mark: u64) -> Limits {
        self.warn = Some((Bound::time(after), mark));
        self
    }

    /// Whether [`warn`](Limits::warn) has been set.
    pub fn warns(&self) -> bool {
        self.warn.is_some()
    }

    /// What is left of the same limits for a second call, after `spent` of the wall clock and `cpu` of the CPU clock.
    /// Instructions and memory are taken as they are.
    pub fn after(mut self, spent: Duration, cpu: Duration) -> Limits {
        self.timeout = self.timeout.less(spent);
        self.cpu = self.cpu.less(cpu);
        self
    }

    /// The limit that `reason` is about, in words; empty for a stop that is no limit.
    pub(crate) fn describe(&self, reason: Reason) -> String {
        match reason {
            Reason::Timeout => self.timeout.duration().map(time),
            Reason::Cpu => self.cpu.duration().map(time),
            Reason::Instructions => self.instructions.get().map(|n| n.to_string()),
            Reason::Memory => self.memory.get().map(|n| Bytes(n).to_string()),
            Reason::Interrupt | Reason::Kill => None,
        }
        .unwrap_or_default()
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for reason in [
            Reason::Timeout,
            Reason::Cpu,
            Reason::Instructions,
            Reason::Memory,
        ] {
            let text = self.describe(reason);
            if !text.is_empty() {
                parts.push(format!("{reason} {text}"));
            }
        }
        if let Some(after) = self.warn.and_then(|(after, _)| after.duration()) {
            parts.push(format!("warn {}", time(after)));
        }
        if self.sigint {
            parts.push("sigint".to_owned());
        }
        match parts.is_empty() {
            true => f.write_str("no limits"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

/// Why code was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The wall-clock limit.
    Timeout,
    /// The limit on the thread's CPU time.
    Cpu,
    /// The limit on virtual machine instructions.
    Instructions,
    /// The memory limit.
    Memory,
    /// Somebody interrupted it ([`Handle::interrupt`](crate::Handle::interrupt)).
    Interrupt,
    /// Somebody killed it ([`Handle::kill`](crate::Handle::kill)).
    Kill,
}

impl Reason {
    /// The name that Lua code sees: `"timeout"`, `"cpu"`, ...
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Timeout => "timeout",
            Reason::Cpu => "cpu",
            Reason::Instructions => "instructions",
            Reason::Memory => "memory",
            Reason::Interrupt => "interrupt",
            Reason::Kill => "kill",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a call ended that was stopped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stop {
    /// What stopped it.
    pub reason: Reason,
    /// Wall-clock time from the start of the call to its end.
    pub elapsed: Duration,
    /// CPU time of the thread from the start of the call to its end.
    pub cpu: Duration,
    /// Bytes in use by the state at the end of the call.
    pub memory: usize,
    /// The limit that was reached, in words: `1s`, `64 MiB`. Empty for [`Reason::Interrupt`] and [`Reason::Kill`].
    pub limit: String,
    /// What was said by whoever has interrupted or killed it.
    pub message: Option<String>,
    /// Where the code was: `stack traceback:` and a line for each frame, as Lua prints it; then the stacks that the running
    /// coroutine was resumed from. Empty if the stop met no frame.
    pub traceback: String,
    /// The limit belongs to an enclosing call, which goes on unwinding: return to Lua at once, best by raising an error.
    pub enclosing: bool,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = Rounded(self.elapsed);
        if let Some(message) = &self.message {
            return f.write_str(message);
        }
        match self.reason {
            Reason::Timeout => write!(f, "timeout of {} reached after {after}", self.limit),
            Reason::Cpu => write!(
                f,
                "CPU time limit of {} reached after {after} ({} of CPU time)",
                self.limit,
                Rounded(self.cpu)
            ),
            Reason::Instructions => {
                write!(
                    f,
                    "limit of {} instructions reached after {after}",
                    self.limit
                )
            }
            Reason::Memory => write!(f, "memory limit of {} reached after {after}", self.limit),
            Reason::Interrupt => write!(f, "interrupted after {after}"),
            Reason::Kill => write!(f, "killed after {after}"),
        }
    }
}

impl std::error::Error for Stop {}

/// A limit as a person would write it.
pub fn time(d: Duration) -> String {
    if d.is_zero() {
        "0s".into()
    } else {
        format!("{d:?}")
    }
}

/// A duration to three digits behind the point, which is what a person reads.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}

/// A number of bytes in the largest unit that divides it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        for (shift, unit) in units {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let l = Limits::new()
            .timeout(Duration::from_millis(1500))
            .cpu(Duration::from_secs(2))
            .instructions(100)
            .memory(1 << 30);
        assert_eq!(
            l.to_string(),
            "timeout 1.5s, cpu 2s, instructions 100, memory 1 GiB"
        );
        assert_eq!(Limits::new().to_string(), "no limits");
        let beyond = Limits::new().timeout(Duration::MAX).memory(usize::MAX);
        assert_eq!(beyond, Limits::new(), "nobody gets there");
        let zero = Limits::new().timeout(Duration::ZERO);
        assert_eq!(zero.to_string(), "timeout 0s");
        let told = Limits::new().warn(Duration::from_millis(20), 1).sigint();
        assert_eq!(told.to_string(), "warn 20ms, sigint");
        assert_eq!(Bytes(1000).to_string(), "1000 bytes");
        assert_eq!(Bytes(0).to_string(), "0 bytes");
        assert_eq!(Bytes(3 << 10).to_string(), "3 KiB");
    }

    #[test]
    fn what_is_left() {
        let s = Duration::from_secs;
        let l = Limits::new().timeout(s(3)).cpu(s(1)).after(s(1), s(5));
        assert_eq!(l, Limits::new().timeout(s(2)).cpu(s(0)));
    }
}
