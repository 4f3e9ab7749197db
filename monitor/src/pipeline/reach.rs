//! What the process with which an incident began could read: looked up right after the incident's first alert, which does not
//! wait for a file system. What comes of it is said with the incident's next alert.

use super::Pipeline;
use crate::detect::Begun;
use crate::event::BootNs;
use crate::process::{Credentials, ProcReader, ProcessTable};
use crate::profile::RuleSet;
use crate::worker::{KnownFiles, Reach, RootFiles, is_credential_name};

/// Processes asked, should the acting one be gone: those above it.
const ASKED_MAX: usize = 4;

/// What waits longer than this is looked up by the clock: in a recording the looks of its time may be missing. ns.
const PATIENCE: BootNs = 1_000_000_000;

impl Pipeline {
    /// Looks up what the process could read with which the oldest incident began that was not looked at yet; whether there
    /// are more. To be called when alerts are sent: one look at a time, so that many incidents hold up no events.
    pub fn look_around(&mut self, now: BootNs) -> bool {
        let mut first = true;
        for begun in self.detector.take_begun(|_| std::mem::take(&mut first)) {
            self.look_up(&begun, now);
        }
        self.detector.has_begun()
    }

    /// The same for the oldest that began with this process, if there is one.
    pub fn look_around_of(&mut self, label: u32, pid: u32, now: BootNs) {
        let mut taken = false;
        let wanted = |begun: &Begun| {
            let is = !taken && begun.subject.label == label && begun.subject.key.pid == pid;
            taken |= is;
            is
        };
        for begun in self.detector.take_begun(wanted) {
            self.look_up(&begun, now);
        }
    }

    /// The same for those that nobody looked up in time.
    pub(super) fn look_around_late(&mut self, now: BootNs) {
        for begun in self.detector.take_begun(|begun| now.saturating_sub(begun.time) > PATIENCE) {
            self.look_up(&begun, now);
        }
    }

    fn look_up(&mut self, begun: &Begun, now: BootNs) {
        let surroundings = Surroundings {
            proc: &*self.proc,
            roots: &*self.roots,
            files: &self.files,
            processes: &self.processes,
            rules: &self.rules,
        };
        let reach = surroundings.reach(begun);
        if let Some(tap) = &mut self.tap {
            tap.reached(begun.subject.label, begun.subject.key.pid, now);
        }
        self.detector.within_reach(&begun.place, reach, now);
    }
}

/// Where it is looked up.
struct Surroundings<'a> {
    proc: &'a dyn ProcReader,
    roots: &'a dyn RootFiles,
    files: &'a KnownFiles,
    processes: &'a ProcessTable,
    rules: &'a RuleSet,
}

impl Surroundings<'_> {
    /// Looked up now, through the acting process, or if it is gone through the nearest above it that lives: it has the same
    /// root, and the environment was inherited from it.
    fn reach(&self, begun: &Begun) -> Reach {
        let subject = &begun.subject;
        let living = self
            .processes
            .lineage(begun.at)
            .map(|(_, process)| process)
            .filter(|process| process.exited.is_none() && process.label == subject.label)
            .take(ASKED_MAX);
        let wanted = |name: &str| is_credential_name(name) || self.rules.names_identity(name);
        let mut reach = Reach::default();
        let mut looked = false;
        for process in living {
            let pid = process.key.pid;
            if reach.environment.is_empty() {
                reach.environment = self.proc.variable_names(pid, &wanted).unwrap_or_default();
            }
            if looked {
                break;
            }
            let own = pid == subject.key.pid;
            let who = own.then(|| self.proc.credentials(pid)).flatten().unwrap_or_else(|| Credentials {
                uid: subject.uid,
                groups: vec![subject.gid],
                // Root without its capabilities is rare, and too much is better than too little here.
                capabilities: if subject.uid == 0 { u64::MAX } else { 0 },
            });
            let secrets = &self.rules.kernel_filter().secrets;
            let began = std::time::Instant::now();
            if let Some((identities, cut)) = self.roots.readable(pid, &who, secrets) {
                let micros = began.elapsed().as_micros();
                tracing::debug!(
                    pid,
                    micros,
                    identities = identities.len(),
                    cut,
                    "looked up what is within reach"
                );
                reach.identities = identities;
                reach.cut = cut;
                looked = true;
            }
        }
        if !looked {
            // What the last look at the worker's root found, whoever may read it.
            reach.identities = self.files.reachable(subject.label).to_vec();
        }
        reach
    }
}
