//! Queues of messages that every Lua state of the process can reach by number.
//!
//! A buffer lives as long as an object in some state refers to it, as in mtmsg; the table of the process only knows it
//! weakly. No Lua is called here: the locks of this file are held for a few instructions, or given up while waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::value::Value;

/// What one `addmsg` puts in and one `nextmsg` takes out.
pub type Message = Vec<Value>;

/// One queue.
pub struct Buffer {
    id: i64,
    messages: Mutex<VecDeque<Message>>,
    /// Notified once for each message.
    arrived: Condvar,
}

/// The buffers of the process. Ids are not used twice.
#[derive(Default)]
struct Table {
    last_id: i64,
    buffers: HashMap<i64, Weak<Buffer>>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

/// No code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    /// A new, empty buffer.
    pub fn new() -> Arc<Buffer> {
        let mut table = lock(&TABLE);
        table.last_id += 1;
        let buffer = Arc::new(Buffer {
            id: table.last_id,
            messages: Mutex::default(),
            arrived: Condvar::new(),
        });
        table.buffers.insert(buffer.id, Arc::downgrade(&buffer));
        buffer
    }

    /// The buffer of that id, if something still refers to it.
    pub fn find(id: i64) -> Option<Arc<Buffer>> {
        lock(&TABLE).buffers.get(&id)?.upgrade()
    }

    /// Its id.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Appends a message and wakes one of those who wait.
    pub fn add(&self, message: Message) {
        lock(&self.messages).push_back(message);
        self.arrived.notify_one();
    }

    /// Takes the oldest message; waits for one at most until `deadline`, or without limit.
    pub fn next(&self, deadline: Option<Instant>) -> Option<Message> {
        let mut messages = lock(&self.messages);
        loop {
            if let Some(message) = messages.pop_front() {
                return Some(message);
            }
            messages = match deadline {
                None => self
                    .arrived
                    .wait(messages)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let (messages, _) = self
                        .arrived
                        .wait_timeout(messages, left)
                        .unwrap_or_else(PoisonError::into_inner);
                    messages
                }
            };
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        lock(&TABLE).buffers.remove(&self.id);
    }
}

/// A Lua number of seconds as a duration: nothing for what is not positive, `None` for more than a `Duration` holds.
pub fn duration(seconds: f64) -> Option<Duration> {
    if seconds > 0.0 {
        Duration::try_from_secs_f64(seconds).ok()
    } else {
        Some(Duration::ZERO)
    }
}
