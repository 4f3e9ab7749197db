//! What a recording must not hold: secrets in arguments, paths and captured variables are masked as in alerts.

use std::borrow::Cow;
use std::sync::Arc;

use super::format::{Facts, ProcessFact};
use crate::alert::redact;
use crate::event::{Body, Event, Path, Text};

/// Masks the secrets of an event.
pub(super) fn event(event: &mut Event) {
    match &mut event.body {
        Body::Exec(exec) => {
            arguments(&mut exec.argv);
            variables(&mut exec.env);
            path(&mut exec.exe);
            path(&mut exec.cwd);
            text(&mut exec.filename);
            if let Some(script) = &mut exec.script {
                text(script);
            }
        }
        Body::Open(open) => path(&mut open.path),
        Body::Unix(unix) => path(&mut unix.path),
        Body::Fork(_)
        | Body::Exit { .. }
        | Body::Connect(_)
        | Body::ConnectResult { .. }
        | Body::Socket(_)
        | Body::CgroupMove { .. } => {}
    }
}

/// Masks the secrets of what was read of the host.
pub(super) fn facts(facts: &mut Facts) {
    facts.processes.iter_mut().for_each(process);
}

/// Masks the secrets of a process.
pub(super) fn process(process: &mut ProcessFact) {
    if let Some(program) = &mut process.program {
        if let Some(argv) = &mut program.argv {
            arguments(argv);
        }
        path(&mut program.exe);
        path(&mut program.cwd);
    }
    if let Some(env) = &mut process.env {
        variables(env);
    }
    if let Some(setup) = &mut process.setup {
        if let Some(environment) = &mut setup.environment {
            variables(&mut environment.settings);
        }
        for mount in setup.mounts.iter_mut().flat_map(|mounts| &mut mounts.all) {
            arc(&mut mount.point);
            mount.host.iter_mut().for_each(arc);
        }
    }
}

fn arguments(argv: &mut [Arc<str>]) {
    let plain: Vec<String> = argv.iter().map(|argument| argument.to_string()).collect();
    for (argument, masked) in argv.iter_mut().zip(redact::arguments(&plain)) {
        if **argument != *masked {
            *argument = masked.into();
        }
    }
}

fn variables(env: &mut [(Arc<str>, Arc<str>)]) {
    for (name, value) in env {
        // By name and value together: `TOKEN=abc` goes where `abc` alone would stay.
        let whole = format!("{name}={value}");
        let masked = match redact::text(&whole) {
            Cow::Borrowed(_) => continue,
            Cow::Owned(masked) => masked,
        };
        *value = masked.split_once('=').map_or(redact::MASK, |(_, value)| value).into();
    }
}

fn path(path: &mut Path) {
    arc(&mut path.view);
    if let Some(full) = &mut path.full {
        arc(full);
    }
}

fn text(text: &mut Text) {
    arc(&mut text.text);
}

fn arc(text: &mut Arc<str>) {
    if let Cow::Owned(masked) = redact::text(text) {
        *text = masked.into();
    }
}
