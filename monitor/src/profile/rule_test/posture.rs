//! Tests of how workers are set up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::doc::{MountStep, PostureTestDoc, RuleTestDoc, SetupStep};
use crate::profile::doc::At;
use crate::profile::error::{RuleError, suggest};
use crate::profile::ruleset::RuleSet;
use crate::profile::setup::{self, Capabilities, Environment, Mounted, Mounts, NamespaceName, Setup};
use crate::profile::{ProfileId, SetUp};
use crate::worker::is_credential_name;

/// What a test may say could not be read.
const UNREADABLE: [&str; 7] = ["shares", "capabilities", "uid", "seccomp", "mounts", "block_devices", "env"];

/// Runs a test; what is not as it must be comes back in words.
pub(super) fn run(
    rules: &RuleSet,
    file: &Arc<str>,
    doc: &RuleTestDoc,
    test: &At<PostureTestDoc>,
) -> Result<Vec<String>, RuleError> {
    let at =
        |line, column, what: String, fix: String| RuleError { file: file.clone(), line, column, what, fix };
    let here = |(what, fix): (String, String)| at(test.line, test.column, what, fix);
    let named = test.value.profile.as_ref().or(doc.profile.as_ref());
    let profile = match named {
        None => ProfileId::GENERIC,
        Some(name) => rules.profile(&name.value).ok_or_else(|| {
            let known = rules.profiles().map(|id| rules.profile_name(id));
            let what = format!("there is no profile `{}`", name.value);
            at(name.line, name.column, what, suggest(&name.value, known))
        })?,
    };
    let setup = setup_of(rules, &test.value.worker).map_err(here)?;
    let argv: Vec<Vec<Arc<str>>> =
        test.value.worker.argv.iter().map(|argv| argv.iter().map(|a| a.as_str().into()).collect()).collect();
    let arguments: Vec<&[Arc<str>]> = argv.iter().map(Vec::as_slice).collect();
    let verdict = rules.postures(profile, &SetUp { setup: &setup, arguments: &arguments });
    let found: Vec<&str> = verdict.findings.iter().map(|finding| &*finding.id).collect();
    let unknown: Vec<&str> = verdict.unknown.iter().map(|id| &**id).collect();
    let mut failures = Vec::new();
    compare("found", &found, &test.value.finds.0, &mut failures);
    compare("not known", &unknown, &test.value.unknown.0, &mut failures);
    let reaches = verdict.findings.iter().any(|finding| finding.reaches_host);
    if test.value.reaches_host.is_some_and(|asked| asked != reaches) {
        failures.push(format!("it {} the host", if reaches { "reaches" } else { "does not reach" }));
    }
    Ok(failures)
}

fn compare(what: &str, have: &[&str], want: &[String], failures: &mut Vec<String>) {
    let missing = want.iter().filter(|id| !have.contains(&id.as_str()));
    failures.extend(missing.map(|id| format!("`{id}` is not {what}")));
    let more = have.iter().filter(|id| want.iter().all(|want| want != **id));
    failures.extend(more.map(|id| format!("`{id}` is {what} too")));
}

type Wrong = (String, String);

fn setup_of(rules: &RuleSet, step: &SetupStep) -> Result<Setup, Wrong> {
    let mut bits = 0;
    for name in step.capabilities.iter() {
        bits |= setup::bit(name).ok_or_else(|| {
            (format!("there is no capability `{name}`"), suggest(name, setup::CAPABILITIES))
        })?;
    }
    let all = (1 << setup::CAPABILITIES.len()) - 1;
    let bounding = if step.privileged { all } else { bits };
    let kinds = [
        NamespaceName::Pid,
        NamespaceName::Net,
        NamespaceName::Ipc,
        NamespaceName::Uts,
        NamespaceName::User,
        NamespaceName::Mnt,
    ];
    let shared = |kind| match kind {
        NamespaceName::User => !step.own_users,
        kind => step.shares.0.contains(&kind),
    };
    let root = Mounted {
        point: "/".into(),
        host: Some("/var/lib/docker/overlay2/x/merged".into()),
        kind: "overlay".into(),
        writable: step.root_writable,
    };
    let mut setup = Setup {
        container: Some(step.container.unwrap_or(true)),
        shares: kinds.into_iter().map(|kind| (kind, shared(kind))).collect(),
        uid: Some(step.uid.unwrap_or(1000)),
        capabilities: Some(Capabilities {
            held: 0,
            bounding,
            no_new_privileges: step.no_new_privileges,
            host: all,
        }),
        seccomp: Some(step.seccomp.unwrap_or(true)),
        mounts: Some(Mounts {
            all: std::iter::once(root).chain(step.mounts.iter().map(mounted)).collect(),
            ..Mounts::default()
        }),
        block_devices: Some(step.block_devices.iter().map(|name| name.as_str().into()).collect()),
        environment: Some(environment(rules, step)),
    };
    for part in step.unreadable.iter() {
        match part.as_str() {
            "shares" => setup.shares = BTreeMap::new(),
            "capabilities" => setup.capabilities = None,
            "uid" => setup.uid = None,
            "seccomp" => setup.seccomp = None,
            "mounts" => (setup.mounts, setup.container) = (None, step.container),
            "block_devices" => setup.block_devices = None,
            "env" => setup.environment = None,
            _ => return Err((format!("`{part}` is no part of a set-up"), suggest(part, UNREADABLE))),
        }
    }
    Ok(setup)
}

fn mounted(step: &MountStep) -> Mounted {
    Mounted {
        point: step.point.as_str().into(),
        host: step.host.as_deref().map(Into::into),
        kind: step.kind.as_deref().unwrap_or("ext4").into(),
        writable: !step.read_only,
    }
}

fn environment(rules: &RuleSet, step: &SetupStep) -> Environment {
    let (settings, others): (Vec<_>, Vec<_>) =
        step.env.iter().partition(|(name, _)| rules.asks_for_setting(name));
    let credentials = others.iter().map(|(name, _)| name).filter(|name| is_credential_name(name));
    Environment {
        credentials: credentials.map(|name| name.as_str().into()).collect(),
        settings: settings
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
        cut: false,
    }
}
