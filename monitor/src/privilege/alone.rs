//! Whether this is the only thread: another one would keep what this one gives up.

use std::fs;
use std::time::{Duration, Instant};

/// How long threads that end may take to be gone: the loaders of the probes have, but the kernel lists them a moment longer.
const LEAVING: Duration = Duration::from_millis(500);

/// Names of the other threads of this process that are still there after a moment.
pub(super) fn others() -> Vec<String> {
    let until = Instant::now() + LEAVING;
    loop {
        let names = listed();
        if names.is_empty() || Instant::now() > until {
            return names;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn listed() -> Vec<String> {
    let own = nix::unistd::gettid().to_string();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let others = tasks.flatten().filter(|task| task.file_name() != *own);
    // One that ends while it is looked at has no name any more.
    others
        .filter_map(|task| Some(fs::read_to_string(task.path().join("comm")).ok()?.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_that_runs_is_listed_by_name() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("early".into()).spawn(move || wait.recv()).unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        // Its name is set once it runs.
        while !listed().contains(&"early".to_owned()) {
            assert!(Instant::now() < until, "{:?}", listed());
        }
        drop(stop);
        let _ = thread.join().unwrap();
    }
}
