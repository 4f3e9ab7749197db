//! What is well written and cannot work all the same, and where it stands.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::sink::{SinkConfig, SinkKind};
use super::types::{CONFIG_SCHEMA, Config};
use crate::alert::{MIN_IN_ENVELOPE, MIN_MAX_BYTES};

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
    Pods,
    Sink(usize),
    Spool,
    Heartbeat,
    Listen,
}

/// The first thing that cannot work.
pub(super) fn first_wrong(config: &Config) -> Option<Wrong> {
    schema(config)
        .or_else(|| workers(config))
        .or_else(|| facts(config))
        .or_else(|| hooks(config))
        .or_else(|| rings(config))
        .or_else(|| spool(config))
        .or_else(|| pods(config))
        .or_else(|| heartbeat(config))
        .or_else(|| listen(config))
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

/// The least a class may have: a few of the largest alerts.
const LEAST: u64 = 1 << 20;
/// More sinks than this have no room in a record of the spool.
const MOST_SINKS: usize = 64;

fn spool(config: &Config) -> Option<Wrong> {
    let spool = &config.spool;
    let classes = [("high", spool.high), ("normal", spool.normal), ("low", spool.low)];
    let small = classes.into_iter().find(|(_, bytes)| bytes.is_some_and(|bytes| bytes.0 < LEAST));
    if let Some((name, _)) = small {
        let what = format!("spool.{name} is less than 1MiB");
        return Some(Wrong { at: At::Spool, what, fix: "a class needs room for a few alerts" });
    }
    if spool.max_age.0.is_zero() {
        let what = "spool.max_age: everything would be evicted at once".to_owned();
        return Some(Wrong { at: At::Spool, what, fix: "write 168h, or leave it out" });
    }
    (spool.max_bytes.0 < 8 * LEAST || spool.memory.0 < LEAST).then(|| Wrong {
        at: At::Spool,
        what: "spool: max_bytes must be at least 8MiB, memory at least 1MiB".to_owned(),
        fix: "",
    })
}

/// Longer, and what happens in a worker would be told too late.
const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(30);

fn pods(config: &Config) -> Option<Wrong> {
    let pods = &config.pods;
    let what = if pods.timeout.0.is_zero() {
        "pods.timeout must be longer than nothing".to_owned()
    } else if pods.wait.0 > LONGEST_WAIT {
        format!("pods.wait: the events of a new worker would wait for more than {} s", LONGEST_WAIT.as_secs())
    } else {
        return None;
    };
    Some(Wrong { at: At::Pods, what, fix: "the default is good: leave it out" })
}

fn heartbeat(config: &Config) -> Option<Wrong> {
    let every = config.heartbeat.every.0.as_secs();
    (!(10..=3600).contains(&every)).then(|| Wrong {
        at: At::Heartbeat,
        what: format!("heartbeat.every: {every}s is not between 10s and 1h"),
        fix: "5m is usual",
    })
}

fn listen(config: &Config) -> Option<Wrong> {
    let listen = config.listen.as_deref().filter(|listen| !listen.is_empty())?;
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, ""));
    let good = !host.is_empty() && port.parse::<u16>().is_ok();
    (!good).then(|| Wrong {
        at: At::Listen,
        what: format!("listen: {listen:?} is no address with a port"),
        fix: "write 127.0.0.1:9464, or \"\" for no metrics",
    })
}

fn sinks(config: &Config) -> Option<Wrong> {
    if config.sinks.len() > MOST_SINKS {
        let what = format!("{} sinks are more than the {MOST_SINKS} that there may be", config.sinks.len());
        return Some(Wrong { at: At::Sink(MOST_SINKS), what, fix: "" });
    }
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
    if !is_name(name) {
        let what = format!("{name:?} is no name for a sink: files are named after it");
        return Some((what, "use letters, digits, `-`, `_` and `.`, at most 64, not beginning with `.`"));
    }
    let patterns = sink.workers.iter().chain(sink.labels.values());
    if let Some((glob, error)) = patterns.filter_map(|g| Some((g, globset::Glob::new(g).err()?))).next() {
        return Some((format!("sink {name:?}: {glob:?} is not a valid pattern: {}", error.kind()), ""));
    }
    if let Some(key) = sink.special_keys().into_iter().find(|key| !sink.kind.takes().contains(key)) {
        let what = format!("sink {name:?} of type {} takes no `{key}`", sink.kind.name());
        return Some((what, "remove it, or change the type"));
    }
    if sink.timeout.0.is_zero() || sink.retry.0.is_zero() {
        let what = format!("sink {name:?}: timeout and retry must be longer than nothing");
        return Some((what, "leave them out, or write 15s and 1s"));
    }
    let set = sink.special_keys();
    // A secret has two places that it may come from.
    let given = |key: &str| set.contains(&key) || (key == "key_file" && set.contains(&"key_env"));
    if let Some(key) = sink.kind.needs().iter().find(|key| !given(key)) {
        return Some((format!("sink {name:?} of type {} has no {key}", sink.kind.name()), "add it"));
    }
    // In an envelope of JSON, a text of another format grows by what has to be escaped.
    let has_envelope = matches!(sink.kind, SinkKind::Webhook | SinkKind::Elasticsearch | SinkKind::Splunk);
    let least = if has_envelope { MIN_IN_ENVELOPE } else { MIN_MAX_BYTES };
    if sink.max_bytes.is_some_and(|most| most.0 < least as u64) {
        let what = format!("sink {name:?}: an alert cannot be cut to less than {least} bytes");
        return Some((what, "raise max_bytes"));
    }
    (sink.buffer == 0).then(|| (format!("sink {name:?}: buffer must be at least 1"), ""))
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(good)
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
    spool: Option<Mark>,
    pods: Option<Mark>,
    heartbeat: Option<Mark>,
    listen: Option<Mark>,
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
        At::Pods => places.pods.as_ref(),
        At::Sink(index) => places.sinks.get(index),
        At::Spool => places.spool.as_ref(),
        At::Heartbeat => places.heartbeat.as_ref(),
        At::Listen => places.listen.as_ref(),
    };
    mark.map_or((0, 0), |mark| (mark.referenced.line(), mark.referenced.column()))
}
