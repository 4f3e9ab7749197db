//! What the processes of a container may do, as the kernel says it.

use std::fs;

/// Numbers of capabilities (include/uapi/linux/capability.h).
const NUMBERS: [(&str, u32); 5] =
    [("DAC_READ_SEARCH", 2), ("NET_ADMIN", 12), ("SYS_PTRACE", 19), ("PERFMON", 38), ("BPF", 39)];

fn bits(names: &[&str]) -> u64 {
    let number = |name: &str| NUMBERS.iter().find(|(known, _)| *known == name).unwrap().1;
    names.iter().fold(0, |bits, name| bits | 1 << number(name))
}

/// Holds every thread of the process against what it was given and what it keeps.
pub(crate) fn check(pid: u32, given: &[&str], kept: &[&str]) {
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap();
        let status = fs::read_to_string(task.join("status")).unwrap();
        let field = |wanted: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(wanted));
            line.unwrap_or_else(|| panic!("no {wanted} in {status}")).trim().to_owned()
        };
        let set = |wanted: &str| u64::from_str_radix(&field(wanted), 16).unwrap();
        assert_eq!(set("CapBnd:"), bits(given), "bounding of {name}");
        assert_eq!(set("CapEff:"), bits(kept), "effective of {name}");
        assert_eq!(set("CapPrm:"), bits(kept), "permitted of {name}");
        assert_eq!((set("CapInh:"), set("CapAmb:")), (0, 0), "inherited by {name}");
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()), "{name}");
        // The runtime's default profile, and the agent's own on top of it.
        assert_eq!(field("Seccomp_filters:"), "2", "{name}");
        assert_eq!(field("NSpid:").split_whitespace().count(), 1, "{name} has the host's process ids");
        threads += 1;
    }
    assert!(threads >= 3, "its own, the spool's and a sink's thread: {threads}");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
}
