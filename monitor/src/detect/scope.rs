//! What findings have in common: which incident a finding belongs to, and the incident's id.
//!
//! The scope is the run, if the engine or a controller states it, else the author root, else the nearest process on the
//! engine's side, else the process that joined from outside. Processes are named by pid and start in ticks, so that a scan of
//! /proc after a restart of the agent names them the same.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::scene::Scene;
use crate::alert::Attribution;
use crate::event::{BootNs, ProcessKey};
use crate::process::{Process, Standing};

/// One tick of the start times in /proc, ns.
const TICK: BootNs = 10_000_000;

/// Most processes of a finding's lineage that are remembered as its incident's.
const ANCHORS_MAX: usize = 16;

/// Scope of the findings of a worker that has too many incidents.
pub(super) const OVERFLOW: &str = "overflow";
/// Scope of an hour's deviations of a worker.
pub(super) const DIGEST: &str = "digest";

/// Beginning of the scopes of people who entered a worker.
pub(super) const OPERATOR: &str = "operator:";

/// A process as a scan of /proc would name it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Anchor {
    pid: u32,
    tick: u64,
}

impl Anchor {
    fn of(key: ProcessKey) -> Self {
        Self { pid: key.pid, tick: key.start / TICK }
    }
}

impl std::fmt::Display for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.tick, self.pid)
    }
}

/// The scope of what happens in a scene.
pub(super) fn of(scene: &Scene<'_>, attribution: Option<&Attribution>) -> String {
    match attribution.and_then(trusted_run) {
        Some(run) => format!("run:{run}"),
        None => by_lineage(scene),
    }
}

fn trusted_run(attribution: &Attribution) -> Option<&str> {
    let run = attribution.run.as_ref()?;
    matches!(run.trust.as_str(), "engine" | "controller").then_some(&*run.value)
}

fn by_lineage(scene: &Scene<'_>) -> String {
    let root = author_root(scene);
    if root != 0 {
        let process = scene.processes.find_exec(root).and_then(|at| scene.processes.get(at));
        return match process {
            Some(process) => format!("author:{}", Anchor::of(process.key)),
            None => format!("author:exec:{root:x}"),
        };
    }
    if let Some(process) = engine_process(scene) {
        return format!("engine:{}", Anchor::of(process.key));
    }
    format!("lineage:{}", top(scene))
}

/// Exec id of the author root at or above the acting process; 0: none.
pub(super) fn author_root(scene: &Scene<'_>) -> u64 {
    scene.image().map_or(scene.event.subject.author_root, |image| image.author_root)
}

/// The first process of the lineage that is known.
pub(super) fn top(scene: &Scene<'_>) -> Anchor {
    let last = scene.processes.lineage(scene.at).last();
    Anchor::of(last.map_or(scene.event.subject.key, |(_, process)| process.key))
}

/// The nearest process on the engine's side; of those that share a role by inheritance the first.
fn engine_process<'a>(scene: &Scene<'a>) -> Option<&'a Process> {
    let mut unit: Option<(Standing, &Process)> = None;
    for (_, process) in scene.processes.lineage(scene.at) {
        let has = |standing: &Standing| process.images.iter().any(|image| image.standing == *standing);
        match &mut unit {
            Some((standing, first)) if has(standing) => *first = process,
            Some(_) => break,
            None => {
                let image =
                    process.images.iter().rev().find(|image| {
                        scene.rules.role(scene.profile, image.standing.role).kind.engine_side()
                    });
                unit = image.map(|image| (image.standing, process));
            }
        }
    }
    unit.map(|(_, first)| first)
}

/// The processes that belong to the scope of a scene alone: the acting one and those above it, up to the author root, or
/// for the engine's own scope up to the engine's process.
pub(super) fn anchors(scene: &Scene<'_>, scope: &str) -> Vec<Anchor> {
    let root = author_root(scene);
    let engine = scope.starts_with("engine:").then(|| engine_process(scene)).flatten().map(|p| p.key);
    let mut anchors = Vec::new();
    for (_, process) in scene.processes.lineage(scene.at).take(ANCHORS_MAX) {
        let standing = process.image().map(|image| image.standing);
        let engine_side = standing
            .is_some_and(|standing| scene.rules.role(scene.profile, standing.role).kind.engine_side());
        let last = (root != 0 && process.image_of(root).is_some()) || Some(process.key) == engine;
        if engine_side && !last && engine.is_none() {
            break;
        }
        anchors.push(Anchor::of(process.key));
        if last {
            break;
        }
    }
    if anchors.is_empty() {
        anchors.push(Anchor::of(scene.event.subject.key));
    }
    anchors
}

/// The incident's id. kernfs numbers cgroups uniquely within a boot, so a cgroup's creation time adds nothing; the epoch is
/// the time of the incident's first finding.
pub(super) fn id(boot_id: &str, cgroup: u64, scope: &str, epoch: BootNs) -> String {
    digest(&[boot_id.as_bytes(), &cgroup.to_be_bytes(), scope.as_bytes(), &epoch.to_be_bytes()])
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A number for some texts together: the same on every host, in every version.
pub(super) fn fingerprint(parts: &[&str]) -> u64 {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    let hash = digest(&parts);
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists of parts give the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_depends_on_every_part_and_on_nothing_else() {
        let one = id("boot", 1, "run:7", 5);
        assert_eq!(one, id("boot", 1, "run:7", 5));
        assert_eq!(one.len(), 32);
        for other in [
            id("b", 1, "run:7", 5),
            id("boot", 2, "run:7", 5),
            id("boot", 1, "run:8", 5),
            id("boot", 1, "run:7", 6),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn fingerprint_keeps_parts_apart() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
        assert_eq!(fingerprint(&["a"]), fingerprint(&["a"]));
    }
}
