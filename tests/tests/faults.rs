//! What the agent says, and how it ends, on a host that lacks what it needs: each in a mount namespace or with a capability
//! bounding set of its own, on the live kernel.
//!
//! Needs root; `SANDWATCH_BIN` names the program.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Numbers of capabilities (include/uapi/linux/capability.h).
const NET_ADMIN: i32 = 12;
const SYS_PTRACE: i32 = 19;
const SYS_ADMIN: i32 = 21;
const PERFMON: i32 = 38;
const BPF: i32 = 39;

/// What is taken from the program.
#[derive(Clone, Default)]
struct Without {
    /// Mount points that are unmounted.
    unmounted: Vec<CString>,
    /// Folders that are covered by an empty one.
    emptied: Vec<CString>,
    /// Capabilities it cannot have.
    capabilities: Vec<i32>,
}

fn path(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Mount points of a file system type, the innermost last.
fn mounts(kind: &str) -> Vec<CString> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let wanted = format!(" - {kind} ");
    text.lines()
        .filter(|line| line.contains(&wanted))
        .map(|line| path(line.split(' ').nth(4).unwrap()))
        .collect()
}

impl Without {
    /// Runs `sandwatch` with these arguments.
    fn run(self, args: &[&str]) -> Output {
        let program = std::env::var_os("SANDWATCH_BIN")
            .map_or_else(|| panic!("SANDWATCH_BIN names the program"), PathBuf::from);
        let mut command = Command::new(program);
        command.args(args).env_remove("SANDWATCH_LOG").stdin(Stdio::null());
        // SAFETY: system calls on memory that was made before the fork.
        unsafe { command.pre_exec(move || self.take()) };
        command.output().unwrap()
    }

    fn take(&self) -> std::io::Result<()> {
        let done = |result: i32| if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
        let (none, root, tmpfs) = (c"none".as_ptr(), c"/".as_ptr(), c"tmpfs".as_ptr());
        // SAFETY: all pointers are to strings that end with a NUL.
        unsafe {
            done(libc::unshare(libc::CLONE_NEWNS))?;
            done(libc::mount(
                none,
                root,
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ))?;
            for place in self.unmounted.iter().rev() {
                done(libc::umount2(place.as_ptr(), libc::MNT_DETACH))?;
            }
            for place in &self.emptied {
                done(libc::mount(none, place.as_ptr(), tmpfs, libc::MS_RDONLY, std::ptr::null()))?;
            }
            for capability in &self.capabilities {
                done(libc::prctl(libc::PR_CAPBSET_DROP, *capability, 0, 0, 0))?;
            }
        }
        Ok(())
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn doctor(without: Without) -> (Option<i32>, Value) {
    let output = without.run(&["doctor", "--json"]);
    let json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    (output.status.code(), json)
}

fn signal<'a>(report: &'a Value, name: &str) -> &'a Value {
    let signals = report["signals"].as_array().unwrap();
    signals
        .iter()
        .find(|entry| entry["signal"] == name)
        .unwrap_or_else(|| panic!("no signal {name}: {report:#}"))
}

/// Every verb that needs the kernel side says the same, and ends alike.
fn refuses(without: &Without, words: &[&str]) {
    for args in [&["doctor"][..], &["demo"], &["run", "--config", "/dev/null"]] {
        let output = without.clone().run(args);
        let said = text(&output);
        if args[0] == "run" && output.status.code() == Some(2) {
            // An empty configuration is refused first.
            continue;
        }
        assert!(matches!(output.status.code(), Some(2 | 3)), "{args:?}: {}: {said}", output.status);
        for word in words {
            assert!(said.contains(word), "{args:?} says nothing of `{word}`: {said}");
        }
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}

#[test]
fn fault_no_btf_is_named_with_what_to_do() {
    let without = Without { emptied: vec![path("/sys/kernel/btf")], ..Without::default() };
    refuses(&without, &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"]);
}

#[test]
fn fault_no_cgroup2_is_named_with_what_to_do() {
    let without = Without { unmounted: mounts("cgroup2"), ..Without::default() };
    refuses(&without, &["cgroup2", "mount -t cgroup2"]);
}

#[test]
fn fault_no_tracefs_loses_the_tracepoint_rung_and_says_so() {
    let tracefs = mounts("tracefs");
    assert!(!tracefs.is_empty(), "this host has a tracefs to take away");
    let (code, report) = doctor(Without {
        unmounted: tracefs,
        // debugfs mounts one below itself when asked for.
        emptied: vec![path("/sys/kernel/tracing"), path("/sys/kernel/debug")],
        // With it the agent would mount one again.
        capabilities: vec![SYS_ADMIN],
    });
    // Hosts with better rungs need none.
    let attempts = signal(&report, "open")["attempts"].to_string();
    assert!(
        attempts.contains("tracefs is not mounted") || attempts.contains("a better rung was taken"),
        "{attempts}"
    );
    assert_eq!(signal(&report, "exec")["rung"], "tp_btf", "raw tracepoints need no tracefs");
    assert_eq!(code, Some(if signal(&report, "open")["rung"].is_null() { 1 } else { 0 }), "{report:#}");
}

#[test]
fn fault_no_net_admin_falls_back_from_the_cgroup_rung_and_says_so() {
    let (_, report) = doctor(Without { capabilities: vec![NET_ADMIN, SYS_ADMIN], ..Without::default() });
    let connect = signal(&report, "connect");
    assert!(connect["attempts"].to_string().contains("CAP_NET_ADMIN is missing"), "{connect:#}");
    assert_ne!(connect["rung"], "cgroup", "{connect:#}");
}

#[test]
fn fault_no_capability_for_bpf_is_named() {
    let without = Without { capabilities: vec![BPF, SYS_ADMIN], ..Without::default() };
    refuses(&without, &["CAP_BPF"]);
}

#[test]
fn fault_no_capability_for_tracing_is_named() {
    let without = Without { capabilities: vec![PERFMON, SYS_ADMIN, SYS_PTRACE], ..Without::default() };
    refuses(&without, &["CAP_PERFMON"]);
}
