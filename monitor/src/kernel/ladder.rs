//! Climbs the ladder: per signal the best rung through which the canary was seen.

use std::collections::VecDeque;
use std::path::Path;

use monitor_common::hook::{Rung, Signal};
use monitor_common::program::{
    BTF_PREPARE_EXEC, BTF_URING_REQ, BTF_URING_SQE, LSM_BPRM_COMMITTING, PROGRAMS, ProgramSpec,
    RAW_SOCK_STATE,
};

use super::canary::{Canary, Facts, Seen};
use super::coverage::{Attempt, Verdict};
use super::error::KernelError;
use super::host::Host;
use super::load::{Failure, Programs};
use super::maps::Maps;
use super::options::HookChoice;
use super::rings::Rings;
use super::sequence::SequenceTracker;

/// The rungs of a signal, from the best.
pub(crate) fn rungs(signal: Signal) -> &'static [Rung] {
    use Rung::{Cgroup, Fentry, Kprobe, Lsm, RawTp, TpBtf, Tracepoint};
    match signal {
        Signal::Fork | Signal::Exec | Signal::Exit => &[TpBtf, RawTp],
        Signal::Open | Signal::Unix => &[Lsm, Fentry, Kprobe, Tracepoint],
        Signal::Connect | Signal::Send => &[Cgroup, Lsm, Fentry, Kprobe, Tracepoint],
        // `cgroup/sock_create` sees Internet sockets only (net/ipv4/af_inet.c, `inet_create`).
        Signal::Socket => &[Lsm, Fentry, Kprobe, Tracepoint, Cgroup],
    }
}

/// What the ladder works with.
pub(crate) struct Climb<'a> {
    pub(crate) host: &'a Host,
    pub(crate) hooks: &'a HookChoice,
    pub(crate) programs: &'a mut Programs,
    pub(crate) maps: &'a mut Maps,
    pub(crate) rings: &'a mut Rings,
    pub(crate) tracker: &'a mut SequenceTracker,
    pub(crate) canary: &'a Canary,
}

/// Where one signal ended.
#[derive(Debug)]
pub(crate) struct Climbed {
    pub(crate) signal: Signal,
    pub(crate) rung: Option<Rung>,
    pub(crate) attempts: Vec<Attempt>,
    /// The canary connected over IPv6 and that was not seen.
    pub(crate) ipv6_unseen: bool,
}

struct Climber {
    climbed: Climbed,
    waiting: VecDeque<Rung>,
    trying: Option<Rung>,
}

/// Checks that every rung pinned by name exists for its signal.
pub(crate) fn check_hooks(hooks: &HookChoice) -> Result<(), KernelError> {
    for signal in Signal::ALL {
        if let Some((rung, true)) = hooks.pinned(*signal)
            && !rungs(*signal).contains(&rung)
        {
            let known: Vec<&str> = rungs(*signal).iter().map(|rung| rung.name()).collect();
            return Err(KernelError::Hooks(format!(
                "signal {} has no rung `{}`; it has: {}",
                signal.name(),
                rung.name(),
                known.join(", ")
            )));
        }
    }
    Ok(())
}

impl Climb<'_> {
    /// Takes a rung for every signal that can be watched.
    pub(crate) fn climb(&mut self) -> Result<Vec<Climbed>, KernelError> {
        let mut climbers: Vec<Climber> = Signal::ALL.iter().map(|signal| self.climber(*signal)).collect();
        loop {
            self.ascend(&mut climbers);
            if climbers.iter().all(|climber| climber.trying.is_none()) {
                break;
            }
            let (facts, seen) = self.look()?;
            for climber in &mut climbers {
                self.judge(climber, &facts, &seen);
            }
        }
        let climbed: Vec<Climbed> = climbers.into_iter().map(finish).collect();
        self.companions(&climbed);
        Ok(climbed)
    }

    fn climber(&self, signal: Signal) -> Climber {
        let mut attempts = Vec::new();
        let mut waiting: VecDeque<Rung> = rungs(signal).iter().copied().collect();
        if let Some((pin, _)) = self.hooks.pinned(signal).filter(|(pin, _)| rungs(signal).contains(pin)) {
            waiting.retain(|rung| *rung == pin);
            let others = rungs(signal).iter().filter(|rung| **rung != pin);
            attempts.extend(others.map(|rung| Attempt {
                rung: *rung,
                verdict: Verdict::NotNeeded,
                reason: format!("hooks pins {}", pin.name()),
            }));
        }
        Climber {
            climbed: Climbed { signal, rung: None, attempts, ipv6_unseen: false },
            waiting,
            trying: None,
        }
    }

    /// Attaches for every signal that has no rung yet the next one that lets itself be attached.
    fn ascend(&mut self, climbers: &mut [Climber]) {
        loop {
            let mut picks: Vec<(&mut Climber, Rung)> = Vec::new();
            for climber in climbers.iter_mut() {
                if let Some(rung) = self.next(climber) {
                    picks.push((climber, rung));
                }
            }
            if picks.is_empty() {
                return;
            }
            let programs = picks.iter().flat_map(|(climber, rung)| of_rung(climber.climbed.signal, *rung));
            let programs =
                programs.map(|(number, _)| *number).filter(|number| !self.programs.is_needless(*number));
            let programs: Vec<u32> = programs.collect();
            self.programs.load_ahead(&programs);
            for (climber, rung) in picks {
                match self.attach(climber.climbed.signal, rung) {
                    Ok(()) => climber.trying = Some(rung),
                    Err(failure) => {
                        let hint = remedy(self.host, rung, failure.verdict);
                        climber.refuse(rung, failure.verdict, format!("{}{hint}", failure.reason));
                    }
                }
            }
        }
    }

    /// The next rung of a signal that this host does not rule out. LSM pinned for a signal by name is tried whatever the list of
    /// active LSMs says: the canary decides.
    fn next(&self, climber: &mut Climber) -> Option<Rung> {
        while climber.climbed.rung.is_none() && climber.trying.is_none() {
            let rung = climber.waiting.pop_front()?;
            let named = self.hooks.pinned(climber.climbed.signal) == Some((rung, true));
            match unavailable(self.host, rung).filter(|_| !(named && rung == Rung::Lsm)) {
                Some(reason) => climber.refuse(rung, Verdict::Unavailable, reason),
                None => return Some(rung),
            }
        }
        None
    }

    fn attach(&mut self, signal: Signal, rung: Rung) -> Result<(), Failure> {
        for (number, spec) in of_rung(signal, rung) {
            if self.programs.is_needless(*number) {
                continue;
            }
            if let Err(failure) = self.programs.attach(*number, spec)
                && !spec.optional
            {
                self.detach(signal, rung, &failure.reason);
                return Err(Failure { reason: format!("{}: {}", spec.name, failure.reason), ..failure });
            }
        }
        Ok(())
    }

    fn detach(&mut self, signal: Signal, rung: Rung, reason: &str) {
        for (number, spec) in of_rung(signal, rung) {
            if self.programs.is_attached(*number) {
                self.programs.detach(*number, spec, reason);
            }
        }
    }

    /// Runs the canary and reads what was seen of it.
    fn look(&mut self) -> Result<(Facts, Seen), KernelError> {
        let facts = self.canary.run(self.maps)?;
        let mut seen = Seen::default();
        while !self.rings.drain(self.tracker, &mut |record| seen.note(record, facts.pid)).drained {}
        seen.check(&facts)?;
        Ok((facts, seen))
    }

    fn judge(&mut self, climber: &mut Climber, facts: &Facts, seen: &Seen) {
        let Some(rung) = climber.trying.take() else { return };
        let signal = climber.climbed.signal;
        if seen.through(signal, rung) {
            climber.climbed.rung = Some(rung);
            let by_family = matches!(signal, Signal::Connect | Signal::Send);
            climber.climbed.ipv6_unseen = by_family && facts.ipv6 && !seen.ipv6_through(signal, rung);
            climber.climbed.attempts.push(Attempt { rung, verdict: Verdict::Taken, reason: String::new() });
            return;
        }
        let reason = if facts.pid == 0 {
            "the canary could not run".to_owned()
        } else {
            "attached without error, but a canary of the agent was not seen through it".to_owned()
        };
        self.detach(signal, rung, &reason);
        climber.refuse(rung, Verdict::NotSeen, reason);
    }

    /// Attaches what adds to a rung without being one: credentials before an exec, results of connects, io_uring opens.
    fn companions(&mut self, climbed: &[Climbed]) {
        let taken = |signal| climbed.iter().find(|entry| entry.signal == signal).and_then(|entry| entry.rung);
        let mut wanted = Vec::new();
        let lsm_fires = self.host.has_bpf_lsm() == Some(true)
            || climbed.iter().any(|entry| entry.rung == Some(Rung::Lsm));
        if taken(Signal::Exec).is_some() && lsm_fires && !self.programs.is_attached(BTF_PREPARE_EXEC) {
            wanted.push(LSM_BPRM_COMMITTING);
        }
        if taken(Signal::Connect).is_some() {
            wanted.push(RAW_SOCK_STATE);
        }
        if taken(Signal::Open) == Some(Rung::Tracepoint) {
            wanted.extend([BTF_URING_REQ, BTF_URING_SQE]);
        }
        self.programs.load_ahead(&wanted);
        for (number, spec) in PROGRAMS.iter().filter(|(number, _)| wanted.contains(number)) {
            let failure = match unavailable(self.host, spec.rung) {
                Some(reason) => Some(reason),
                None => self.programs.attach(*number, spec).err().map(|failure| failure.reason),
            };
            if let Some(reason) = failure {
                tracing::debug!(program = spec.name, "not attached: {reason}");
            }
        }
    }
}

impl Climber {
    fn refuse(&mut self, rung: Rung, verdict: Verdict, reason: String) {
        self.climbed.attempts.push(Attempt { rung, verdict, reason });
    }
}

fn finish(climber: Climber) -> Climbed {
    let mut climbed = climber.climbed;
    let rest = climber.waiting.into_iter().map(|rung| Attempt {
        rung,
        verdict: Verdict::NotNeeded,
        reason: "a better rung was taken".to_owned(),
    });
    climbed.attempts.extend(rest);
    climbed
}

/// The programs that make up a rung of a signal.
pub(crate) fn of_rung(signal: Signal, rung: Rung) -> impl Iterator<Item = &'static (u32, ProgramSpec)> {
    PROGRAMS.iter().filter(move |(_, spec)| spec.signal == Some(signal) && spec.rung == rung)
}

/// Why a rung need not be tried on this host.
fn unavailable(host: &Host, rung: Rung) -> Option<String> {
    match rung {
        Rung::Lsm if host.has_bpf_lsm() == Some(false) => {
            let active = host.lsm.as_deref().unwrap_or_default().join(",");
            Some(format!("`bpf` is not an active LSM (/sys/kernel/security/lsm: {active}); boot with lsm={active},bpf"))
        }
        Rung::Kprobe if !Path::new("/sys/bus/event_source/devices/kprobe").exists() => {
            Some("the kernel has no kprobes (CONFIG_KPROBE_EVENTS)".to_owned())
        }
        Rung::Tracepoint if host.tracefs.is_none() => {
            Some("tracefs is not mounted; mount -t tracefs tracefs /sys/kernel/tracing".to_owned())
        }
        // Attached to a folder below the root, it would not see the processes beside it.
        Rung::Cgroup if !host.cgroup2_is_root => {
            Some("the agent is in a cgroup namespace of its own and does not see the root cgroup; run it in the host's (docker: --cgroupns=host)".to_owned())
        }
        Rung::Cgroup if !host.has_net_admin() => Some("CAP_NET_ADMIN is missing".to_owned()),
        _ => None,
    }
}

/// What would let a rung be attached, if that is known.
fn remedy(host: &Host, rung: Rung, verdict: Verdict) -> String {
    match (rung, verdict, host.perf_event_paranoid) {
        (Rung::Kprobe | Rung::Tracepoint, Verdict::AttachFailed, Some(level)) if host.perf_needs_admin() => {
            format!(
                "; kernel.perf_event_paranoid is {level}, and from 3 on this kernel wants CAP_SYS_ADMIN: set it to 2 \
                 (sysctl kernel.perf_event_paranoid=2, and in /etc/sysctl.d to keep it)"
            )
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ladder_every_rung_of_every_signal_has_a_required_program() {
        for signal in Signal::ALL {
            for rung in rungs(*signal) {
                assert!(
                    of_rung(*signal, *rung).any(|(_, spec)| !spec.optional),
                    "{} {}",
                    signal.name(),
                    rung.name()
                );
            }
        }
    }

    #[test]
    fn ladder_pinned_rung_that_a_signal_lacks_is_an_error_only_when_named_for_it() {
        assert!(check_hooks(&"lsm".parse().unwrap()).is_ok());
        let message = check_hooks(&"open=cgroup".parse().unwrap()).unwrap_err().to_string();
        assert!(message.contains("open") && message.contains("fentry"), "{message}");
    }

    #[test]
    fn ladder_perf_event_that_is_refused_names_the_setting_and_its_fix() {
        let host = Host { perf_event_paranoid: Some(3), ..Host::default() };
        let hint = remedy(&host, Rung::Tracepoint, Verdict::AttachFailed);
        assert!(hint.contains("is 3") && hint.contains("sysctl kernel.perf_event_paranoid=2"), "{hint}");
        assert_eq!(remedy(&host, Rung::Lsm, Verdict::AttachFailed), "");
        assert_eq!(remedy(&Host::default(), Rung::Kprobe, Verdict::AttachFailed), "");
    }

    #[test]
    fn ladder_rung_that_the_host_rules_out_has_a_reason_with_a_remedy() {
        let host = Host { lsm: Some(vec!["lockdown".into(), "apparmor".into()]), ..Host::default() };
        let reason = unavailable(&host, Rung::Lsm).unwrap();
        assert!(reason.contains("lsm=lockdown,apparmor,bpf"), "{reason}");
        assert!(unavailable(&host, Rung::Cgroup).unwrap().contains("cgroup namespace"));
        assert!(unavailable(&Host::default(), Rung::Lsm).is_none(), "unknown: the canary decides");
    }
}
