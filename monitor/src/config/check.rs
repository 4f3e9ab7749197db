//! What is well written and cannot work all the same, and where it stands.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::sink::{SinkConfig, SinkKind};
use super::types::{CONFIG_SCHEMA, Config};

/// Something that cannot work.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: At,
    pub(super) what: String,
    /// What to do; may be empty.
    pub(super) fix: &'static str,
}

/// Which value it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Schema,
    Watch(usize),
    Assign(usize),
    Hooks,
    PriorityRing,
    LifecycleRing,
    Sink(usize),
}

/// The first thing that cannot work.
pub(super) fn first_wrong(config: &Config) -> Option<Wrong> {
    schema(config)
        .or_else(|| workers(config))
        .or_else(|| facts(config))
        .or_else(|| hooks(config))
        .or_else(|| rings(config))
        .or_else(|| sinks(config))
}

fn schema(config: &Config) -> Option<Wrong> {
    let what = format!("schema is {:?}, this version reads {CONFIG_SCHEMA:?}", config.schema);
    (config.schema != CONFIG_SCHEMA).then_some(Wrong {
        at: At::Schema,
        what,
        fix: "write `schema: sandwatch/config/v1`",
    })
}

fn facts(config: &Config) -> Option<Wrong> {
    config.workers.assign.iter().enumerate().find_map(|(index, assign)| {
        let stated = assign.facts.iter().map(|(name, values)| (name, values.iter()));
        let error = crate::profile::Facts::new(stated).err()?;
        Some(Wrong { at: At::Assign(index), what: format!("workers.assign: {error}"), fix: "" })
    })
}

fn workers(config: &Config) -> Option<Wrong> {
    let watched = config.workers.watch.iter().enumerate().map(|(index, glob)| (At::Watch(index), glob));
    let assigned = config.workers.assign.iter().enumerate().map(|(index, a)| (At::Assign(index), &a.cgroup));
    watched.chain(assigned).find_map(|(at, glob)| {
        // A bare name is a systemd unit, found wherever in the tree it is.
        if !glob.starts_with('/') && glob.contains('/') {
            return Some(Wrong {
                at,
                what: format!(
                    "workers: {glob:?} is neither a path below the cgroup2 root nor the name of a unit"
                ),
                fix: "start a path with `/`, or give the unit's name alone (`n8n.service`)",
            });
        }
        let error = globset::Glob::new(glob).err()?;
        Some(Wrong {
            at,
            what: format!("workers: {glob:?} is not a valid pattern: {}", error.kind()),
            fix: "",
        })
    })
}

fn hooks(config: &Config) -> Option<Wrong> {
    let error = config.hooks.choice().err()?;
    Some(Wrong { at: At::Hooks, what: error.to_string().replace("--hooks", "hooks"), fix: "" })
}

fn rings(config: &Config) -> Option<Wrong> {
    let kernel = &config.kernel;
    let rings = [
        (At::PriorityRing, "priority_ring", kernel.priority_ring.0),
        (At::LifecycleRing, "lifecycle_ring", kernel.lifecycle_ring.0),
    ];
    rings.into_iter().find(|(_, _, size)| !size.is_power_of_two() || *size < 4096 || *size > 1 << 30).map(
        |(at, name, size)| Wrong {
            at,
            what: format!("kernel.{name}: {size} bytes is not a power of two between 4KiB and 1GiB"),
            fix: "try 4MiB",
        },
    )
}

fn sinks(config: &Config) -> Option<Wrong> {
    let mut names = BTreeSet::new();
    config.sinks.iter().enumerate().find_map(|(index, sink)| {
        let (what, fix) = sink_wrong(sink, !names.insert(sink.name.as_str()))?;
        Some(Wrong { at: At::Sink(index), what, fix })
    })
}

fn sink_wrong(sink: &SinkConfig, twice: bool) -> Option<(String, &'static str)> {
    let name = &sink.name;
    if twice {
        return Some((format!("two sinks are named {name:?}"), "alerts carry the name: give each its own"));
    }
    if let Some(key) = sink.special_keys().into_iter().find(|key| !sink.kind.takes().contains(key)) {
        let what = format!("sink {name:?} of type {} takes no `{key}`", sink.kind.name());
        return Some((what, "remove it, or change the type"));
    }
    if sink.kind == SinkKind::File && sink.path.is_none() {
        return Some((format!("sink {name:?} of type file has no path"), "add `path:`"));
    }
    (sink.buffer == 0).then(|| (format!("sink {name:?}: buffer must be at least 1"), ""))
}

type Mark = Spanned<IgnoredAny>;

/// The file again, for the places of what is checked here: a [`Config`] without them is easier for everybody else.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Places {
    schema: Option<Mark>,
    workers: WorkerPlaces,
    hooks: Option<Mark>,
    kernel: KernelPlaces,
    sinks: Vec<Mark>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WorkerPlaces {
    watch: Vec<Mark>,
    assign: Vec<Mark>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KernelPlaces {
    priority_ring: Option<Mark>,
    lifecycle_ring: Option<Mark>,
}

/// Line and column of a value, from 1; (0, 0) if it is not in the file.
pub(super) fn place(text: &str, at: At) -> (u64, u64) {
    let places: Places = serde_saphyr::from_str(text).unwrap_or_default();
    let mark = match at {
        At::Schema => places.schema.as_ref(),
        At::Watch(index) => places.workers.watch.get(index),
        At::Assign(index) => places.workers.assign.get(index),
        At::Hooks => places.hooks.as_ref(),
        At::PriorityRing => places.kernel.priority_ring.as_ref(),
        At::LifecycleRing => places.kernel.lifecycle_ring.as_ref(),
        At::Sink(index) => places.sinks.get(index),
    };
    mark.map_or((0, 0), |mark| (mark.referenced.line(), mark.referenced.column()))
}
