//! The workers as they are listed.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::pipeline::Pipeline;
use crate::process::{Process, ProcessRef};
use crate::worker::Worker;

/// A worker as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Name on alerts.
    pub name: String,
    /// Engine.
    pub engine: String,
    /// Profile.
    pub profile: String,
    /// Cgroup path.
    pub cgroup: String,
    /// systemd unit.
    pub unit: Option<String>,
    /// Facts that its profile asks for and the configuration does not state: what goes by them matches nothing.
    pub facts_not_stated: Vec<String>,
    /// In which ways it is set up that it should not be, the worst first.
    #[serde(default)]
    pub posture: Vec<ListedPosture>,
    /// Who leaves its sandbox has the host.
    #[serde(default)]
    pub reaches_host: bool,
    /// Ids of postures of which it cannot be told.
    #[serde(default)]
    pub posture_not_known: Vec<String>,
    /// Its processes, parents before children.
    pub processes: Vec<ListedProcess>,
}

/// A way in which a worker is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPosture {
    /// Its id.
    pub id: String,
    /// What it means.
    pub what: String,
}

/// A process of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedProcess {
    /// Process id.
    pub pid: u32,
    /// How deep in the tree.
    pub depth: usize,
    /// Role.
    pub role: String,
    /// Executable, if known.
    pub exe: Option<String>,
    /// User.
    pub uid: u32,
}

/// The workers that are there. One walk over the processes, however many: the agent's own thread is asked for this.
pub fn list(pipeline: &Pipeline) -> Vec<Listed> {
    let mut members: HashMap<u32, Vec<(ProcessRef, &Process)>> = HashMap::new();
    for (at, process) in pipeline.processes().iter().filter(|(_, process)| process.exited.is_none()) {
        members.entry(process.label).or_default().push((at, process));
    }
    pipeline
        .workers
        .iter()
        .filter(|worker| worker.gone.is_none())
        .map(|worker| listed(pipeline, worker, members.remove(&worker.label).unwrap_or_default()))
        .collect()
}

fn listed(pipeline: &Pipeline, worker: &Worker, mut members: Vec<(ProcessRef, &Process)>) -> Listed {
    let rules = pipeline.rules();
    // The stack gives the last first.
    members.sort_by_key(|(_, process)| std::cmp::Reverse(process.key));
    let known: HashSet<ProcessRef> = members.iter().map(|(at, _)| *at).collect();
    let mut children: HashMap<Option<ProcessRef>, Vec<ProcessRef>> = HashMap::new();
    for (at, process) in &members {
        let parent = process.creator.filter(|creator| known.contains(creator));
        children.entry(parent).or_default().push(*at);
    }
    let below = |children: &mut HashMap<_, Vec<_>>, at| children.remove(&at).unwrap_or_default();
    let mut stack: Vec<(ProcessRef, usize)> =
        below(&mut children, None).into_iter().map(|at| (at, 0)).collect();
    let mut processes = Vec::new();
    while let Some((at, depth)) = stack.pop() {
        let Some(process) = pipeline.processes().get(at) else { continue };
        let role =
            process.image().map(|image| rules.role(worker.profile, image.standing.role).name.to_string());
        processes.push(ListedProcess {
            pid: process.key.pid,
            depth,
            role: role.unwrap_or_else(|| "unknown".into()),
            exe: process.image().and_then(|image| image.program.as_image().exe.map(str::to_owned)),
            uid: process.uid,
        });
        stack.extend(below(&mut children, Some(at)).into_iter().map(|child| (child, depth + 1)));
    }
    let posture = pipeline.posture(worker.label);
    Listed {
        name: worker.name.to_string(),
        engine: rules.engine(worker.profile).to_owned(),
        profile: rules.profile_name(worker.profile).to_owned(),
        cgroup: worker.path.to_string(),
        unit: worker.unit.as_deref().map(str::to_owned),
        facts_not_stated: rules
            .facts(worker.profile)
            .map(|(name, _)| name)
            .filter(|name| !worker.assignment.facts.states(name))
            .map(str::to_owned)
            .collect(),
        posture: posture.map_or_else(Vec::new, |posture| {
            let all = posture.ids().into_iter().zip(posture.lines());
            all.map(|(id, what)| ListedPosture { id: id.to_owned(), what }).collect()
        }),
        reaches_host: worker.reaches_host,
        posture_not_known: posture.map(|posture| posture.unknown().to_vec()).unwrap_or_default(),
        processes,
    }
}
