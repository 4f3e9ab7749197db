//! For tests: a system that gives no threads of some names.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// As long as this is there, a thread of that name is not to be had.
pub(crate) struct NoThread(String);

impl NoThread {
    pub(crate) fn of_sink(sink: &str) -> Self {
        let name = format!("sink-{sink}");
        names().push(name.clone());
        Self(name)
    }
}

impl Drop for NoThread {
    fn drop(&mut self) {
        names().retain(|name| *name != self.0);
    }
}

/// Whether it is to be had.
pub(super) fn ask(name: &str) -> io::Result<()> {
    if names().iter().any(|none| none == name) {
        return Err(io::Error::from_raw_os_error(libc::EAGAIN));
    }
    Ok(())
}

fn names() -> MutexGuard<'static, Vec<String>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}
