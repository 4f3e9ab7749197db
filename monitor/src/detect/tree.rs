//! The processes of a worker when an incident begins.

use std::collections::{BTreeMap, BTreeSet};

use super::envelope::WallClock;
use super::scene::Scene;
use crate::alert::{TreeProcess, redact};
use crate::process::{Process, ProcessRef};

/// Most processes in a tree.
const PROCESSES_MAX: usize = 64;
/// Arguments shown of each.
const ARGUMENTS_MAX: usize = 32;

/// The live processes of the scene's worker, parents before children, and how many there is no room for. Those above the
/// acting process come first in line for room, then the youngest.
pub(super) fn of(scene: &Scene<'_>, clock: &WallClock) -> (Vec<TreeProcess>, Option<u64>) {
    let label = scene.event.subject.label;
    let lineage: BTreeSet<ProcessRef> = scene.processes.lineage(scene.at).map(|(at, _)| at).collect();
    let mut members: Vec<(ProcessRef, &Process)> = scene
        .processes
        .iter()
        .filter(|(at, process)| {
            let lives = process.exited.is_none_or(|exited| exited >= scene.event.time);
            process.label == label && (lives || lineage.contains(at))
        })
        .collect();
    let more = members.len().saturating_sub(PROCESSES_MAX);
    members.sort_unstable_by_key(|(at, process)| {
        (!lineage.contains(at), std::cmp::Reverse(process.key.start), *at)
    });
    members.truncate(PROCESSES_MAX);
    members.sort_unstable_by_key(|(at, process)| (process.key, *at));
    (
        in_order(&members).into_iter().map(|process| shown(process, scene, clock)).collect(),
        (more > 0).then_some(more as u64),
    )
}

/// Parents before their children, each child right below its parent.
fn in_order<'a>(members: &[(ProcessRef, &'a Process)]) -> Vec<&'a Process> {
    let is_member: BTreeSet<ProcessRef> = members.iter().map(|(at, _)| *at).collect();
    let mut children: BTreeMap<Option<ProcessRef>, Vec<(ProcessRef, &Process)>> = BTreeMap::new();
    for (at, process) in members.iter().rev() {
        let creator = process.creator.filter(|creator| is_member.contains(creator));
        children.entry(creator).or_default().push((*at, process));
    }
    let mut stack = children.remove(&None).unwrap_or_default();
    let mut ordered = Vec::with_capacity(members.len());
    while let Some((at, process)) = stack.pop() {
        ordered.push(process);
        stack.extend(children.remove(&Some(at)).unwrap_or_default());
    }
    ordered
}

fn shown(process: &Process, scene: &Scene<'_>, clock: &WallClock) -> TreeProcess {
    // What it was at the time: of the acting process the exec that is the finding itself is the newest.
    let image = process
        .images
        .iter()
        .rev()
        .find(|image| image.since <= scene.event.time)
        .or_else(|| process.images.first());
    let program = image.map(|image| &image.program);
    TreeProcess {
        pid: process.key.pid,
        ppid: process.creator_pid,
        exe: program
            .filter(|program| program.exe.is_known() && !program.exe.view.is_empty())
            .map(|program| program.exe.view.to_string()),
        argv: program.filter(|program| program.argv_known).map(|program| {
            let argv: Vec<String> =
                program.argv.iter().take(ARGUMENTS_MAX).map(|argument| argument.to_string()).collect();
            redact::arguments(&argv)
        }),
        role: image.map(|image| scene.rules.role(scene.profile, image.standing.role).name.to_string()),
        uid: Some(process.uid),
        start: Some(clock.format(process.key.start)),
    }
}
