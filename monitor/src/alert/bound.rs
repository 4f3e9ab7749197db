//! The door into every format: an alert becomes a [`SafeAlert`], redacted and within its size.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Serialize, Serializer};

use super::{Alert, Delivery, json, redact, shrink};

/// The largest alert, in bytes of its JSON line.
pub const MAX_ALERT: usize = 64 << 10;

/// The longest single text that is never cut.
const SHORT_TEXT: usize = 256;

/// An alert that may be shown: its arguments are redacted and it is not larger than [`MAX_ALERT`]. The formats take
/// nothing else. A copy costs nothing, and its JSON line is written once, for the spool, the local log and every sink.
#[derive(Clone, PartialEq)]
pub struct SafeAlert(Arc<Safe>);

struct Safe {
    alert: Alert,
    /// Once somebody asked for it.
    line: OnceLock<String>,
}

impl Clone for Safe {
    /// For what is about to be changed: its line will be another.
    fn clone(&self) -> Self {
        Self { alert: self.alert.clone(), line: OnceLock::new() }
    }
}

impl PartialEq for Safe {
    fn eq(&self, other: &Self) -> bool {
        self.alert == other.alert
    }
}

impl Deref for SafeAlert {
    type Target = Alert;

    fn deref(&self) -> &Alert {
        &self.0.alert
    }
}

impl fmt::Debug for SafeAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.alert.fmt(f)
    }
}

impl Serialize for SafeAlert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.alert.serialize(serializer)
    }
}

impl SafeAlert {
    /// Redacts and bounds an alert. What had to be cut is named in its `truncated`.
    pub fn new(mut alert: Alert) -> Self {
        redact_alert(&mut alert);
        let mut safe = Self::from_spool(alert);
        // The second ones make any alert far smaller; they are for what is of short texts alone, and has too many of them.
        for step in STEPS.iter().chain(shrink::STEPS) {
            if safe.line().len() <= MAX_ALERT {
                break;
            }
            safe.shrink(step);
        }
        safe
    }

    /// An alert that was made safe before it was spooled.
    pub(crate) fn from_spool(alert: Alert) -> Self {
        Self(Arc::new(Safe { alert, line: OnceLock::new() }))
    }

    /// The alert as one line of JSON, without the line feed.
    pub fn line(&self) -> &str {
        self.0.line.get_or_init(|| json::compact(&self.0.alert))
    }

    /// The copy that one sink sends: `delivery` on it, and the sink's own fields among its labels.
    pub(super) fn for_sink(&self, delivery: Option<&Delivery>, fields: &BTreeMap<String, String>) -> Self {
        let mut copy = self.clone();
        let alert = copy.change();
        alert.delivery = delivery.cloned();
        alert.labels.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        copy
    }

    /// Takes one step to a smaller alert; whether there was something to cut. It is named in `truncated`.
    pub(super) fn shrink(&mut self, step: &Step) -> bool {
        let alert = self.change();
        let cut = (step.cut)(alert);
        if cut && !alert.truncated.iter().any(|part| part == step.part) {
            alert.truncated.push(step.part.to_owned());
        }
        cut
    }

    fn change(&mut self) -> &mut Alert {
        let safe = Arc::make_mut(&mut self.0);
        safe.line = OnceLock::new();
        &mut safe.alert
    }
}

fn redact_alert(alert: &mut Alert) {
    let mask = |text: &mut String| {
        if let std::borrow::Cow::Owned(masked) = redact::text(text) {
            *text = masked;
        }
    };
    mask(&mut alert.title);
    if let Some(process) = &mut alert.process {
        if let Some(argv) = &mut process.argv {
            *argv = redact::arguments(argv);
        }
        process.cwd.iter_mut().for_each(mask);
        process.exe.iter_mut().for_each(mask);
        process.ancestors.iter_mut().filter_map(|a| a.exe.as_mut()).for_each(mask);
    }
    if let Some(incident) = &mut alert.incident {
        incident.chain.iter_mut().filter_map(|link| link.object.as_mut()).for_each(mask);
        incident.chain.iter_mut().filter_map(|link| link.title.as_mut()).for_each(mask);
    }
    if let Some(evidence) = &mut alert.evidence {
        let tree = evidence.tree.iter_mut();
        for argv in tree.filter_map(|process| process.argv.as_mut()) {
            *argv = redact::arguments(argv);
        }
        evidence.tree.iter_mut().filter_map(|process| process.exe.as_mut()).for_each(mask);
        for event in &mut evidence.events {
            mask(&mut event.object);
            if let Some(argv) = &mut event.argv {
                *argv = redact::arguments(argv);
            }
        }
    }
    if let Some(file) = &mut alert.file {
        file.path.iter_mut().for_each(mask);
        file.host_path.iter_mut().for_each(mask);
    }
    if let Some(network) = &mut alert.network {
        mask(&mut network.address);
    }
    let posture = alert.posture.iter_mut().flat_map(|posture| &mut posture.findings);
    posture.filter_map(|item| item.detail.as_mut()).for_each(mask);
    alert.allow_with.iter_mut().for_each(mask);
}

/// One thing to cut; `cut` says whether there was something.
pub(super) struct Step {
    pub(super) part: &'static str,
    pub(super) cut: fn(&mut Alert) -> bool,
}

/// From what is least missed to what is most. The last ones leave only short texts, which nearly always fit.
const STEPS: &[Step] = &[
    Step { part: "evidence", cut: cut_evidence },
    Step { part: "process.argv", cut: cut_argv },
    Step { part: "incident.chain", cut: cut_chain },
    Step {
        part: "process.ancestors",
        cut: |a| a.process.as_mut().is_some_and(|p| cut_list(&mut p.ancestors, 16)),
    },
    Step {
        part: "blast_radius.reachable",
        cut: |a| a.blast_radius.as_mut().is_some_and(|b| cut_list(&mut b.reachable, 32)),
    },
    Step {
        part: "blast_radius.contacted",
        cut: |a| a.blast_radius.as_mut().is_some_and(|b| cut_list(&mut b.contacted, 32)),
    },
    Step {
        part: "attribution.candidates",
        cut: |a| a.attribution.as_mut().is_some_and(|b| cut_list(&mut b.candidates, 8)),
    },
    Step {
        part: "blast_radius.environment",
        cut: |a| a.blast_radius.as_mut().is_some_and(|b| cut_list(&mut b.environment, 32)),
    },
    Step {
        part: "blast_radius.rotation",
        cut: |a| a.blast_radius.as_mut().is_some_and(|b| cut_list(&mut b.rotation, 64)),
    },
    Step { part: "incident.new", cut: |a| a.incident.as_mut().is_some_and(|i| cut_list(&mut i.new, 16)) },
    Step { part: "worker.pod.labels", cut: cut_pod_labels },
    Step { part: "allow_with", cut: |a| a.allow_with.take().is_some() },
    Step { part: "texts", cut: cut_texts },
    Step { part: "lists", cut: cut_lists },
];

fn cut_list<T>(list: &mut Vec<T>, keep: usize) -> bool {
    let longer = list.len() > keep;
    list.truncate(keep);
    longer
}

fn cut_text(text: &mut String, keep: usize) -> bool {
    if text.len() <= keep {
        return false;
    }
    let mut end = keep;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push('…');
    true
}

fn cut_pod_labels(alert: &mut Alert) -> bool {
    let pod = alert.worker.as_mut().and_then(|w| w.pod.as_mut());
    pod.is_some_and(|pod| !std::mem::take(&mut pod.labels).is_empty())
}

/// The newest events and the processes nearest to the top say most.
fn cut_evidence(alert: &mut Alert) -> bool {
    let Some(evidence) = &mut alert.evidence else { return false };
    let older = evidence.events.len().saturating_sub(24);
    evidence.events.drain(..older);
    let fewer = evidence.tree.len().saturating_sub(24);
    evidence.tree.truncate(24);
    if fewer > 0 {
        evidence.more_processes = Some(evidence.more_processes.unwrap_or(0) + fewer as u64);
    }
    let argvs = evidence.events.iter_mut().filter_map(|event| event.argv.as_mut());
    let argvs = argvs.chain(evidence.tree.iter_mut().filter_map(|process| process.argv.as_mut()));
    argvs.fold(older + fewer > 0, |cut, argv| {
        let fewer = cut_list(argv, 16);
        argv.iter_mut().fold(cut || fewer, |cut, argument| cut_text(argument, SHORT_TEXT) || cut)
    })
}

fn cut_argv(alert: &mut Alert) -> bool {
    let Some(argv) = alert.process.as_mut().and_then(|p| p.argv.as_mut()) else { return false };
    let fewer = cut_list(argv, 64);
    argv.iter_mut().fold(fewer, |cut, argument| cut_text(argument, SHORT_TEXT) || cut)
}

/// The first findings say how it began, the last ones what it came to.
fn cut_chain(alert: &mut Alert) -> bool {
    let Some(chain) = alert.incident.as_mut().map(|i| &mut i.chain) else { return false };
    let mut cut = false;
    if chain.len() > 64 {
        chain.drain(32..chain.len() - 32);
        cut = true;
    }
    chain
        .iter_mut()
        .flat_map(|link| link.object.iter_mut().chain(link.title.iter_mut()))
        .fold(cut, |cut, object| cut_text(object, SHORT_TEXT) || cut)
}

/// Every text of the alert to [`SHORT_TEXT`], through its JSON value: a list of fields here would miss the next one.
fn cut_texts(alert: &mut Alert) -> bool {
    reshape(alert, &|value| {
        if let serde_json::Value::String(text) = value { cut_text(text, SHORT_TEXT) } else { false }
    })
}

/// Every list and map of the alert to 32 entries; but what was taken, and numbers that do not come, of which there are few runs.
fn cut_lists(alert: &mut Alert) -> bool {
    let taken = alert.blast_radius.as_mut().map(|radius| std::mem::take(&mut radius.taken));
    let runs = alert.gap.as_mut().map(|gap| std::mem::take(&mut gap.sequences));
    let cut = reshape(alert, &|value| match value {
        serde_json::Value::Array(list) => cut_list(list, 32),
        // The alert's own parts are fewer; only free maps (labels, references) are longer.
        serde_json::Value::Object(map) if map.len() > 48 => {
            let extra: Vec<String> = map.keys().skip(32).cloned().collect();
            extra.iter().for_each(|key| drop(map.remove(key)));
            true
        }
        _ => false,
    });
    if let (Some(radius), Some(taken)) = (&mut alert.blast_radius, taken) {
        radius.taken = taken;
    }
    if let (Some(gap), Some(runs)) = (&mut alert.gap, runs) {
        gap.sequences = runs;
    }
    cut
}

/// Changes an alert through its JSON value: every part is reached, also those that are added later.
pub(super) fn reshape(alert: &mut Alert, change: &dyn Fn(&mut serde_json::Value) -> bool) -> bool {
    fn walk(value: &mut serde_json::Value, change: &dyn Fn(&mut serde_json::Value) -> bool) -> bool {
        let mut changed = change(value);
        match value {
            serde_json::Value::Array(list) => list.iter_mut().for_each(|v| changed |= walk(v, change)),
            serde_json::Value::Object(map) => map.values_mut().for_each(|v| changed |= walk(v, change)),
            _ => {}
        }
        changed
    }
    let Ok(mut value) = serde_json::to_value(&*alert) else { return false };
    let changed = walk(&mut value, change);
    if changed && let Ok(shorter) = serde_json::from_value(value) {
        *alert = shorter;
    }
    changed
}
