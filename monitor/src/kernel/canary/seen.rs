//! What came back of the canary, and whether it is true.

use std::collections::BTreeSet;

use monitor_common::ABI_VERSION;
use monitor_common::hook::{Kind, Rung, Signal};
use monitor_common::record::{Connect, Exec, Header};
use zerocopy::FromBytes;

use super::super::error::KernelError;

/// A clock tick of /proc, ns (`USER_HZ` is 100 on every architecture we run on).
pub(super) const TICK: u64 = 10_000_000;

/// What the canary says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Process id of the acting process; 0 if it said nothing.
    pub(crate) pid: u32,
    /// Its start, ticks.
    start_ticks: u64,
    /// It connected over IPv6 too.
    pub(crate) ipv6: bool,
    /// Device and inode of what it executes, if that is the image in memory.
    image: Option<(u32, u64)>,
}

impl Facts {
    pub(super) fn parse(stat: &[u8], ipv6: bool, image: Option<(u32, u64)>) -> Self {
        let text = String::from_utf8_lossy(stat);
        let pid = text.split(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        Self { pid, start_ticks: start_ticks(stat).unwrap_or(0), ipv6, image }
    }
}

/// Field 22 of /proc/PID/stat; the second, in parentheses, may hold anything.
pub(super) fn start_ticks(stat: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(stat);
    let (_, after) = text.rsplit_once(") ")?;
    after.split(' ').nth(19)?.parse().ok()
}

/// The records of one canary.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    records: BTreeSet<(u16, u16)>,
    /// Signal and rung, for connects and sends over IPv6.
    ipv6: BTreeSet<(u16, u16)>,
    exec: Option<Exec>,
}

impl Seen {
    /// Notes a record if it is of the canary with this process id.
    pub(crate) fn note(&mut self, record: &[u8], pid: u32) {
        let Ok((header, _)) = Header::read_from_prefix(record) else { return };
        if header.abi != ABI_VERSION || header.pid != pid {
            return;
        }
        let place = (header.signal, header.rung);
        match Kind::from_wire(header.kind) {
            Some(Kind::Exec) => self.exec = Exec::read_from_prefix(record).ok().map(|(exec, _)| exec),
            Some(Kind::Connect) => {
                if Connect::read_from_prefix(record)
                    .is_ok_and(|(connect, _)| connect.family == libc::AF_INET6 as u16)
                {
                    self.ipv6.insert(place);
                }
            }
            // What became of a connect is no sign of the hook that sees the connect.
            Some(Kind::ConnectResult | Kind::CgroupMove | Kind::CgroupNew) | None => return,
            Some(_) => {}
        }
        self.records.insert(place);
    }

    /// Whether a signal was seen through a rung.
    pub(crate) fn through(&self, signal: Signal, rung: Rung) -> bool {
        self.records.contains(&(signal as u16, rung as u16))
    }

    /// Whether a connect or send over IPv6 was.
    pub(crate) fn ipv6_through(&self, signal: Signal, rung: Rung) -> bool {
        self.ipv6.contains(&(signal as u16, rung as u16))
    }

    /// Compares what the probes reported of the canary's exec with what is true.
    pub(crate) fn check(&self, facts: &Facts) -> Result<(), KernelError> {
        let Some(exec) = &self.exec else { return Ok(()) };
        let header = &exec.header;
        differs("start (clock ticks)", header.start / TICK, facts.start_ticks)?;
        // SAFETY: no arguments.
        let uid = unsafe { libc::geteuid() };
        differs("effective uid", u64::from(header.uid), u64::from(uid))?;
        if let Some((dev, ino)) = facts.image
            && exec.flags & monitor_common::record::exec_flags::MEMFD != 0
        {
            differs("exe device", u64::from(header.exe_dev), u64::from(dev))?;
            differs("exe inode", header.exe_ino, ino)?;
        }
        Ok(())
    }
}

fn differs(field: &'static str, reported: u64, actual: u64) -> Result<(), KernelError> {
    if reported == actual {
        return Ok(());
    }
    Err(KernelError::SelfCheck { field, reported: reported.to_string(), actual: actual.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    const STAT: &[u8] = b"669 (a) b) S 1 669 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9 9";

    fn exec(pid: u32, start: u64) -> Exec {
        // SAFETY: no arguments.
        let uid = unsafe { libc::geteuid() };
        let header = Header {
            abi: ABI_VERSION,
            kind: Kind::Exec as u16,
            signal: Signal::Exec as u16,
            rung: Rung::TpBtf as u16,
            pid,
            start,
            uid,
            ..Header::ZERO
        };
        Exec { header, ..Exec::ZERO }
    }

    #[test]
    fn canary_facts_survive_a_command_name_with_parentheses() {
        let facts = Facts::parse(STAT, true, None);
        assert_eq!((facts.pid, facts.start_ticks), (669, 4711));
        assert_eq!(Facts::parse(b"", true, None).pid, 0);
    }

    #[test]
    fn canary_record_of_another_process_does_not_count() {
        let mut seen = Seen::default();
        seen.note(exec(5, 0).as_bytes(), 6);
        assert!(!seen.through(Signal::Exec, Rung::TpBtf));
        seen.note(exec(6, 0).as_bytes(), 6);
        assert!(seen.through(Signal::Exec, Rung::TpBtf) && !seen.through(Signal::Exec, Rung::RawTp));
    }

    #[test]
    fn canary_start_that_differs_fails_the_self_check() {
        let facts = Facts::parse(STAT, true, None);
        let check = |start| {
            let mut seen = Seen::default();
            seen.note(exec(669, start).as_bytes(), 669);
            seen.check(&facts)
        };
        assert!(check(4711 * TICK + 1).is_ok());
        let error = check(4712 * TICK).unwrap_err();
        assert!(matches!(error, KernelError::SelfCheck { field: "start (clock ticks)", .. }), "{error}");
    }
}
