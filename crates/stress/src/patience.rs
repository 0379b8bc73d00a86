//! A piece of work that does not end ends the run: with its name, its text and the seed, and with a core for the debugger.

use std::process;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// What a thread is doing.
#[derive(Clone)]
pub struct Doing {
    /// In words, with the text of the program.
    pub what: String,
    /// Since when.
    pub since: Instant,
}

/// One for each working thread.
pub struct Patience {
    doing: Vec<Mutex<Option<Doing>>>,
    patience: Duration,
    seed: u64,
}

impl Patience {
    /// For so many threads.
    pub fn new(threads: usize, patience: Duration, seed: u64) -> Patience {
        Patience {
            doing: (0..threads).map(|_| Mutex::new(None)).collect(),
            patience,
            seed,
        }
    }

    /// The thread with this number begins something, or has ended it.
    pub fn set(&self, thread: usize, what: Option<String>) {
        *self.doing[thread].lock().expect("no panic") = what.map(|what| Doing {
            what,
            since: Instant::now(),
        });
    }

    /// Looks every second, for ever.
    pub fn watch(&self) {
        loop {
            thread::sleep(Duration::from_secs(1));
            for (thread, doing) in self.doing.iter().enumerate() {
                let doing = doing.lock().expect("no panic").clone();
                if let Some(doing) = doing
                    && doing.since.elapsed() > self.patience
                {
                    eprintln!(
                        "FAILED: thread {thread} does not come to an end (seed {}, {}, for {:?}): {}",
                        self.seed,
                        leash::ENGINE,
                        doing.since.elapsed(),
                        doing.what
                    );
                    process::abort();
                }
            }
        }
    }
}
