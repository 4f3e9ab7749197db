//! `sandwatch workers`: the workers on this host, as the agent would find them now.
//!
//! It walks the very way of the agent's start (discovery, selection, scan of /proc) without probes. Roles are those a scan can
//! tell: what a process was before the program it runs now, nobody can know afterwards.

mod probes;
mod text;

use serde::Serialize;

use super::args::{HooksArgs, WorkersArgs};
use super::run::configuration;
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::alert::human::Style;
use crate::delivery::Engine;
use crate::kernel::cgroup2_mount;
use crate::observe::{LogFormat, start_log};
use crate::pipeline::Pipeline;
use crate::process::{Process, ProcessRef};
use crate::run::{Agent, RuleFiles, envelope, sensor_options};
use crate::worker::Worker;

use probes::NoProbes;

/// A worker as it is listed.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    engine: String,
    profile: String,
    cgroup: String,
    unit: Option<String>,
    /// Facts that its profile asks for and the configuration does not state: what goes by them matches nothing.
    facts_not_stated: Vec<String>,
    /// In which ways it is set up that it should not be, the worst first.
    posture: Vec<ListedPosture>,
    /// Who leaves its sandbox has the host.
    reaches_host: bool,
    /// Ids of postures of which it cannot be told.
    posture_not_known: Vec<String>,
    processes: Vec<ListedProcess>,
}

/// A way in which a worker is set up.
#[derive(Debug, Serialize)]
struct ListedPosture {
    id: String,
    what: String,
}

/// A process of a worker, parents before children.
#[derive(Debug, Serialize)]
struct ListedProcess {
    pid: u32,
    depth: usize,
    role: String,
    exe: Option<String>,
    uid: u32,
}

pub(super) fn run(args: &WorkersArgs) -> Result<Exit, CliError> {
    start_log(LogFormat::detect(), "warn");
    let config = configuration(&args.files, &HooksArgs::default())?;
    let from = RulesFrom::choose(&args.files.rules, &config.rules);
    let rules = load_rules(&from)?;
    let labels = sensor_options(&config, &rules)?.sizes.labels;
    let files = RuleFiles::new(Box::new(move || load_rules(&from)), Vec::new());
    let root = cgroup2_mount()?;
    let envelope = envelope(&config, rules.digest(), &root);
    let mut agent =
        Agent::new(NoProbes::new()?, &config, rules, files, Engine::none(envelope), &root, labels)?;
    agent.look_at_setups();
    let listed = list(agent.pipeline());
    if args.json {
        let text = serde_json::to_string_pretty(&listed).map_err(|error| CliError::new(Exit::No, error))?;
        crate::observe::say(&text);
    } else {
        crate::observe::say(&text::page(&listed, &Style::PLAIN));
    }
    Ok(if listed.is_empty() { Exit::No } else { Exit::Ok })
}

fn list(pipeline: &Pipeline) -> Vec<Listed> {
    pipeline
        .workers
        .iter()
        .filter(|worker| worker.gone.is_none())
        .map(|worker| listed(pipeline, worker))
        .collect()
}

fn listed(pipeline: &Pipeline, worker: &Worker) -> Listed {
    let rules = pipeline.rules();
    let mut members: Vec<(ProcessRef, &Process)> =
        pipeline.processes().iter().filter(|(_, p)| p.label == worker.label && p.exited.is_none()).collect();
    members.sort_by_key(|(_, process)| process.key);
    let is_member = |at: ProcessRef| members.iter().any(|(member, _)| *member == at);
    let mut processes = Vec::new();
    let mut stack: Vec<(ProcessRef, usize)> = members
        .iter()
        .rev()
        .filter(|(_, process)| !process.creator.is_some_and(is_member))
        .map(|(at, _)| (*at, 0))
        .collect();
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
        stack.extend(
            members.iter().rev().filter(|(_, p)| p.creator == Some(at)).map(|(child, _)| (*child, depth + 1)),
        );
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
