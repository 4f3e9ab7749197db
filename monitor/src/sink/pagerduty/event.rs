//! Events as PagerDuty takes them, within its limits.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::alert::Level;
use crate::oncall::{Action, Brief, page};

/// Most characters of a summary.
const SUMMARY: usize = 1024;
/// Most bytes of a deduplication key, `/ticket` included.
const DEDUP_KEY: usize = 255;
/// Most bytes of an event.
const BODY: usize = 512_000;

/// An event, without the integration key.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Event {
    event_action: &'static str,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
}

#[derive(Clone, Debug, Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    custom_details: Map<String, Value>,
}

/// The event of an action.
pub(super) fn of(action: &Action, runbook: Option<&str>, fields: &BTreeMap<String, String>) -> Event {
    match action {
        Action::Open { key, brief, .. } => {
            trigger(key, payload(brief, runbook, fields), link(brief, runbook))
        }
        Action::Resolve { key, .. } => Event {
            event_action: "resolve",
            dedup_key: key.clone(),
            client: None,
            links: Vec::new(),
            payload: None,
        },
        Action::Summary(summary) => {
            let mut details = Map::new();
            for (number, line) in summary.lines.iter().enumerate() {
                details.insert(format!("{:02}", number + 1), json!(line));
            }
            if summary.unnamed > 0 {
                details.insert("more".to_owned(), json!(summary.unnamed));
            }
            details.extend(fields.iter().map(|(name, value)| (name.clone(), json!(value))));
            let payload = Payload {
                summary: clip(&page::summary_headline(summary), SUMMARY),
                source: source(&summary.node),
                severity: "warning",
                timestamp: None,
                component: None,
                group: summary.cluster.clone(),
                class: Some(format!("summary-{}", summary.kind.name())),
                custom_details: details,
            };
            trigger(&summary.key, payload, Vec::new())
        }
    }
}

fn trigger(key: &str, payload: Payload, links: Vec<Value>) -> Event {
    Event {
        event_action: "trigger",
        dedup_key: key.to_owned(),
        client: Some("sandwatch"),
        links,
        payload: Some(payload),
    }
}

fn payload(brief: &Brief, runbook: Option<&str>, fields: &BTreeMap<String, String>) -> Payload {
    let mut details = Map::new();
    // Numbered, as they are shown in the order of their names.
    for (number, section) in page::sections(brief, runbook).into_iter().enumerate() {
        details.insert(format!("{}. {}", number + 1, section.title), json!(section.lines.join("\n")));
    }
    details.extend(fields.iter().map(|(name, value)| (name.clone(), json!(value))));
    Payload {
        summary: clip(&page::headline(brief), SUMMARY),
        source: source(&brief.node),
        severity: Level::of_kind(brief.kind, brief.severity).pagerduty,
        timestamp: Some(brief.last.clone()),
        component: brief.worker.clone(),
        group: brief.cluster.clone(),
        class: Some(brief.name.clone()),
        custom_details: details,
    }
}

/// An event without a source is refused.
fn source(node: &str) -> String {
    if node.is_empty() { "an unknown host".to_owned() } else { node.to_owned() }
}

fn link(brief: &Brief, runbook: Option<&str>) -> Vec<Value> {
    runbook
        .map(|base| json!({ "href": page::runbook_link(base, &brief.name), "text": "Runbook" }))
        .into_iter()
        .collect()
}

/// An id that leaves room for the rest of the key.
pub(super) fn fitting(id: &str) -> String {
    const ROOM: usize = DEDUP_KEY - "/ticket".len();
    if id.len() <= ROOM {
        return id.to_owned();
    }
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, id.as_bytes()).to_string()
}

fn clip(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

impl Event {
    /// The request's body.
    pub(super) fn body(&self, key: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Keyed<'a> {
            routing_key: &'a str,
            #[serde(flatten)]
            event: &'a Event,
        }
        let body = |event: &Event| serde_json::to_vec(&Keyed { routing_key: key, event }).unwrap_or_default();
        let whole = body(self);
        if whole.len() <= BODY {
            return whole;
        }
        // By construction it is some thousand bytes; what is configured to go along may be more.
        let mut less = self.clone();
        less.reduce();
        body(&less)
    }

    /// Leaves only what PagerDuty requires; whether there was more.
    pub(super) fn reduce(&mut self) -> bool {
        let Some(payload) = &mut self.payload else { return false };
        let more = !payload.custom_details.is_empty() || !self.links.is_empty();
        payload.custom_details.clear();
        (payload.timestamp, payload.component, payload.group, payload.class) = (None, None, None, None);
        self.links.clear();
        more
    }
}
