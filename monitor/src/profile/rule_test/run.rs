//! Running one test: a small process table of its own, and each step's finding against what it must be.

use std::collections::HashMap;
use std::sync::Arc;

use super::check::check;
use super::doc::{RuleTestDoc, Step, TestDoc};
use super::event::{event_of, target_of};
use crate::event::{Body, Event, Exec};
use crate::profile::Verdict;
use crate::profile::actor::{
    Actor, Image, Pin, ProfileId, RoleContext, RoleId, RoleKind, Trust, WorkerNames,
};
use crate::profile::doc::{At, MountName, Span};
use crate::profile::error::{RuleError, suggest};
use crate::profile::facts::Facts;
use crate::profile::ruleset::RuleSet;

const SECOND: u64 = 1_000_000_000;
/// Boot time at which a test begins.
const BEGIN: u64 = 86_400 * SECOND;
/// The day it is if a test does not say.
const DAY: &str = "2026-01-01";

#[derive(Clone)]
struct Process {
    pid: u32,
    role: Option<RoleId>,
    since: u64,
    below_author: bool,
    /// It was forked and has done nothing yet.
    fresh: bool,
    exe: Option<String>,
    given: Option<String>,
    argv: Vec<Arc<str>>,
    cwd: Option<String>,
    trust: Trust,
    loader_env: Option<bool>,
    /// Where its run began.
    run_dir: Option<String>,
}

/// What a test says of its worker.
struct World<'a> {
    rules: &'a RuleSet,
    profile: ProfileId,
    facts: Facts,
    probes: &'a [Vec<String>],
    worker: &'a str,
    wall: u64,
    /// By path: the state of the file when it was first executed.
    pins: HashMap<String, u64>,
}

/// Runs a test; what is not as it must be comes back in words.
pub(super) fn run(
    rules: &RuleSet,
    file: &Arc<str>,
    doc: &RuleTestDoc,
    test: &At<TestDoc>,
) -> Result<Vec<String>, RuleError> {
    let at =
        |line, column, what: String, fix: String| RuleError { file: file.clone(), line, column, what, fix };
    let mut world = world(rules, doc, test).map_err(|bad| at(bad.0, bad.1, bad.2, bad.3))?;
    let uid = test.value.uid.unwrap_or(1000);
    let mut now = BEGIN;
    let mut processes: HashMap<String, Process> = HashMap::new();
    let mut failures = Vec::new();
    for step in &test.value.steps {
        let here = |what: String, fix: String| at(step.line, step.column, what, fix);
        let name = step.value.process.as_deref().unwrap_or("main");
        now += step.value.after.map_or(SECOND, nanos);
        enter(&mut processes, name, &step.value, now).map_err(|(what, fix)| here(what, fix))?;
        let pid = 100 + u32::try_from(processes.len()).unwrap_or_default();
        let Some(actor) = processes.get_mut(name) else { continue };
        if let Some(role) = &step.value.role {
            set_role(&world, actor, &role.value)
                .map_err(|(what, fix)| at(role.line, role.column, what, fix))?;
            actor.since = now.saturating_sub(step.value.since.map_or(3600 * SECOND, nanos));
        }
        if let Some(program) = &step.value.program {
            actor.exe = Some(program.clone());
            actor.given = Some(program.clone());
        }
        let event =
            event_of(&step.value, now, actor.pid, uid).map_err(|bad| here(bad.0, bad.1.to_owned()))?;
        let Some(event) = event else {
            settle(&world, actor, now);
            if let Some(fork) = &step.value.fork {
                let child = Process { pid, fresh: true, ..actor.clone() };
                processes.insert(fork.child.clone(), child);
            }
            continue;
        };
        if let Body::Exec(exec) = &event.body {
            let verdict = executed(&mut world, actor, &event, exec, &step.value);
            check(step, &verdict, &mut failures);
            if let Some(wanted) = &step.value.becomes {
                let got = actor.role.map_or_else(|| "unknown".into(), |r| rules.role(world.profile, r).name);
                if *wanted != *got {
                    failures.push(format!("line {}: becomes `{got}`, must become `{wanted}`", step.line));
                }
            }
        } else {
            settle(&world, actor, now);
            let verdict = judge(&world, actor, &event, &step.value, None);
            check(step, &verdict, &mut failures);
        }
    }
    Ok(failures)
}

type Bad = (u32, u32, String, String);

fn world<'a>(rules: &'a RuleSet, doc: &RuleTestDoc, test: &'a At<TestDoc>) -> Result<World<'a>, Bad> {
    let profile = match test.value.profile.as_ref().or(doc.profile.as_ref()) {
        None => ProfileId::GENERIC,
        Some(name) => rules.profile(&name.value).ok_or_else(|| {
            let known = rules.profiles().map(|p| rules.profile_name(p));
            let fix = suggest(&name.value, known);
            (name.line, name.column, format!("there is no profile `{}`", name.value), fix)
        })?,
    };
    let stated = test.value.facts.iter().map(|(name, values)| (name, values.iter()));
    let facts = Facts::new(stated).map_err(|e| (test.line, test.column, e.to_string(), String::new()))?;
    let (day, place) = match &test.value.date {
        Some(day) => (day.value.as_str(), (day.line, day.column)),
        None => (DAY, (test.line, test.column)),
    };
    let wall = day
        .parse::<jiff::civil::Date>()
        .and_then(|date| date.to_zoned_datetime(jiff::tz::TimeZone::UTC))
        .ok()
        .and_then(|begin| u64::try_from(begin.timestamp().as_second()).ok())
        .ok_or_else(|| {
            let fix = "write it as in 2027-03-31".to_owned();
            (place.0, place.1, format!("`{day}` is not a day"), fix)
        })?;
    Ok(World {
        rules,
        profile,
        facts,
        probes: &test.value.probes,
        worker: test.value.worker.as_deref().unwrap_or("test"),
        wall,
        pins: HashMap::new(),
    })
}

/// Makes the step's process, if it is the first, comes from outside, or is put into a role.
fn enter(
    processes: &mut HashMap<String, Process>,
    name: &str,
    step: &Step,
    now: u64,
) -> Result<(), (String, String)> {
    if processes.contains_key(name) {
        if step.enters {
            return Err((
                format!("process `{name}` is inside already"),
                "give the one that enters another name".into(),
            ));
        }
        return Ok(());
    }
    if !processes.is_empty() && step.role.is_none() && !step.enters {
        let known = processes.keys().map(String::as_str);
        return Err((
            format!("there is no process `{name}` yet"),
            format!("fork it first, let it enter, or give its `role`; {}", suggest(name, known)),
        ));
    }
    if step.enters && step.exec.is_none() {
        return Err(("what enters executes something".into(), "add `exec`".into()));
    }
    let pid = 100 + u32::try_from(processes.len()).unwrap_or_default();
    processes.insert(
        name.to_owned(),
        Process {
            pid,
            role: Some(if step.enters { RoleId::OPERATOR } else { RoleId::ENTRY }),
            since: now,
            below_author: false,
            fresh: false,
            exe: None,
            given: None,
            argv: Vec::new(),
            cwd: None,
            trust: Trust::Trusted,
            loader_env: Some(false),
            run_dir: None,
        },
    );
    Ok(())
}

fn nanos(span: Span) -> u64 {
    u64::try_from(span.0.as_nanos()).unwrap_or(u64::MAX / 2)
}

fn set_role(world: &World<'_>, process: &mut Process, name: &str) -> Result<(), (String, String)> {
    process.fresh = false;
    if name == "unknown" {
        process.role = None;
        return Ok(());
    }
    let rules = world.rules;
    let Some(role) = rules.role_by_name(world.profile, name) else {
        return Err((
            format!("profile `{}` has no role `{name}`", rules.profile_name(world.profile)),
            suggest(name, rules.spec(world.profile).roles.iter().map(|r| &*r.name)),
        ));
    };
    let kind = rules.role(world.profile, role).kind;
    process.role = Some(role);
    process.below_author = matches!(kind, RoleKind::Author | RoleKind::Descendant | RoleKind::Stray);
    Ok(())
}

/// A process that was forked and executes nothing takes the role that its creator's role gives to such forks.
fn settle(world: &World<'_>, process: &mut Process, now: u64) {
    if !std::mem::take(&mut process.fresh) {
        return;
    }
    let taken = process.role.and_then(|role| world.rules.role_of_fork(world.profile, role));
    if let Some(role) = taken {
        process.role = Some(role);
        process.since = now;
        if world.rules.role(world.profile, role).kind == RoleKind::Author && !process.below_author {
            process.below_author = true;
            process.run_dir = process.cwd.clone();
        }
    }
}

/// Judges an exec, and puts the process where it leads to.
fn executed<'a>(
    world: &mut World<'a>,
    process: &mut Process,
    event: &Event,
    exec: &Exec,
    step: &Step,
) -> Verdict<'a> {
    process.fresh = false;
    let mut image = Image::of_exec(exec, event.subject.uid);
    let nameless = matches!(image.trust, Trust::Untrusted("memfd" | "deleted"));
    if !nameless
        && world.rules.pins(world.profile, &image)
        && let Some(exe) = image.exe
    {
        let first = *world.pins.entry(exe.to_owned()).or_insert(exec.exe_size);
        image.pin = if first == exec.exe_size { Pin::Holds } else { Pin::Changed };
    }
    let verdict;
    if step.enters {
        take_role(world, process, &image, event.time, true);
        verdict = judge(world, process, event, step, Some(image.pin));
    } else {
        verdict = judge(world, process, event, step, Some(image.pin));
        take_role(world, process, &image, event.time, false);
    }
    process.exe = image.exe.map(ToOwned::to_owned);
    process.given = image.given.map(ToOwned::to_owned);
    process.argv = image.argv.to_vec();
    process.trust = image.trust;
    process.loader_env = Some(exec.loader_env);
    verdict
}

fn take_role(world: &World<'_>, process: &mut Process, image: &Image<'_>, now: u64, entering: bool) {
    let Some(role) = process.role else { return };
    process.cwd = image.cwd.map(ToOwned::to_owned);
    let context = RoleContext {
        profile: world.profile,
        role,
        role_since: process.since,
        below_author: process.below_author,
        entering,
        facts: &world.facts,
        probes: world.probes,
        now,
    };
    let taken = world.rules.role_of_exec(&context, image);
    if taken.changed {
        process.since = now;
    }
    process.role = Some(taken.role);
    process.below_author = taken.below_author;
    if taken.author_root || !taken.below_author {
        process.run_dir = process.cwd.clone();
    }
}

fn judge<'a>(
    world: &World<'a>,
    process: &Process,
    event: &Event,
    step: &Step,
    executed: Option<Pin>,
) -> Verdict<'a> {
    let image = Image {
        exe: process.exe.as_deref(),
        given: process.given.as_deref(),
        argv: &process.argv,
        argv_truncated: false,
        cwd: process.cwd.as_deref(),
        trust: process.trust,
        pin: Pin::None,
    };
    let open = step.open.as_ref();
    let actor = Actor {
        role: process.role,
        role_since: process.since,
        below_author: process.below_author,
        image: process.exe.is_some().then_some(image),
        proc_target: open.and_then(target_of),
        known_identity: open.and_then(|o| o.known_as.as_deref()),
        run_dir: process.run_dir.as_deref(),
        nested_mount: open.is_some_and(|o| o.mount == Some(MountName::Nested)),
        entering: step.enters,
        pin: executed.unwrap_or_default(),
        loader_before: process.loader_env,
        facts: &world.facts,
        worker: Some(WorkerNames { name: world.worker, cgroup: "/test" }),
        wall: Some(world.wall),
        reached: step.reached,
        ..Actor::unknown(world.profile)
    };
    world.rules.verdict(&actor, event)
}
