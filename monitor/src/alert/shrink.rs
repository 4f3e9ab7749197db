//! What an alert loses to fit into a sink that takes less than the whole of it.
//!
//! From what is least missed to what is most. Which incident it is, which worker, which run and what was taken stay to the end;
//! when even they are too long, their texts are shortened.

use super::bound::{Step, reshape};
use super::escape;
use super::{Alert, BlastRadius, Incident, Unlisted};

/// In the order in which they are taken.
pub(super) const STEPS: &[Step] = &[
    Step { part: "evidence", cut: |a| a.evidence.take().is_some() },
    Step { part: "process.ancestors", cut: |a| ancestors(a, 3) },
    Step { part: "blast_radius.reachable", cut: |a| radius(a, |r| shorten(&mut r.reachable, 0)) },
    Step { part: "process.argv", cut: |a| argv(a, 16, 128) },
    Step { part: "allow_with", cut: |a| a.allow_with.take().is_some() },
    Step { part: "blast_radius.environment", cut: |a| radius(a, |r| shorten(&mut r.environment, 0)) },
    Step { part: "blast_radius.rotation", cut: |a| radius(a, |r| shorten(&mut r.rotation, 8)) },
    Step { part: "incident.chain", cut: |a| chain(a, 16) },
    Step { part: "blast_radius.contacted", cut: |a| radius(a, |r| shorten(&mut r.contacted, 8)) },
    Step { part: "worker.pod.labels", cut: pod_labels },
    Step { part: "process.argv", cut: |a| argv(a, 4, 64) },
    Step { part: "texts", cut: |a| texts(a, 512) },
    Step { part: "incident.chain", cut: |a| chain(a, 4) },
    Step { part: "blast_radius.rotation", cut: |a| radius(a, |r| shorten(&mut r.rotation, 0)) },
    Step { part: "texts", cut: |a| texts(a, 128) },
    Step { part: "respond", cut: |a| shorten(&mut a.respond, 2) },
    Step { part: "attribution.candidates", cut: |a| candidates(a, 4) },
    Step { part: "process.ancestors", cut: |a| ancestors(a, 0) },
    Step { part: "blast_radius.used", cut: |a| radius(a, |r| shorten(&mut r.used, 8)) },
    Step { part: "labels", cut: |a| !std::mem::take(&mut a.labels).is_empty() },
    Step { part: "texts", cut: |a| texts(a, 64) },
    Step { part: "gap.sequences", cut: |a| sequences(a, 16) },
    Step { part: "lists", cut: |a| lists(a, 32) },
    Step { part: "incident.chain", cut: |a| chain(a, 2) },
    Step { part: "gap.sequences", cut: |a| sequences(a, 4) },
    Step { part: "lists", cut: |a| lists(a, 8) },
    Step { part: "blast_radius.taken.respond", cut: taken_texts },
    Step { part: ALL_BUT_CORE, cut: core },
    Step { part: "blast_radius.taken", cut: |a| radius(a, |r| shorten(&mut r.taken, 16)) },
    Step { part: ALL_BUT_CORE, cut: |a| bare(a, 20) },
    Step { part: ALL_BUT_CORE, cut: barest },
];

/// In `truncated`, instead of a list that would itself be too long.
pub(super) const ALL_BUT_CORE: &str = "all-but-core";

/// Whether only the core is left: then a format says nothing twice either.
pub(super) fn is_core(alert: &Alert) -> bool {
    alert.truncated.iter().any(|part| part == ALL_BUT_CORE)
}

/// Cuts a text to `keep` bytes as they are when written: what a format escapes counts as long as the escape.
pub(super) fn cut_text(text: &mut String, keep: usize) -> bool {
    let mut written = 0;
    for (at, c) in text.char_indices() {
        written += match c {
            '"' | '\\' | '=' | '|' => 2,
            c if escape::is_unsafe(c) => {
                if c.len_utf8() == 4 {
                    12
                } else {
                    7
                }
            }
            c => c.len_utf8(),
        };
        if written > keep {
            text.truncate(at);
            text.push('…');
            return true;
        }
    }
    false
}

fn shorten<T>(list: &mut Vec<T>, keep: usize) -> bool {
    let longer = list.len() > keep;
    list.truncate(keep);
    longer
}

fn radius(alert: &mut Alert, cut: impl Fn(&mut BlastRadius) -> bool) -> bool {
    alert.blast_radius.as_mut().is_some_and(cut)
}

fn ancestors(alert: &mut Alert, keep: usize) -> bool {
    alert.process.as_mut().is_some_and(|process| shorten(&mut process.ancestors, keep))
}

fn candidates(alert: &mut Alert, keep: usize) -> bool {
    alert.attribution.as_mut().is_some_and(|who| shorten(&mut who.candidates, keep))
}

fn argv(alert: &mut Alert, keep: usize, bytes: usize) -> bool {
    let Some(argv) = alert.process.as_mut().and_then(|process| process.argv.as_mut()) else { return false };
    let fewer = shorten(argv, keep);
    argv.iter_mut().fold(fewer, |cut, argument| cut_text(argument, bytes) || cut)
}

fn pod_labels(alert: &mut Alert) -> bool {
    let pod = alert.worker.as_mut().and_then(|worker| worker.pod.as_mut());
    pod.is_some_and(|pod| !std::mem::take(&mut pod.labels).is_empty())
}

/// The first findings say how it began, the last ones what it came to; those between are counted.
fn chain(alert: &mut Alert, keep: usize) -> bool {
    let Some(incident) = &mut alert.incident else { return false };
    if incident.chain.len() <= keep {
        return false;
    }
    let first = keep / 2;
    let last = incident.chain.len() - (keep - first);
    for link in incident.chain.drain(first..last).collect::<Vec<_>>() {
        count(incident, &link);
    }
    true
}

fn count(incident: &mut Incident, link: &super::ChainLink) {
    let seen = 1 + link.repeats.unwrap_or(0);
    let until = link.last.as_ref().unwrap_or(&link.time);
    match &mut incident.unlisted {
        Some(others) => {
            others.findings = others.findings.saturating_add(seen);
            others.tier = others.tier.max(link.tier);
            // RFC 3339 in UTC with nine digits: the order of the texts is that of the times.
            if link.time < others.first {
                others.first.clone_from(&link.time);
            }
            if *until > others.last {
                others.last.clone_from(until);
            }
        }
        None => {
            incident.unlisted = Some(Unlisted {
                findings: seen,
                tier: link.tier,
                first: link.time.clone(),
                last: until.clone(),
            });
        }
    }
}

/// Every text to `bytes`, through the alert's JSON value: a list of fields here would miss the next one.
fn texts(alert: &mut Alert, bytes: usize) -> bool {
    reshape(alert, &|value| {
        if let serde_json::Value::String(text) = value { cut_text(text, bytes) } else { false }
    })
}

/// Every list and free map to `keep` entries; the incident's chain, what was taken and numbers have steps of their own.
fn lists(alert: &mut Alert, keep: usize) -> bool {
    let links = alert.incident.as_mut().map(|incident| std::mem::take(&mut incident.chain));
    let taken = alert.blast_radius.as_mut().map(|radius| std::mem::take(&mut radius.taken));
    let runs = alert.gap.as_mut().map(|gap| std::mem::take(&mut gap.sequences));
    let cut = reshape(alert, &|value| match value {
        serde_json::Value::Array(list) => shorten(list, keep),
        _ => false,
    });
    let before = alert.refs.len();
    while alert.refs.len() > keep {
        alert.refs.pop_last();
    }
    if let (Some(incident), Some(links)) = (&mut alert.incident, links) {
        incident.chain = links;
    }
    if let (Some(radius), Some(taken)) = (&mut alert.blast_radius, taken) {
        radius.taken = taken;
    }
    if let (Some(gap), Some(runs)) = (&mut alert.gap, runs) {
        gap.sequences = runs;
    }
    cut || alert.refs.len() < before
}

/// Numbers that do not come are named to the end: runs are joined over the smallest holes between them, so that more is named
/// than is meant, and never less.
fn sequences(alert: &mut Alert, keep: usize) -> bool {
    let Some(runs) = alert.gap.as_mut().map(|gap| &mut gap.sequences) else { return false };
    let before = runs.len();
    while runs.len() > keep.max(1) {
        let holes = runs.windows(2).map(|two| two[1][0].saturating_sub(two[0][1]));
        let Some((at, _)) = holes.enumerate().min_by_key(|(_, hole)| *hole) else { break };
        let second = runs.remove(at + 1);
        runs[at][1] = runs[at][1].max(second[1]);
    }
    runs.len() < before
}

/// What was taken is named to the end; what to do about it stands in the catalogue too.
fn taken_texts(alert: &mut Alert) -> bool {
    radius(alert, |radius| {
        radius.taken.iter_mut().fold(false, |cut, taken| {
            let more = taken.gives.take().is_some() | taken.from.take().is_some();
            cut_text(&mut taken.respond, 0) || more || cut
        })
    })
}

/// Only which incident, which worker, which run, what was found and taken, on which host.
fn core(alert: &mut Alert) -> bool {
    alert.process = None;
    alert.file = None;
    alert.network = None;
    alert.refs.clear();
    alert.respond.clear();
    if let Some(posture) = &mut alert.posture {
        posture.findings.iter_mut().for_each(|item| (item.detail, item.rule) = (None, None));
    }
    chain(alert, 0);
    if let Some(incident) = &mut alert.incident {
        incident.new.clear();
    }
    if let Some(finding) = &mut alert.finding {
        finding.expected = None;
        finding.rule = None;
        finding.also.clear();
    }
    if let Some(radius) = &mut alert.blast_radius {
        *radius = BlastRadius { taken: std::mem::take(&mut radius.taken), ..BlastRadius::default() };
    }
    sequences(alert, 4);
    texts(alert, 40);
    alert.truncated.clear();
    true
}

/// The core with the shortest texts that still say something, and without what tells host and pod from others of their names.
fn barest(alert: &mut Alert) -> bool {
    (alert.host.machine_id, alert.host.boot_id, alert.host.clock_synced) = (None, None, None);
    alert.host.kernel.clear();
    alert.agent.rules.clear();
    cut_text(&mut alert.title, 20);
    if let Some(worker) = &mut alert.worker {
        worker.container = None;
        worker.pod.iter_mut().for_each(|pod| pod.uid.clear());
    }
    bare(alert, 12)
}

/// The core with short texts and lists: names of so many bytes.
fn bare(alert: &mut Alert, name: usize) -> bool {
    alert.finding = None;
    alert.environment = None;
    cut_text(&mut alert.title, 40);
    if let Some(incident) = &mut alert.incident {
        incident.unlisted = None;
        incident.closure = None;
        cut_text(&mut incident.run_key, name);
    }
    if let Some(gap) = &mut alert.gap {
        gap.detail = None;
        cut_text(&mut gap.reason, name);
    }
    sequences(alert, 1);
    if let Some(posture) = &mut alert.posture {
        posture.findings.truncate(1);
        posture.findings.iter_mut().for_each(|item| {
            (item.detail, item.rule) = (None, None);
            cut_text(&mut item.id, name);
            cut_text(&mut item.title, name);
        });
        (posture.new, posture.over, posture.unknown) = (Vec::new(), Vec::new(), Vec::new());
    }
    if let Some(health) = &mut alert.health {
        cut_text(&mut health.detail, name);
    }
    if let Some(worker) = &mut alert.worker {
        worker.unit = None;
        worker.node = None;
        worker.engine = None;
        worker.posture.clear();
        for text in [&mut worker.name, &mut worker.profile, &mut worker.cgroup.path] {
            cut_text(text, name);
        }
        if let Some(container) = &mut worker.container {
            container.image = None;
            container.runtime = None;
            cut_text(&mut container.id, name);
        }
        if let Some(pod) = &mut worker.pod {
            cut_text(&mut pod.namespace, name);
            cut_text(&mut pod.name, name);
            (pod.owner, pod.service_account) = (None, None);
        }
    }
    if let Some(who) = &mut alert.attribution {
        who.candidates.clear();
        (who.step, who.actor, who.tenant) = (None, None, None);
        for value in [&mut who.workflow, &mut who.run].into_iter().flatten() {
            cut_text(&mut value.value, name);
            value.source.clear();
            cut_text(&mut value.trust, name);
        }
    }
    if let Some(radius) = &mut alert.blast_radius {
        const TAKEN: &str = "blast_radius.taken";
        if shorten(&mut radius.taken, 1) && !alert.truncated.iter().any(|part| part == TAKEN) {
            alert.truncated.push(TAKEN.to_owned());
        }
        for taken in &mut radius.taken {
            cut_text(&mut taken.identity, name);
            (taken.gives, taken.from) = (None, None);
            taken.respond.clear();
        }
    }
    cut_text(&mut alert.host.name, name);
    if let Some(cluster) = &mut alert.host.cluster {
        cut_text(cluster, name);
    }
    cut_text(&mut alert.host.kernel, name);
    cut_text(&mut alert.agent.version, name);
    cut_text(&mut alert.agent.rules, name);
    if let Some(delivery) = &mut alert.delivery {
        cut_text(&mut delivery.sink, name);
    }
    true
}
