//! What each rung is known not to see, by name.

use monitor_common::hook::{Rung, Signal};
use monitor_common::program::{
    BTF_PREPARE_EXEC, BTF_URING_REQ, BTF_URING_SQE, FENTRY_UNIX_SEND, KPROBE_UNIX_SEND, LSM_BPRM_COMMITTING,
    LSM_UNIX_SEND, RAW_SOCK_STATE, TP_ENTER_SENDMMSG, TP_ENTER_SENDMSG, TP_EXIT_BY_HANDLE, TP_EXIT_CREAT,
    TP_EXIT_OPEN, TP_EXIT_OPENAT2,
};

use super::coverage::{GapWeight, KnownGap};
use super::host::Host;
use super::ladder::Climbed;

/// What the gaps depend on.
pub(crate) struct Facts<'a> {
    pub(crate) host: &'a Host,
    pub(crate) attached: &'a dyn Fn(u32) -> bool,
    /// The programs that hand labels down to new cgroups run.
    pub(crate) inherits: bool,
    /// Other people's programs on the cgroup hooks.
    pub(crate) neighbours: &'a [String],
}

/// The known gaps of a signal on the rung it took.
pub(crate) fn of(climbed: &Climbed, facts: &Facts<'_>) -> Vec<KnownGap> {
    let mut gaps = Vec::new();
    let Some(rung) = climbed.rung else {
        gaps.push(unwatched(climbed.signal));
        return gaps;
    };
    match climbed.signal {
        Signal::Open => open(rung, facts, &mut gaps),
        Signal::Connect => connect(rung, facts, &mut gaps),
        Signal::Send => send(rung, facts, &mut gaps),
        Signal::Unix => unix(rung, facts, &mut gaps),
        Signal::Socket => socket(rung, &mut gaps),
        Signal::Exec => exec(facts, &mut gaps),
        Signal::Fork | Signal::Exit => {}
    }
    if rung == Rung::Tracepoint && facts.host.ia32 != Some(false) {
        gaps.push(blind(
            "ia32",
            "32-bit system calls (int 0x80) do not pass the tracepoints",
            "boot with ia32_emulation=off, or a kernel with BPF LSM, fentry or kprobes",
        ));
    }
    if rung == Rung::Cgroup
        && matches!(climbed.signal, Signal::Connect | Signal::Send)
        && !facts.neighbours.is_empty()
    {
        gaps.push(detail(
            "address-stage",
            &format!(
                "other programs may rewrite an address before or after it is read here: {}",
                facts.neighbours.join(", ")
            ),
            "nothing: the address is marked with the stage it was read at",
        ));
    }
    if climbed.ipv6_unseen {
        gaps.push(blind(
            "ipv6",
            "the canary's action over IPv6 was not seen, the one over IPv4 was",
            "report the kernel version",
        ));
    }
    if skips_interrupted(rung, facts.host) {
        gaps.push(detail(
            "interrupted-runs",
            "while a task is interrupted in this probe, the kernel skips it for the other tasks of that CPU; each skip is \
             counted and becomes a gap alert",
            "BPF LSM where the signal has it, or booting with preempt=none or preempt=voluntary",
        ));
    }
    if !facts.host.at_least(5, 12) {
        gaps.push(detail(
            "unknowable-skips",
            "the kernel skips a probe that is active already on the CPU, and does not count it",
            "Linux 5.12 or newer, which counts them",
        ));
    }
    gaps
}

/// Whether a run of the rung's programs can be interrupted by another task that then finds the program closed. Since 5.12
/// trampolines keep a task from other CPUs only, and fentry programs do not nest (kernel/bpf/trampoline.c,
/// `__bpf_prog_enter_recur`); since 7.0 that holds for tracepoints and kprobes too (seen there; kernel/trace/bpf_trace.c,
/// `trace_call_bpf` and `__bpf_trace_run`). LSM programs may nest.
fn skips_interrupted(rung: Rung, host: &Host) -> bool {
    host.preemptible != Some(false)
        && match rung {
            Rung::Fentry => host.at_least(5, 12),
            Rung::TpBtf | Rung::RawTp | Rung::Kprobe | Rung::Tracepoint => host.at_least(7, 0),
            Rung::Lsm | Rung::Cgroup => false,
        }
}

fn open(rung: Rung, facts: &Facts<'_>, gaps: &mut Vec<KnownGap>) {
    if rung != Rung::Tracepoint {
        gaps.push(detail(
            "failed-opens",
            "opens that fail before the hook (no such file, refused by file permissions) are not seen",
            "nothing on this rung; a failed open takes no secret",
        ));
        return;
    }
    gaps.push(blind(
        "fd-race",
        "the file is found by its descriptor after the call: another thread can put another file there in between",
        "BPF LSM, fentry or kprobes",
    ));
    gaps.push(blind(
        "opens-without-syscall",
        "files the kernel opens for a process (program and interpreter at exec, core dumps) do not pass an open system call",
        "BPF LSM, fentry or kprobes; the program itself is in the exec event",
    ));
    // bpf_task_pt_regs came with 5.15 (kernel/trace/bpf_trace.c).
    if facts.host.at_least(5, 15) {
        gaps.push(detail(
            "failed-opens",
            "the name of a failed open is read from memory the process can change; such events are marked",
            "nothing known; a failed open takes no secret",
        ));
    } else {
        gaps.push(detail("failed-opens", "failed opens are not seen", "Linux 5.15 or newer"));
    }
    if !(facts.attached)(BTF_URING_REQ) && !(facts.attached)(BTF_URING_SQE) {
        gaps.push(blind(
            "uring",
            "opens through io_uring are not seen",
            "kernel.io_uring_disabled=2 (Linux 6.6), or BPF LSM, fentry or kprobes",
        ));
    } else {
        gaps.push(blind(
            "uring",
            "opens through io_uring are seen when submitted: the path is as given, so a symbolic link hides what is opened, and the outcome is unknown",
            "kernel.io_uring_disabled=2 (Linux 6.6), or BPF LSM, fentry or kprobes",
        ));
    }
    let calls = [
        (TP_EXIT_OPEN, "open"),
        (TP_EXIT_OPENAT2, "openat2"),
        (TP_EXIT_CREAT, "creat"),
        (TP_EXIT_BY_HANDLE, "open_by_handle_at"),
    ];
    missing_calls(&calls, facts, gaps);
}

fn connect(rung: Rung, facts: &Facts<'_>, gaps: &mut Vec<KnownGap>) {
    if rung != Rung::Cgroup {
        gaps.push(blind(
            "tfo",
            "TCP fast open (sendto with MSG_FASTOPEN) connects without a connect call",
            "CAP_NET_ADMIN and the host's cgroup namespace, for the cgroup hooks",
        ));
    }
    if rung == Rung::Tracepoint {
        gaps.push(blind(
            "fd-race",
            "the socket is found by its descriptor after the call: another thread can put another one there in between",
            "the cgroup hooks, BPF LSM, fentry or kprobes",
        ));
        gaps.push(uring("connects"));
    }
    if !(facts.attached)(RAW_SOCK_STATE) {
        gaps.push(detail(
            "connect-results",
            "whether a connect was established, refused or timed out is not seen",
            "Linux 5.12 or newer",
        ));
    }
}

fn send(rung: Rung, facts: &Facts<'_>, gaps: &mut Vec<KnownGap>) {
    if rung == Rung::Tracepoint {
        gaps.push(blind(
            "user-memory",
            "the address of an unconnected send is read when the call begins: the process can change it before the kernel reads it",
            "the cgroup hooks, BPF LSM, fentry or kprobes",
        ));
        gaps.push(blind(
            "sendmmsg-tail",
            "of the messages of one sendmmsg call only the first one's address is looked at",
            "the cgroup hooks, BPF LSM, fentry or kprobes",
        ));
        gaps.push(uring("sends"));
        missing_calls(&[(TP_ENTER_SENDMSG, "sendmsg"), (TP_ENTER_SENDMMSG, "sendmmsg")], facts, gaps);
    }
}

fn unix(rung: Rung, facts: &Facts<'_>, gaps: &mut Vec<KnownGap>) {
    let datagrams = match rung {
        Rung::Lsm => (facts.attached)(LSM_UNIX_SEND),
        Rung::Fentry => (facts.attached)(FENTRY_UNIX_SEND),
        Rung::Kprobe => (facts.attached)(KPROBE_UNIX_SEND),
        _ => false,
    };
    if !datagrams {
        gaps.push(blind(
            "unix-datagrams",
            "datagrams sent to a unix socket without connect are not seen",
            "BPF LSM, fentry or kprobes",
        ));
    }
    if rung == Rung::Tracepoint {
        gaps.push(blind(
            "fd-race",
            "the socket is found by its descriptor after the call: another thread can put another one there in between",
            "BPF LSM, fentry or kprobes",
        ));
        gaps.push(uring("connects"));
    }
}

fn socket(rung: Rung, gaps: &mut Vec<KnownGap>) {
    match rung {
        Rung::Cgroup => gaps.push(blind(
            "af-packet",
            "packet, vsock and other sockets that are not Internet sockets are not seen being made",
            "tracefs (for the tracepoint rung), BPF LSM, fentry or kprobes",
        )),
        Rung::Tracepoint => gaps.push(uring("sockets")),
        _ => {}
    }
}

fn exec(facts: &Facts<'_>, gaps: &mut Vec<KnownGap>) {
    if !(facts.attached)(BTF_PREPARE_EXEC) && !(facts.attached)(LSM_BPRM_COMMITTING) {
        gaps.push(detail(
            "ids-before-exec",
            "user and group ids before an exec and the script's inode are unknown",
            "Linux with the tracepoint sched_prepare_exec (6.10 or newer), or BPF LSM",
        ));
    }
    if !facts.inherits {
        gaps.push(blind(
            "cgroup-inherit",
            "new child cgroups of a worker do not inherit its label in the kernel: their first events are missed",
            "a kernel with the tracepoints cgroup_mkdir, cgroup_rmdir and cgroup_attach_task",
        ));
    }
}

fn missing_calls(calls: &[(u32, &str)], facts: &Facts<'_>, gaps: &mut Vec<KnownGap>) {
    let missing: Vec<&str> =
        calls.iter().filter(|(number, _)| !(facts.attached)(*number)).map(|(_, call)| *call).collect();
    if !missing.is_empty() {
        gaps.push(blind(
            "missing-calls",
            &format!("not attached to the system calls {}", missing.join(", ")),
            "see the reasons under programs",
        ));
    }
}

fn unwatched(signal: Signal) -> KnownGap {
    let (name, what) = match signal {
        Signal::Fork => ("unwatched", "new processes are not seen"),
        Signal::Exec => ("unwatched", "program executions are not seen"),
        Signal::Exit => ("unwatched", "ends of processes are not seen"),
        Signal::Open => ("unwatched", "file opens are not seen"),
        Signal::Connect => ("unwatched", "TCP and connected UDP connects are not seen"),
        Signal::Send => ("udp-sendto", "unconnected UDP sends are not seen"),
        Signal::Unix => ("unwatched", "connects to unix sockets are not seen"),
        Signal::Socket => ("raw-sockets", "raw, packet and other uncommon sockets are not seen being made"),
    };
    blind(name, what, "one of the rungs above; see why each failed")
}

fn uring(what: &str) -> KnownGap {
    blind(
        "uring",
        &format!("{what} through io_uring are not seen"),
        "kernel.io_uring_disabled=2 (Linux 6.6), or a rung that hooks kernel functions",
    )
}

fn blind(name: &'static str, what: &str, closes: &str) -> KnownGap {
    KnownGap { name, weight: GapWeight::Blind, what: what.to_owned(), closes: closes.to_owned() }
}

fn detail(name: &'static str, what: &str, closes: &str) -> KnownGap {
    KnownGap { name, weight: GapWeight::Detail, what: what.to_owned(), closes: closes.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::ladder::rungs;
    use super::*;

    fn names(
        signal: Signal,
        rung: Option<Rung>,
        host: &Host,
        attached: &dyn Fn(u32) -> bool,
    ) -> Vec<&'static str> {
        let climbed = Climbed { signal, rung, attempts: Vec::new(), ipv6_unseen: false };
        of(&climbed, &Facts { host, attached, inherits: true, neighbours: &[] })
            .iter()
            .map(|gap| gap.name)
            .collect()
    }

    fn modern() -> Host {
        Host { version: (6, 18, 0), ia32: Some(true), preemptible: Some(false), ..Host::default() }
    }

    #[test]
    fn gaps_of_the_open_tracepoint_rung_name_ia32_race_and_failed_opens() {
        let found = names(Signal::Open, Some(Rung::Tracepoint), &modern(), &|_| true);
        assert!(["ia32", "fd-race", "failed-opens"].iter().all(|name| found.contains(name)), "{found:?}");
        let off = Host { ia32: Some(false), ..modern() };
        assert!(!names(Signal::Open, Some(Rung::Tracepoint), &off, &|_| true).contains(&"ia32"));
    }

    #[test]
    fn gaps_of_connect_outside_the_cgroup_rung_name_fast_open() {
        for rung in rungs(Signal::Connect) {
            let found = names(Signal::Connect, Some(*rung), &modern(), &|_| true);
            assert_eq!(found.contains(&"tfo"), *rung != Rung::Cgroup, "{}", rung.name());
        }
    }

    #[test]
    fn gaps_of_a_signal_without_rung_are_never_empty() {
        for signal in Signal::ALL {
            assert!(!names(*signal, None, &modern(), &|_| true).is_empty());
        }
    }

    #[test]
    fn gaps_name_other_programs_on_the_connect_hooks() {
        let host = modern();
        let neighbours = ["cil_sock4 (id 4) on connect4".to_owned()];
        let facts = Facts { host: &host, attached: &|_| true, inherits: true, neighbours: &neighbours };
        let climbed = Climbed {
            signal: Signal::Connect,
            rung: Some(Rung::Cgroup),
            attempts: Vec::new(),
            ipv6_unseen: false,
        };
        assert!(
            of(&climbed, &facts)
                .iter()
                .any(|gap| gap.name == "address-stage" && gap.what.contains("cil_sock4"))
        );
    }

    #[test]
    fn gaps_of_preemptible_kernels_name_interrupted_runs_where_programs_do_not_nest() {
        let host = |version| Host { version, preemptible: Some(true), ..Host::default() };
        let has = |rung, version| {
            names(Signal::Open, Some(rung), &host(version), &|_| true).contains(&"interrupted-runs")
        };
        assert!(has(Rung::Fentry, (6, 1, 0)) && has(Rung::Tracepoint, (7, 2, 0)));
        assert!(
            !has(Rung::Lsm, (7, 2, 0))
                && !has(Rung::Tracepoint, (6, 18, 0))
                && !has(Rung::Fentry, (5, 10, 0))
        );
    }

    #[test]
    fn gaps_before_5_12_say_that_skips_are_unknowable() {
        let old = Host { version: (5, 10, 0), ..modern() };
        assert!(names(Signal::Fork, Some(Rung::TpBtf), &old, &|_| true).contains(&"unknowable-skips"));
        assert!(names(Signal::Fork, Some(Rung::TpBtf), &modern(), &|_| true).is_empty());
    }
}
