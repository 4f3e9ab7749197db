//! The coverage as people read it: signal by signal, then the gaps with what closes them.

use std::fmt::Write;

use super::{Privileges, Weakened};
use crate::alert::human::{Style, wrap};
use crate::kernel::{Attempt, Coverage, GapWeight, Host, KnownGap, Level, SignalCoverage, Verdict};

/// The whole answer of `sandwatch doctor`.
pub(super) fn page(
    coverage: &Coverage,
    privileges: &Privileges,
    weakened: &[Weakened],
    programs: bool,
    style: &Style,
) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "Coverage: {}", headline(coverage));
    let _ = writeln!(out, "Kernel {}, ready in {} ms\n", coverage.host.kernel, coverage.start.as_millis());
    for entry in &coverage.signals {
        signal(&mut out, entry, style);
    }
    gaps(&mut out, coverage, style);
    detections(&mut out, weakened, style);
    host(&mut out, coverage);
    kept(&mut out, privileges, style);
    if !coverage.warnings.is_empty() {
        out.push_str("\nWarnings\n");
        coverage.warnings.iter().for_each(|warning| hang(&mut out, "  - ", warning, style));
    }
    if programs {
        program_table(&mut out, coverage, style);
    }
    out.trim_end().to_owned()
}

/// The short form: one line a signal.
pub(crate) fn coverage(coverage: &Coverage) -> String {
    let mut out = String::new();
    for entry in &coverage.signals {
        let gaps =
            if entry.gaps.is_empty() { String::new() } else { format!("  gaps: {}", names(&entry.gaps)) };
        let _ = writeln!(out, "  {:<8} {:<11}{gaps}", entry.signal.name(), rung(entry));
    }
    out
}

fn headline(coverage: &Coverage) -> String {
    let watched = coverage.signals.iter().filter(|entry| entry.rung.is_some()).count();
    let all = coverage.signals.len();
    match coverage.level {
        Level::Full => format!("full: all {all} signals are watched, and no action can succeed unseen"),
        Level::Partial if watched == all => {
            format!(
                "partial: all {all} signals are watched, but some actions can succeed unseen (known gaps, below)"
            )
        }
        Level::Partial => format!("partial: {watched} of {all} signals are watched"),
        Level::None => "none: no signal is watched".into(),
    }
}

fn rung(entry: &SignalCoverage) -> &'static str {
    entry.rung.map_or("NOT WATCHED", |rung| rung.name())
}

fn names(gaps: &[KnownGap]) -> String {
    gaps.iter().map(|gap| gap.name).collect::<Vec<_>>().join(", ")
}

fn signal(out: &mut String, entry: &SignalCoverage, style: &Style) {
    let gaps = if entry.gaps.is_empty() {
        "no known gap".to_owned()
    } else {
        format!("gaps: {}", names(&entry.gaps))
    };
    let _ = writeln!(out, "{:<9}{:<12}{gaps}", entry.signal.name(), rung(entry));
    let better = |attempt: &&Attempt| !matches!(attempt.verdict, Verdict::Taken | Verdict::NotNeeded);
    for attempt in entry.attempts.iter().filter(better) {
        let lead = format!("         not {}: ", attempt.rung.name());
        hang(out, &lead, &format!("{}{}", verdict(attempt.verdict), attempt.reason), style);
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::LoadFailed => "does not load: ",
        Verdict::AttachFailed => "does not attach: ",
        Verdict::NotSeen => "attached, but does not fire: ",
        Verdict::Taken | Verdict::Unavailable | Verdict::NotNeeded => "",
    }
}

/// Each gap once, with the signals that have it.
fn gaps(out: &mut String, coverage: &Coverage, style: &Style) {
    let mut seen: Vec<(&KnownGap, Vec<&'static str>)> = Vec::new();
    for entry in &coverage.signals {
        for gap in &entry.gaps {
            match seen.iter_mut().find(|(known, _)| *known == gap) {
                Some((_, signals)) => signals.push(entry.signal.name()),
                None => seen.push((gap, vec![entry.signal.name()])),
            }
        }
    }
    if seen.is_empty() {
        return;
    }
    out.push_str("\nKnown gaps\n");
    for (gap, signals) in seen {
        let weight = match gap.weight {
            GapWeight::Blind => "can succeed unseen",
            GapWeight::Detail => "detail only",
        };
        let _ = writeln!(out, "  {} ({}; {weight})", gap.name, signals.join(", "));
        hang(out, "    not seen:  ", &gap.what, style);
        if !gap.closes.is_empty() {
            hang(out, "    closed by: ", &gap.closes, style);
        }
    }
}

/// By the gaps that weaken them: many detections share one signal's.
fn detections(out: &mut String, weakened: &[Weakened], style: &Style) {
    if weakened.is_empty() {
        return;
    }
    let mut groups: Vec<(&Weakened, Vec<&str>)> = Vec::new();
    for entry in weakened {
        match groups.iter_mut().find(|(first, _)| first.blind == entry.blind && first.gaps == entry.gaps) {
            Some((_, ids)) => ids.push(&entry.detection),
            None => groups.push((entry, vec![&entry.detection])),
        }
    }
    out.push_str("\nDetections weakened\n");
    for (first, ids) in groups {
        let by = if first.blind {
            "blind, signal not watched".to_owned()
        } else {
            format!("by {}", first.gaps.join(", "))
        };
        let _ = writeln!(out, "  {by}");
        hang(out, "    ", &ids.join(", "), style);
    }
}

fn host(out: &mut String, coverage: &Coverage) {
    let host = &coverage.host;
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or("none".to_owned(), |p| p.display().to_string())
    };
    let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
    out.push_str("\nHost\n");
    let namespace =
        if host.cgroup2_is_root { "" } else { " (a cgroup namespace: its root is not the host's)" };
    let rows = [
        ("cgroup v2", format!("{}{namespace}", path(&host.cgroup2))),
        ("tracefs", path(&host.tracefs)),
        ("LSMs", known(host.lsm.as_ref().map(|list| list.join(", ")))),
        ("lockdown", host.lockdown.clone().unwrap_or_else(|| "not supported by this kernel".into())),
        ("32-bit calls", known(host.ia32.map(|on| if on { "possible" } else { "off" }.to_owned()))),
        ("perf events", perf_events(host)),
        ("CPUs", host.cpus.to_string()),
    ];
    for (name, value) in rows {
        let _ = writeln!(out, "  {name:<13} {value}");
    }
}

/// Whether kprobes and system call tracepoints are at hand: they are perf events.
fn perf_events(host: &Host) -> String {
    match host.perf_event_paranoid {
        None => "unknown".to_owned(),
        Some(level) if host.perf_needs_admin() => {
            format!(
                "kernel.perf_event_paranoid is {level}: where that is more than 2, some kernels want CAP_SYS_ADMIN"
            )
        }
        Some(level) => format!("kernel.perf_event_paranoid is {level}"),
    }
}

/// What an agent that is started like this may still do once it watches.
fn kept(out: &mut String, privileges: &Privileges, style: &Style) {
    out.push_str("\nPrivileges once it watches\n");
    let plan = &privileges.plan;
    for (row, kept) in plan.purposes().iter().enumerate() {
        let lead = if row == 0 { "  keeps         " } else { "                " };
        hang(out, lead, &format!("{} ({})", kept.name, kept.purpose), style);
    }
    if plan.purposes().is_empty() {
        out.push_str("  keeps         no capability\n");
    }
    let given_up = match plan.given_up() {
        [] => "nothing: it was given no more".to_owned(),
        names => names.join(", "),
    };
    hang(out, "  gives up      ", &given_up, style);
    let calls = match privileges.refused_calls {
        Some(count) => format!("{count} are refused by a seccomp filter, and those of 32-bit programs"),
        None => "not refused: this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)".to_owned(),
    };
    hang(out, "  system calls  ", &calls, style);
}

fn program_table(out: &mut String, coverage: &Coverage, style: &Style) {
    out.push_str("\nPrograms        rung         load ms  instructions  attached\n");
    for program in &coverage.programs {
        let _ = writeln!(
            out,
            "  {:<15} {:<11} {:>7.1} {:>13}  {}",
            program.name,
            program.rung.name(),
            program.load.as_secs_f64() * 1e3,
            program.verified_instructions.map_or("?".into(), |count| count.to_string()),
            if program.attached { "yes" } else { "no" },
        );
        if let Some(error) = &program.error {
            error.lines().for_each(|line| hang(out, "      ", line, style));
        }
    }
}

fn hang(out: &mut String, lead: &str, text: &str, style: &Style) {
    let indent = lead.chars().count();
    let safe = crate::alert::escape::for_terminal(text);
    for (index, line) in wrap(&safe, style.width.saturating_sub(indent).max(24)).iter().enumerate() {
        if index == 0 {
            let _ = writeln!(out, "{lead}{line}");
        } else {
            let _ = writeln!(out, "{}{line}", " ".repeat(indent));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use monitor_common::hook::{Rung, Signal};

    use super::*;
    use crate::kernel::ProgramReport;
    use crate::privilege::Plan;

    fn example() -> Coverage {
        let attempt = |rung, verdict, reason: &str| Attempt { rung, verdict, reason: reason.into() };
        let ia32 = KnownGap {
            name: "ia32",
            weight: GapWeight::Blind,
            what: "opens and connects by 32-bit system calls".into(),
            closes: "a kernel with LSM or fentry hooks, or ia32_emulation=off".into(),
        };
        Coverage {
            level: Level::Partial,
            signals: vec![
                SignalCoverage {
                    signal: Signal::Exec,
                    rung: Some(Rung::TpBtf),
                    attempts: vec![attempt(Rung::TpBtf, Verdict::Taken, "")],
                    gaps: vec![],
                },
                SignalCoverage {
                    signal: Signal::Open,
                    rung: Some(Rung::Tracepoint),
                    attempts: vec![
                        attempt(Rung::Lsm, Verdict::NotSeen, "`bpf` is not in the active LSM list"),
                        attempt(Rung::Fentry, Verdict::AttachFailed, "EPERM"),
                        attempt(Rung::Kprobe, Verdict::Unavailable, "this kernel has no kprobes"),
                        attempt(Rung::Tracepoint, Verdict::Taken, ""),
                    ],
                    gaps: vec![ia32.clone()],
                },
                SignalCoverage {
                    signal: Signal::Connect,
                    rung: None,
                    attempts: vec![attempt(Rung::Cgroup, Verdict::LoadFailed, "CAP_NET_ADMIN is missing")],
                    gaps: vec![ia32],
                },
            ],
            host: Host {
                kernel: "6.18.0".into(),
                cgroup2: Some("/sys/fs/cgroup".into()),
                cpus: 2,
                perf_event_paranoid: Some(3),
                ..Host::default()
            },
            warnings: vec!["RLIMIT_MEMLOCK could not be raised".into()],
            programs: vec![ProgramReport {
                name: "btf_exec",
                rung: Rung::TpBtf,
                attached: true,
                load: Duration::from_micros(2500),
                verified_instructions: Some(1234),
                translated_bytes: None,
                jited_bytes: 0,
                error: None,
            }],
            start: Duration::from_millis(321),
        }
    }

    #[test]
    fn partial_coverage_as_people_read_it() {
        let entry = |id: &str, blind, gaps: &[&'static str]| Weakened {
            detection: id.into(),
            tier: "boundary",
            blind,
            gaps: gaps.to_vec(),
        };
        let weakened = [
            entry("ssh-key-read", false, &["ia32"]),
            entry("kubelet-contacted", true, &["ia32"]),
            entry("environ-read", false, &["ia32"]),
        ];
        // BPF, SYS_PTRACE, NET_ADMIN.
        let plan = Plan::of(1 << 39 | 1 << 19 | 1 << 12);
        let privileges = Privileges { plan, refused_calls: Some(57) };
        insta::assert_snapshot!(page(&example(), &privileges, &weakened, true, &Style::PLAIN));
    }

    #[test]
    fn coverage_in_short() {
        insta::assert_snapshot!(coverage(&example()));
    }
}
