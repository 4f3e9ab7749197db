//! Running one test: a small process table of its own, and each step's finding against what it must be.

use std::collections::HashMap;
use std::sync::Arc;

use super::doc::{RuleTestDoc, Step, TestDoc};
use super::event::{event_of, target_of};
use crate::event::{Body, Event};
use crate::profile::actor::{Actor, Image, ProfileId, RoleContext, RoleId, RoleKind, Trust};
use crate::profile::doc::{At, Span};
use crate::profile::error::{RuleError, suggest};
use crate::profile::finding::{Certainty, Finding, Tier};
use crate::profile::ruleset::RuleSet;

const SECOND: u64 = 1_000_000_000;
/// Boot time at which a test begins.
const BEGIN: u64 = 86_400 * SECOND;

#[derive(Clone)]
struct Process {
    pid: u32,
    role: Option<RoleId>,
    since: u64,
    below_author: bool,
    exe: Option<String>,
    given: Option<String>,
    argv: Vec<Arc<str>>,
    trust: Trust,
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
    let profile = match test.value.profile.as_ref().or(doc.profile.as_ref()) {
        None => ProfileId::GENERIC,
        Some(name) => rules.profile(&name.value).ok_or_else(|| {
            let known = rules.profiles().map(|p| rules.profile_name(p));
            at(
                name.line,
                name.column,
                format!("there is no profile `{}`", name.value),
                suggest(&name.value, known),
            )
        })?,
    };
    let uid = test.value.uid.unwrap_or(1000);
    let mut now = BEGIN;
    let mut processes: HashMap<String, Process> = HashMap::new();
    let mut failures = Vec::new();
    for step in &test.value.steps {
        let Step { process, role, since, program, after, .. } = &step.value;
        let name = process.as_deref().unwrap_or("main");
        now += after.map_or(SECOND, nanos);
        if !processes.contains_key(name) {
            if !processes.is_empty() && role.is_none() {
                let known = processes.keys().map(String::as_str);
                return Err(at(
                    step.line,
                    step.column,
                    format!("there is no process `{name}` yet"),
                    format!("fork it first, or give its `role`; {}", suggest(name, known)),
                ));
            }
            let pid = 100 + u32::try_from(processes.len()).unwrap_or_default();
            processes.insert(
                name.to_owned(),
                Process {
                    pid,
                    role: Some(RoleId::ENTRY),
                    since: now,
                    below_author: false,
                    exe: None,
                    given: None,
                    argv: Vec::new(),
                    trust: Trust::Trusted,
                },
            );
        }
        let Some(actor) = processes.get_mut(name) else { continue };
        if let Some(role) = role {
            set_role(rules, profile, actor, &role.value)
                .map_err(|(what, fix)| at(role.line, role.column, what, fix))?;
            actor.since = now.saturating_sub(since.map_or(3600 * SECOND, nanos));
        }
        if let Some(program) = program {
            actor.exe = Some(program.clone());
            actor.given = Some(program.clone());
        }
        let event = event_of(&step.value, now, actor.pid, uid)
            .map_err(|bad| at(step.line, step.column, bad.0, bad.1.to_owned()))?;
        let Some(event) = event else {
            if let Some(fork) = &step.value.fork {
                let mut child = actor.clone();
                child.pid = 100 + u32::try_from(processes.len()).unwrap_or_default();
                if let Some(role) = child.role.and_then(|r| rules.role_of_fork(profile, r)) {
                    child.role = Some(role);
                    child.since = now;
                    child.below_author |= rules.role(profile, role).kind == RoleKind::Author;
                }
                processes.insert(fork.child.clone(), child);
            }
            continue;
        };
        let finding = judge(rules, profile, actor, &event, &step.value);
        check(step, finding.as_ref(), &mut failures);
        if let Body::Exec(exec) = &event.body {
            let image = Image::of_exec(exec, event.subject.uid);
            take_role(rules, profile, actor, &image, now);
            actor.exe = image.exe.map(ToOwned::to_owned);
            actor.given = image.given.map(ToOwned::to_owned);
            actor.argv = image.argv.to_vec();
            actor.trust = image.trust;
            if let Some(wanted) = &step.value.becomes {
                let got = actor.role.map_or_else(|| "unknown".into(), |r| rules.role(profile, r).name);
                if *wanted != *got {
                    failures.push(format!("line {}: becomes `{got}`, must become `{wanted}`", step.line));
                }
            }
        }
    }
    Ok(failures)
}

fn nanos(span: Span) -> u64 {
    u64::try_from(span.0.as_nanos()).unwrap_or(u64::MAX / 2)
}

fn set_role(
    rules: &RuleSet,
    profile: ProfileId,
    process: &mut Process,
    name: &str,
) -> Result<(), (String, String)> {
    if name == "unknown" {
        process.role = None;
        return Ok(());
    }
    let Some(role) = rules.role_by_name(profile, name) else {
        return Err((
            format!("profile `{}` has no role `{name}`", rules.profile_name(profile)),
            suggest(name, rules.spec(profile).roles.iter().map(|r| &*r.name)),
        ));
    };
    let kind = rules.role(profile, role).kind;
    process.role = Some(role);
    process.below_author = matches!(kind, RoleKind::Author | RoleKind::Descendant | RoleKind::Stray);
    Ok(())
}

fn take_role(rules: &RuleSet, profile: ProfileId, process: &mut Process, image: &Image<'_>, now: u64) {
    let Some(role) = process.role else { return };
    let context =
        RoleContext { profile, role, role_since: process.since, below_author: process.below_author, now };
    let taken = rules.role_of_exec(&context, image);
    if taken.changed {
        process.since = now;
    }
    process.role = Some(taken.role);
    process.below_author = taken.below_author;
}

fn judge(
    rules: &RuleSet,
    profile: ProfileId,
    process: &Process,
    event: &Event,
    step: &Step,
) -> Option<Finding> {
    let image = Image {
        exe: process.exe.as_deref(),
        given: process.given.as_deref(),
        argv: &process.argv,
        argv_truncated: false,
        cwd: None,
        trust: process.trust,
    };
    let actor = Actor {
        profile,
        role: process.role,
        role_since: process.since,
        below_author: process.below_author,
        image: process.exe.is_some().then_some(image),
        proc_target: step.open.as_ref().and_then(target_of),
        known_identity: step.open.as_ref().and_then(|o| o.known_as.as_deref()),
        reached: step.reached,
    };
    rules.judge(&actor, event)
}

/// One step's finding against what it must be.
fn check(step: &At<Step>, finding: Option<&Finding>, failures: &mut Vec<String>) {
    let want = &step.value;
    let mut fail = |what: String| failures.push(format!("line {}: {what}", step.line));
    let ids: Vec<&str> =
        finding.into_iter().flat_map(|f| [&*f.id].into_iter().chain(f.also.iter().map(|a| &*a.id))).collect();
    let got = || match finding {
        None => "no finding".to_owned(),
        Some(f) => format!("{} ({}, {}: {})", ids.join(", "), f.tier, f.certainty, f.title),
    };
    for id in want.finds.iter().filter(|id| !ids.contains(&id.as_str())) {
        fail(format!("must find `{id}`, got {}", got()));
    }
    for id in want.not.iter().filter(|id| ids.contains(&id.as_str())) {
        fail(format!("must not find `{id}`, got {}", got()));
    }
    let asks =
        !want.finds.is_empty() || want.tier.is_some() || want.identity.is_some() || want.taken == Some(true);
    if !asks && want.below.is_none() && want.not.is_empty() && finding.is_some() {
        fail(format!("must give no finding, got {}", got()));
    }
    let tier: Option<Tier> = finding.map(|f| f.tier);
    if let Some(limit) = want.below
        && tier.is_some_and(|t| t >= limit)
    {
        fail(format!("must be below {limit}, got {}", got()));
    }
    if let Some(wanted) = want.tier
        && tier != Some(wanted)
    {
        fail(format!("must be of tier {wanted}, got {}", got()));
    }
    let identity = finding.and_then(|f| f.identity.as_ref()).map(|i| &*i.id);
    if want.identity.is_some() && want.identity.as_deref() != identity {
        fail(format!(
            "must touch identity `{}`, got {identity:?}",
            want.identity.as_deref().unwrap_or_default()
        ));
    }
    let endpoint = finding.and_then(|f| f.endpoint.as_ref()).map(|e| &*e.id);
    if want.endpoint.is_some() && want.endpoint.as_deref() != endpoint {
        fail(format!(
            "must contact endpoint `{}`, got {endpoint:?}",
            want.endpoint.as_deref().unwrap_or_default()
        ));
    }
    if let Some(taken) = want.taken
        && finding.is_some_and(|f| f.taken) != taken
    {
        fail(format!("must {}be taken, got {}", if taken { "" } else { "not " }, got()));
    }
    if let Some(field) = &want.unknown {
        let named = finding.is_some_and(|f| match &f.certainty {
            Certainty::Known => false,
            Certainty::Unknown(fields) => fields.contains(&field.as_str()),
        });
        if !named {
            fail(format!("the certainty must name `{field}`, got {}", got()));
        }
    }
}
