//! What was in the memory or environment of a process when somebody read it who may not.
//!
//! The role says what its memory holds (`holds` of the profile); what its environment holds is told by the names of its
//! variables, which are read now, never their values. Where they cannot be read, what the role holds and a variable can
//! carry counts as taken: not to know is no reason to rotate less.

use std::collections::VecDeque;
use std::sync::Arc;

use super::profile;
use crate::event::{BootNs, Event, ProcessKey};
use crate::process::{ProcReader, Process, ProcessTable};
use crate::profile::{Leaked, ProcessRead, ProfileId, ReadOf, RoleId, RoleKind, RuleSet};
use crate::worker::{Workers, is_credential_name};

/// The same read by the same program within this time gives nothing new, ns.
const AGAIN: BootNs = 60_000_000_000;
/// Most reads remembered. A sweep over more processes than this within a minute goes by their roles alone.
const REMEMBERED: usize = 256;
/// Most variables told of one process.
const VARIABLES_MAX: usize = 64;

/// Reads that were looked into.
#[derive(Default)]
pub(super) struct Reads(VecDeque<(BootNs, Read)>);

/// Acting image, target's pid and start, and what of it was read.
type Read = (u64, u32, BootNs, ReadOf);

/// Whether a read is to be looked into.
#[derive(PartialEq, Eq)]
enum Look {
    /// As far as can be.
    Whole,
    /// Without asking the host: too many were.
    Roles,
    /// It was done a moment ago.
    No,
}

impl Reads {
    fn look(&mut self, read: Read, now: BootNs) -> Look {
        while self.0.front().is_some_and(|(then, _)| now.saturating_sub(*then) >= AGAIN) {
            self.0.pop_front();
        }
        if self.0.iter().any(|(_, known)| *known == read) {
            return Look::No;
        }
        if self.0.len() >= REMEMBERED {
            return Look::Roles;
        }
        self.0.push_back((now, read));
        Look::Whole
    }
}

/// The process that was read.
struct Victim {
    key: ProcessKey,
    /// The profile of its worker and the role it has; `None` if it is in no worker.
    role: Option<(ProfileId, RoleId)>,
}

/// Where it is looked up.
pub(super) struct Victims<'a> {
    pub(super) processes: &'a ProcessTable,
    pub(super) workers: &'a Workers,
    pub(super) rules: &'a RuleSet,
    pub(super) proc: &'a dyn ProcReader,
}

impl Victims<'_> {
    /// What a read gave away, each thing once.
    pub(super) fn leaked(&self, reads: &mut Reads, event: &Event, read: ProcessRead) -> Vec<Leaked> {
        let victim = self.victim(read.pid);
        let what = (event.subject.exec_id, read.pid, victim.key.start, read.what);
        let ask = match reads.look(what, event.time) {
            Look::Whole => true,
            Look::Roles => false,
            Look::No => return Vec::new(),
        };
        let name = victim.role.map(|(profile, role)| self.rules.role(profile, role).name);
        let whose = name.map_or_else(|| read.pid.to_string(), |role| format!("{} ({role})", read.pid));
        let names = ask.then(|| variables(self.proc, self.rules, read.pid)).flatten();
        leaked(self.rules, victim.role, read.what, names, &whose)
    }

    fn victim(&self, pid: u32) -> Victim {
        let process = self.processes.find_pid(pid).and_then(|at| self.processes.get(at));
        let key = process.map_or(ProcessKey { pid, start: 0 }, |process| process.key);
        Victim { key, role: process.and_then(|process| self.role_of(process)) }
    }

    /// Its role; below author code that of its author root, whose environment it inherited.
    fn role_of(&self, process: &Process) -> Option<(ProfileId, RoleId)> {
        let worker = self.workers.get(process.label)?;
        let profile = profile(Some(worker));
        let image = process.image()?;
        let own = image.standing.role;
        if self.rules.role(profile, own).kind != RoleKind::Descendant {
            return Some((profile, own));
        }
        let root = self.processes.find_exec(image.author_root).and_then(|at| self.processes.get(at));
        let root = root.and_then(|process| process.image_of(image.author_root));
        Some((profile, root.map_or(own, |root| root.standing.role)))
    }
}

fn variables(proc: &dyn ProcReader, rules: &RuleSet, pid: u32) -> Option<Vec<Arc<str>>> {
    proc.variable_names(pid, &|name| is_credential_name(name) || rules.names_identity(name))
}

/// `names`: the variables of the process that look like credentials; `None` if they are not known.
fn leaked(
    rules: &RuleSet,
    role: Option<(ProfileId, RoleId)>,
    what: ReadOf,
    names: Option<Vec<Arc<str>>>,
    whose: &str,
) -> Vec<Leaked> {
    let mut all: Vec<Leaked> = Vec::new();
    let mut add = |leaked: Leaked| {
        if all.iter().all(|known| known.what != leaked.what) {
            all.push(leaked);
        }
    };
    if let (ReadOf::Memory, Some((profile, role))) = (what, role) {
        let from: Arc<str> = format!("memory of process {whose}").into();
        for identity in rules.holds(profile, role) {
            add(Leaked { what: identity.id.clone(), identity: Some(identity.clone()), from: from.clone() });
        }
    }
    match (names, role) {
        (Some(names), _) => {
            for name in names.iter().take(VARIABLES_MAX) {
                let identity = rules.identity_of_variable(role, name).cloned();
                let what = identity.as_ref().map_or_else(|| format!("${name}").into(), |i| i.id.clone());
                add(Leaked { what, identity, from: format!("{name} of process {whose}").into() });
            }
        }
        (None, Some((profile, role))) => {
            let from: Arc<str> =
                format!("environment of process {whose}, whose variables are not known").into();
            for identity in rules.may_carry(profile, role) {
                add(Leaked {
                    what: identity.id.clone(),
                    identity: Some(identity.clone()),
                    from: from.clone(),
                });
            }
        }
        (None, None) => {}
    }
    // What is known by name first.
    all.sort_by_key(|leaked| leaked.identity.is_none());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_read_counts_again_after_a_while_and_too_many_go_by_their_roles() {
        let mut reads = Reads::default();
        let read = |pid| (1, pid, 5, ReadOf::Memory);
        assert!(reads.look(read(1), 0) == Look::Whole);
        assert!(reads.look(read(1), AGAIN - 1) == Look::No);
        assert!(reads.look((1, 1, 5, ReadOf::Environment), AGAIN - 1) == Look::Whole);
        assert!(reads.look(read(1), AGAIN) == Look::Whole);
        for pid in 2..2 * REMEMBERED as u32 {
            reads.look(read(pid), AGAIN);
        }
        assert!(reads.look(read(9_999), AGAIN) == Look::Roles);
        assert_eq!(reads.0.len(), REMEMBERED);
    }
}
