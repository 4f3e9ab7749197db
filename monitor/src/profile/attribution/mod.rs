//! Attribution items: where a profile finds the ids of a run, and how far each place can be relied on.
//!
//! An item looks at one place (a variable, the arguments, a path) and fills one field, or several where its pattern has
//! several `{field}`s. `capture` matches the patterns. Which process's place counts, and that author code cannot change what
//! was taken, is `crate::pipeline`'s.

mod capture;

use std::sync::Arc;

pub(crate) use capture::{ArgvCapture, PathCapture};

use super::actor::{Image, RoleId};
use super::finding::RuleRef;
use super::pattern::{Script, absolute, script_of};

/// Longest value that is taken, bytes.
const VALUE_MAX: usize = 256;

/// A field of the attribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The workflow.
    Workflow,
    /// Its run.
    Run,
    /// The step of the run.
    Step,
    /// Who started it.
    Actor,
    /// For whom.
    Tenant,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 5] = [Self::Workflow, Self::Run, Self::Step, Self::Actor, Self::Tenant];

    /// The name in profiles and alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Run => "run",
            Self::Step => "step",
            Self::Actor => "actor",
            Self::Tenant => "tenant",
        }
    }
}

/// How far a value can be relied on, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdTrust {
    /// One of several that cannot be told apart, or read where a second value may have been missed.
    Candidate,
    /// Read from /proc after the fact, where the process itself may have written.
    Scan,
    /// The author of the workflow can set it.
    Author,
    /// Set by the orchestrator.
    Controller,
    /// Set by the engine before author code ran.
    Engine,
}

impl IdTrust {
    /// Every value.
    pub const ALL: [Self; 5] = [Self::Engine, Self::Controller, Self::Author, Self::Candidate, Self::Scan];

    /// The name in profiles and alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Scan => "scan",
            Self::Author => "author",
            Self::Controller => "controller",
            Self::Engine => "engine",
        }
    }

    /// Whether author code has no say in it.
    pub const fn is_firm(self) -> bool {
        matches!(self, Self::Controller | Self::Engine)
    }
}

/// Where an item looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdSource {
    /// At an environment variable, as the exec laid it down.
    Env(Arc<str>),
    /// At the argument after this flag, or behind its `=`.
    Flag(Arc<str>),
    /// At the arguments as a whole.
    Argv(ArgvCapture),
    /// At the working directory.
    Cwd(PathCapture),
    /// At the path of the script.
    Script(PathCapture),
    /// At the paths a process opens.
    Open(PathCapture),
    /// At a label of the pod.
    Label(Arc<str>),
    /// At an annotation of the pod.
    Annotation(Arc<str>),
    /// At the name of what owns the pod, if it is of this kind.
    Owner(Arc<str>),
    /// At what the engine's event log, the first of these that is there, says is running.
    EventLog(Box<[Arc<str>]>),
}

/// Whose exec or open an item looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdAt {
    /// The author root's.
    Author,
    /// That of processes of this role.
    Role(RoleId),
    /// That of any process on the engine's side.
    EngineSide,
}

/// One item of a profile's attribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// The field it fills.
    pub field: Field,
    /// Where it looks.
    pub source: IdSource,
    /// Whose.
    pub at: IdAt,
    /// How far what it finds can be relied on.
    pub trust: IdTrust,
    /// Where it stands.
    pub rule: RuleRef,
}

/// A value that an item found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The field.
    pub field: Field,
    /// The value.
    pub value: Arc<str>,
    /// A second, different value was in the same place, or more of the place may be missing.
    pub doubtful: bool,
}

impl IdSource {
    /// Whether a place ([`Attribution::place`]) is one of the pod's, which is no process's to say.
    pub fn is_of_pod(place: &str) -> bool {
        ["label ", "annotation ", "owner "].iter().any(|kind| place.starts_with(kind))
    }
}

impl Attribution {
    /// What the item finds in an environment.
    pub fn in_env(&self, env: &[(Arc<str>, Arc<str>)]) -> Option<Found> {
        let IdSource::Env(name) = &self.source else { return None };
        let mut values = env.iter().filter(|(n, _)| n == name).map(|(_, value)| value);
        let value = values.next()?;
        let doubtful = values.any(|other| other != value);
        usable(value).then(|| Found { field: self.field, value: value.clone(), doubtful })
    }

    /// What the item finds in the arguments, working directory and script of a program.
    pub fn in_image(&self, image: &Image<'_>, interpreted: Option<&str>) -> Vec<Found> {
        let cut = image.argv_truncated;
        match &self.source {
            IdSource::Flag(flag) => flag_value(flag, image.argv)
                .filter(|(value, _)| usable(value))
                .map(|(value, again)| Found {
                    field: self.field,
                    value: value.into(),
                    doubtful: again || cut,
                })
                .into_iter()
                .collect(),
            IdSource::Argv(pattern) => all(pattern.captures(image.argv), cut),
            IdSource::Cwd(pattern) => {
                all(image.cwd.map(|cwd| pattern.captures(cwd)).unwrap_or_default(), false)
            }
            IdSource::Script(pattern) => {
                let named = match script_of(image) {
                    Script::File { path, .. } => Some(path),
                    Script::None | Script::Module(_) => None,
                };
                let script = interpreted.or(named).and_then(|script| absolute(script, image.cwd));
                let Some(script) = script else { return Vec::new() };
                all(pattern.captures(&script), false)
            }
            IdSource::Env(_)
            | IdSource::Open(_)
            | IdSource::Label(_)
            | IdSource::Annotation(_)
            | IdSource::Owner(_)
            | IdSource::EventLog(_) => Vec::new(),
        }
    }

    /// What the item finds in the path of an open.
    pub fn in_open(&self, path: &str) -> Vec<Found> {
        let IdSource::Open(pattern) = &self.source else { return Vec::new() };
        all(pattern.captures(path), false)
    }

    /// The place in words, as alerts name it.
    pub fn place(&self) -> String {
        match &self.source {
            IdSource::Env(name) => format!("env {name}"),
            IdSource::Flag(flag) => format!("argv {flag}"),
            IdSource::Argv(_) => "argv".to_owned(),
            IdSource::Cwd(_) => "cwd".to_owned(),
            IdSource::Script(_) => "script path".to_owned(),
            IdSource::Open(pattern) => format!("open {pattern}"),
            IdSource::Label(name) => format!("label {name}"),
            IdSource::Annotation(name) => format!("annotation {name}"),
            IdSource::Owner(kind) => format!("owner {kind}"),
            IdSource::EventLog(paths) => format!("event log {}", paths.join(" or ")),
        }
    }
}

fn all(captures: Vec<(Field, &str)>, doubtful: bool) -> Vec<Found> {
    captures
        .into_iter()
        .filter(|(_, value)| usable(value))
        .map(|(field, value)| Found { field, value: value.into(), doubtful })
        .collect()
}

fn usable(value: &str) -> bool {
    !value.is_empty() && value.len() <= VALUE_MAX
}

/// The value of a flag, and whether it is there again with another.
fn flag_value<'a>(flag: &str, argv: &'a [Arc<str>]) -> Option<(&'a str, bool)> {
    let mut found: Option<&str> = None;
    let mut again = false;
    let mut args = argv.iter().skip(1);
    while let Some(arg) = args.next() {
        let value = if **arg == *flag {
            args.next().map(|value| &**value)
        } else {
            arg.strip_prefix(flag).and_then(|rest| rest.strip_prefix('='))
        };
        match (found, value) {
            (None, Some(value)) => found = Some(value),
            (Some(first), Some(value)) => again |= first != value,
            (_, None) => {}
        }
    }
    found.map(|value| (value, again))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(list: &[&str]) -> Vec<Arc<str>> {
        list.iter().map(|arg| Arc::from(*arg)).collect()
    }

    #[test]
    fn flag_has_its_value_behind_it_or_behind_an_equals_sign() {
        assert_eq!(flag_value("--pack", &argv(&["x", "--pack", "a"])), Some(("a", false)));
        assert_eq!(flag_value("--pack", &argv(&["x", "--pack=a", "--pack", "a"])), Some(("a", false)));
        assert_eq!(flag_value("--pack", &argv(&["x", "--pack=a", "--pack=b"])), Some(("a", true)));
        assert_eq!(flag_value("--pack", &argv(&["x", "--packed=a", "--pack"])), None);
    }

    #[test]
    fn environment_with_two_values_is_doubtful() {
        let item = Attribution {
            field: Field::Run,
            source: IdSource::Env("RUN".into()),
            at: IdAt::Author,
            trust: IdTrust::Engine,
            rule: RuleRef { file: "x".into(), line: 1 },
        };
        let env = |values: &[&str]| -> Vec<(Arc<str>, Arc<str>)> {
            values.iter().map(|value| ("RUN".into(), Arc::from(*value))).collect()
        };
        assert!(!item.in_env(&env(&["1", "1"])).unwrap().doubtful);
        assert!(item.in_env(&env(&["1", "2"])).unwrap().doubtful);
        assert_eq!(item.in_env(&env(&[""])), None, "empty is absent");
        assert_eq!(item.in_env(&env(&["x".repeat(257).as_str()])), None);
    }
}
