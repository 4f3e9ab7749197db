//! What the agent asks of the machine at rest: memory that only the start needed goes back, and turns on the processor are short.

use std::fs;

/// The shortest turn that the kernel grants, ns.
const TURN: u64 = 100_000;

/// Gives memory back: free memory of the heap, and the parts of the program that run once, at a start or when rules are
/// loaded. Those stay in the page cache, where the kernel may take them; what is needed again costs a minor fault.
pub(crate) fn give_back() {
    trim();
    let Ok(maps) = fs::read_to_string("/proc/self/smaps") else { return };
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    for (start, len) in unchanged(&maps, &program.to_string_lossy()) {
        // SAFETY: the range is mapped from the program's file, privately, and holds no page that differs from it: whatever is
        // dropped is read from the file again.
        unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_DONTNEED) };
    }
}

/// Where `program` is mapped privately, may not be written to, and is as it is in its file: address and length.
fn unchanged(smaps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = None;
    for line in smaps.lines() {
        if let Some(range) = mapping(line) {
            at = range.filter(|_| line.ends_with(&format!(" {program}")));
        } else if let Some(size) = line.strip_prefix("Anonymous:")
            && let Some(range) = at.take()
            && size.trim() == "0 kB"
        {
            found.push(range);
        }
    }
    found
}

/// Reads `55d0-55f0 r-xp 00000000 fe:00 123    /usr/bin/x`. The inner value is `None` for a mapping that is shared or can be
/// written to.
#[expect(clippy::option_option, reason = "another line, another mapping, a mapping that counts")]
fn mapping(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let rights = words.next()?;
    let fits = rights.starts_with("r-") && rights.ends_with('p');
    Some(fits.then_some((start, end.checked_sub(start)?)))
}

/// Gives free memory of the heap back to the system.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no precondition; it only returns free memory to the system.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Asks the kernel for short turns on the processor, for this thread and those that it starts: from 6.12 on who asks for
/// little at a time is run sooner when it is woken. Its share of the processor stays the same. Older kernels do nothing with it, and
/// a refusal costs only some time.
pub(crate) fn take_short_turns() {
    if let Err(error) = ask_for_turns(TURN) {
        tracing::debug!(%error, "the scheduler was not asked for short turns");
    }
}

fn ask_for_turns(turn: u64) -> std::io::Result<()> {
    let mut now = turns()?;
    // People who chose another policy know what they want.
    if now.sched_policy == libc::SCHED_OTHER.unsigned_abs() {
        now.sched_runtime = turn;
        // SAFETY: `now` is a `sched_attr` of the size that it names.
        let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const now, 0) };
        if result != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// How this thread is scheduled.
fn turns() -> std::io::Result<libc::sched_attr> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0);
    // SAFETY: all fields are integers, for which zero is a value.
    let mut now: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: `now` has room for `size` bytes.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, size, 0) };
    if result == 0 { Ok(now) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{TURN, ask_for_turns, give_back, turns, unchanged};

    const SMAPS: &str = "\
55d0-55f0 r--p 00000000 fe:00 123                    /usr/bin/sandwatch
Rss:                 128 kB
Anonymous:             0 kB
55f0-56f0 r-xp 00020000 fe:00 123                    /usr/bin/sandwatch
Anonymous:             0 kB
56f0-5700 r--p 00120000 fe:00 123                    /usr/bin/sandwatch
Anonymous:            64 kB
5700-5710 rw-p 00130000 fe:00 123                    /usr/bin/sandwatch
Anonymous:             0 kB
5710-5720 r--s 00001000 00:10 1038                   anon_inode:bpf-map
Anonymous:             0 kB
5720-5730 r-xp 00000000 fe:00 124                    /usr/bin/sandwatch.so
Anonymous:             0 kB
5730-5740 r--s 00000000 fe:00 123                    /usr/bin/sandwatch
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_in_the_programs_file_is_given_back() {
        let ranges = unchanged(SMAPS, "/usr/bin/sandwatch");
        assert_eq!(ranges, [(0x55d0, 0x20), (0x55f0, 0x100)]);
        assert!(unchanged(SMAPS, "/usr/bin/other").is_empty());
    }

    #[test]
    fn program_goes_on_after_its_pages_were_given_back() {
        if !alone("program_goes_on_after_its_pages_were_given_back") {
            return;
        }
        let before = resident_file();
        give_back();
        assert!(resident_file() < before);
        assert_eq!(serde_json::from_str::<Vec<u8>>("[1,2,3]").unwrap(), [1, 2, 3]);
    }

    /// Runs this test again in a process in which no other test reads pages of the program in. `true`: this is that run.
    fn alone(test: &str) -> bool {
        const INNER: &str = "SANDWATCH_TEST_ALONE";
        if std::env::var_os(INNER).is_some() {
            return true;
        }
        let (_, room) = module_path!().split_once("::").unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{room}::{test}"), "--nocapture", "--test-threads=1"])
            .env(INNER, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        false
    }

    /// Resident pages of files, KiB.
    fn resident_file() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn short_turns_leave_the_niceness_as_it_is() {
        std::thread::spawn(|| {
            let before = turns().unwrap();
            ask_for_turns(TURN).unwrap();
            let now = turns().unwrap();
            assert_eq!((now.sched_policy, now.sched_nice), (before.sched_policy, before.sched_nice));
            // Kernels before 6.12 keep no turn of a thread's own.
            assert!(now.sched_runtime == TURN || now.sched_runtime == before.sched_runtime);
        })
        .join()
        .unwrap();
    }
}
