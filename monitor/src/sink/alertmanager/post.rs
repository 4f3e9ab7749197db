//! Alerts as Alertmanager takes them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::oncall::{Action, Brief, page};

/// How far ahead the end of what is open lies. Longer than an upgrade of the agent takes, short enough that a node that is
/// gone does not fire for days.
const AHEAD: SignedDuration = SignedDuration::from_hours(4);

/// A test ends by itself, once it had time to be told.
const AHEAD_TEST: SignedDuration = SignedDuration::from_mins(5);

/// Label names that are ours, whatever the configuration adds.
const OURS: [&str; 9] =
    ["alertname", "severity", "tier", "cluster", "node", "engine", "profile", "incident", "test"];

/// One alert.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Post {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

/// The key of a row: its labels, in one order. Nothing that differs between two looks at the same thing is among them: no
/// process, user, time or path.
pub(super) fn key(brief: &Brief, fields: &BTreeMap<String, String>) -> String {
    let mut labels = BTreeMap::new();
    for (name, value) in fields {
        let name = label_name(name);
        if !OURS.contains(&&*name) {
            labels.insert(name, value.clone());
        }
    }
    let mut set = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            labels.insert(name.to_owned(), value.to_owned());
        }
    };
    set("alertname", Some(&brief.name));
    set("severity", Some(brief.severity.name()));
    set("tier", brief.tier.map(|tier| tier.name()));
    set("cluster", brief.cluster.as_deref());
    set("node", Some(&brief.node));
    set("engine", brief.engine.as_deref());
    set("profile", brief.profile.as_deref());
    set("incident", Some(&brief.id));
    set("test", brief.test.then_some("true"));
    serde_json::to_string(&labels).unwrap_or_default()
}

/// Letters, digits and underscores; a digit does not come first.
fn label_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() {
        format!("_{plain}")
    } else {
        plain
    }
}

/// What an action posts.
pub(super) fn of(action: &Action, runbook: Option<&str>, now: Timestamp) -> Post {
    match action {
        Action::Open { key, brief, .. } => {
            let ahead = if brief.test { AHEAD_TEST } else { AHEAD };
            told(key, brief, runbook, now, now.saturating_add(ahead).unwrap_or(now))
        }
        Action::Resolve { key, brief, .. } => told(key, brief, runbook, now, now),
        Action::Summary(summary) => {
            let labels = [
                ("alertname", format!("sandwatch-{}", summary.kind.name())),
                ("severity", "medium".to_owned()),
                ("node", summary.node.clone()),
                // A summary of its own each time; it ends by itself.
                ("incident", summary.key.clone()),
            ];
            let cluster = summary.cluster.iter().map(|cluster| ("cluster", cluster.clone()));
            let mut description = summary.lines.join("\n");
            if summary.unnamed > 0 {
                description.push_str(&format!("\n… and {} more", summary.unnamed));
            }
            Post {
                labels: labels
                    .into_iter()
                    .chain(cluster)
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
                annotations: [("summary", page::summary_headline(summary)), ("description", description)]
                    .into(),
                starts_at: now.to_string(),
                ends_at: now.saturating_add(AHEAD).unwrap_or(now).to_string(),
                generator_url: None,
            }
        }
    }
}

fn told(key: &str, brief: &Brief, runbook: Option<&str>, now: Timestamp, end: Timestamp) -> Post {
    let mut annotations: BTreeMap<&'static str, String> =
        [("summary", page::headline(brief)), ("description", page::plain(&page::sections(brief, runbook)))]
            .into();
    let link = runbook.map(|base| page::runbook_link(base, &brief.name));
    annotations.extend(link.clone().map(|link| ("runbook_url", link)));
    annotations.extend(brief.worker.clone().map(|worker| ("worker", worker)));
    annotations.extend(brief.environment.clone().map(|environment| ("environment", environment)));
    // It refuses what ends before it starts, and this host's clock may have been ahead.
    let start = brief.first.parse::<Timestamp>().unwrap_or(now).min(now);
    Post {
        labels: serde_json::from_str(key).unwrap_or_default(),
        annotations,
        starts_at: start.to_string(),
        ends_at: end.to_string(),
        generator_url: link.filter(|link| link.starts_with("http")),
    }
}
