//! What the agent itself costs, as the kernel counts it.

use std::fs;

/// CPU, memory and descriptors of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: i64,
    pub(super) open_fds: i64,
    pub(super) threads: i64,
}

impl Own {
    /// Now; zero where /proc does not say.
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field, in parentheses, may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i64>().ok()).unwrap_or(0);
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<i64>().ok()).unwrap_or(0);
        let size = |name| nix::unistd::sysconf(name).ok().flatten();
        let page = size(nix::unistd::SysconfVar::PAGE_SIZE).unwrap_or(4096);
        let ticks = size(nix::unistd::SysconfVar::CLK_TCK).filter(|ticks| *ticks > 0).unwrap_or(100);
        Self {
            // User and system time are fields 14 and 15 of proc(5).
            cpu_seconds: (number(11) + number(12)) as f64 / ticks as f64,
            resident_bytes: pages.saturating_mul(page),
            open_fds: fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as i64),
            threads: number(17),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_threads_and_descriptors() {
        let own = Own::now();
        assert!(own.resident_bytes > 1 << 20 && own.threads > 0 && own.open_fds > 2, "{own:?}");
        assert!(own.cpu_seconds >= 0.0);
    }
}
