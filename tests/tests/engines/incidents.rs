//! What the agent raised.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The alerts of a file.
pub(crate) struct Incidents {
    alerts: Vec<Value>,
}

impl Incidents {
    /// Reads a file of JSON lines; a line that is still being written is left out.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let alerts = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        Self { alerts }
    }

    /// The last alert of each incident of tier boundary or above.
    pub(crate) fn serious(&self) -> Vec<&Value> {
        let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
        for alert in &self.alerts {
            if alert["kind"] == "incident" && alert["tier"] != "deviation" {
                last.insert(alert["incident"]["id"].as_str().unwrap_or(""), alert);
            }
        }
        last.into_values().collect()
    }

    /// Nothing of tier boundary or above so far.
    pub(crate) fn assert_silent(&self, after: &str) {
        let serious = self.serious();
        assert!(serious.is_empty(), "{after} is normal, but: {}", told(&serious));
    }

    /// The one serious incident.
    pub(crate) fn only(&self) -> &Value {
        let serious = self.serious();
        assert_eq!(serious.len(), 1, "one escape is one incident: {}", told(&serious));
        serious[0]
    }

    /// Everything below boundary, for people who write profiles.
    pub(crate) fn deviations(&self) -> Vec<String> {
        let mine =
            self.alerts.iter().filter(|alert| alert["kind"] == "incident" && alert["tier"] == "deviation");
        mine.map(|alert| told(&[alert])).collect()
    }
}

fn line(alert: &Value) -> String {
    format!(
        "{} {} [{}] {} role {} exe {} argv {} file {} network {}",
        alert["kind"].as_str().unwrap_or(""),
        alert["title"].as_str().unwrap_or(""),
        alert["finding"]["id"].as_str().unwrap_or(""),
        alert["tier"].as_str().unwrap_or(""),
        alert["process"]["role"],
        alert["process"]["exe"],
        alert["process"]["argv"],
        alert["file"],
        alert["network"]
    )
}

fn told(alerts: &[&Value]) -> String {
    alerts.iter().map(|alert| format!("\n{} chain {}", line(alert), alert["incident"]["chain"])).collect()
}

/// The ids of an incident's chain.
pub(crate) fn chain(incident: &Value) -> Vec<&str> {
    let links = incident["incident"]["chain"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    links.iter().filter_map(|link| link["finding"].as_str()).collect()
}

/// The ids of the identities that were taken.
pub(crate) fn taken(incident: &Value) -> Vec<&str> {
    let taken = incident["blast_radius"]["taken"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    taken.iter().filter_map(|identity| identity["identity"].as_str()).collect()
}
