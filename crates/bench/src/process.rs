//! What the system knows of this process: clocks and memory.

use std::fs;
use std::time::Duration;

/// The CPU time of the timer thread.
pub fn timer_cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux has it");
    for task in tasks.flatten() {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").trim_end() == "leash-timer" {
            // `schedstat`: nanoseconds on a processor, nanoseconds waiting for one, time slices.
            let spent = read("schedstat");
            let nanos = spent.split(' ').next().and_then(|n| n.parse().ok());
            return Duration::from_nanos(nanos.expect("the kernel counts them"));
        }
    }
    panic!("there is no timer thread");
}

/// The CPU time of the process. Not after LuaJIT's profiler has been started: then Linux advances this clock by scheduler ticks only.
pub fn cpu() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The CPU time of this thread.
pub fn thread_cpu() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` has room for what the call writes.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Bytes of memory that are this process's own.
pub fn own_memory() -> f64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux has it");
    let line = text.lines().find(|line| line.starts_with("Anonymous:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.expect("the kernel counts it") * 1024.0
}

/// Writes a line: a name, how many values there are, and of these the median, what 99 % and 99.9 % of them are below, and the greatest.
pub fn report(name: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let part = |part: f64| values[((values.len() - 1) as f64 * part).round() as usize];
    println!(
        "{name} {} {:.3} {:.3} {:.3} {:.3}",
        values.len(),
        part(0.5),
        part(0.99),
        part(0.999),
        part(1.0)
    );
}
