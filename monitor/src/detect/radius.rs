//! The blast radius of an incident, as it grows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::describe;
use super::scene::Scene;
use crate::alert::{BlastRadius, Rotate, Taken, redact};
use crate::event::Body;
use crate::profile::Finding;
use crate::worker::Reach;

/// Most entries of each of its lists.
const ENTRIES_MAX: usize = 64;

/// What was taken, used, within reach and contacted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Radius {
    taken: Vec<Taken>,
    used: Vec<String>,
    reachable: Vec<String>,
    environment: Vec<String>,
    contacted: Vec<Contact>,
    /// A list is full, or what is reachable was not looked up to the end.
    cut: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Contact {
    what: String,
    /// What became of it, once it is known.
    result: Option<String>,
}

impl Radius {
    /// Takes over what the process could reach when the incident began.
    /// Whether that is anything.
    pub(super) fn reach(&mut self, reach: Reach) -> bool {
        let is_news = reach != Reach::default();
        self.cut |= reach.cut;
        for identity in reach.identities {
            self.cut |= !push(&mut self.reachable, identity.to_string());
        }
        for name in reach.environment {
            self.cut |= !push(&mut self.environment, name.to_string());
        }
        is_news
    }

    /// Takes in what a finding touched; whether an identity was taken that was not before.
    pub(super) fn note(&mut self, finding: &Finding, scene: &Scene<'_>) -> bool {
        self.contact(finding, scene);
        let opened =
            finding.identity.as_ref().filter(|_| finding.taken).map(|identity| describe::taken(identity));
        let all = opened.into_iter().chain(finding.leaked.iter().map(describe::leaked));
        let mut is_new = false;
        for taken in all {
            is_new |= self.take(taken);
        }
        is_new
    }

    fn take(&mut self, taken: Taken) -> bool {
        if self.taken.iter().any(|known| known.identity == taken.identity) {
            return false;
        }
        let room = self.taken.len() < ENTRIES_MAX;
        if room {
            self.taken.push(taken);
        }
        self.cut |= !room;
        room
    }

    /// An identity that author code may read, and did.
    pub(super) fn note_used(&mut self, identity: &Arc<str>) {
        if self.used.iter().all(|used| **used != **identity) {
            self.cut |= !push(&mut self.used, identity.to_string());
        }
    }

    fn contact(&mut self, finding: &Finding, scene: &Scene<'_>) {
        let Some(what) = contact_name(finding, scene) else { return };
        if self.contacted.iter().any(|contact| contact.what == what) {
            return;
        }
        if self.contacted.len() >= ENTRIES_MAX {
            self.cut = true;
            return;
        }
        self.contacted.push(Contact { what, result: None });
    }

    /// What became of a connect.
    pub(super) fn settle(&mut self, what: &str, result: &str) {
        let contact = self.contacted.iter_mut().find(|contact| contact.what == what);
        if let Some(contact) = contact.filter(|contact| contact.result.as_deref() != Some("established")) {
            contact.result = Some(result.to_owned());
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// As an alert shows it; `None` if there is nothing in it.
    pub(super) fn shown(&self) -> Option<BlastRadius> {
        let taken: Vec<&str> = self.taken.iter().map(|taken| &*taken.identity).collect();
        let used: Vec<String> =
            self.used.iter().filter(|used| !taken.contains(&used.as_str())).cloned().collect();
        let mut rotation: Vec<Rotate> = Vec::new();
        let taken_first = taken
            .iter()
            .map(|what| ((*what).to_owned(), "taken"))
            .chain(used.iter().map(|what| (what.clone(), "used")))
            .chain(self.environment.iter().map(|name| (format!("${name}"), "environment")))
            .chain(self.reachable.iter().map(|what| (what.clone(), "reachable")));
        for (what, because) in taken_first {
            if rotation.iter().all(|entry| entry.what != what) {
                rotation.push(Rotate { what, because: because.to_owned() });
            }
        }
        let radius = BlastRadius {
            taken: self.taken.clone(),
            used,
            reachable: self.reachable.clone(),
            environment: self.environment.clone(),
            contacted: self.contacted.iter().map(Contact::to_string).collect(),
            rotation,
        };
        (radius != BlastRadius::default()).then_some(radius)
    }
}

impl std::fmt::Display for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        self.result.as_ref().map_or(Ok(()), |result| write!(f, ": {result}"))
    }
}

/// What a finding's connect is listed as; `None` if it is no connect.
pub(super) fn contact_name(finding: &Finding, scene: &Scene<'_>) -> Option<String> {
    if !matches!(scene.event.body, Body::Connect(_) | Body::Unix(_)) {
        return None;
    }
    let object = redact::text(&scene.object()).into_owned();
    Some(match &finding.endpoint {
        Some(endpoint) => format!("{} ({object})", endpoint.id),
        None => object,
    })
}

fn push(list: &mut Vec<String>, entry: String) -> bool {
    if list.contains(&entry) {
        return true;
    }
    let room = list.len() < ENTRIES_MAX;
    if room {
        list.push(entry);
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_list_begins_with_what_was_taken_and_names_each_thing_once() {
        let radius = Radius {
            taken: vec![Taken { identity: "a".into(), ..Taken::default() }],
            used: vec!["b".into(), "a".into()],
            reachable: vec!["a".into(), "b".into(), "c".into()],
            environment: vec!["API_TOKEN".into()],
            ..Radius::default()
        };
        let shown = radius.shown().unwrap();
        let rotation: Vec<(&str, &str)> =
            shown.rotation.iter().map(|entry| (&*entry.what, &*entry.because)).collect();
        assert_eq!(
            rotation,
            [("a", "taken"), ("b", "used"), ("$API_TOKEN", "environment"), ("c", "reachable")]
        );
        assert_eq!(shown.used, ["b"], "what was taken is not listed as allowed");
    }

    #[test]
    fn nothing_in_it_is_no_blast_radius() {
        assert_eq!(Radius::default().shown(), None);
    }

    #[test]
    fn full_list_is_said_to_be_cut() {
        let mut radius = Radius::default();
        for number in 0..=ENTRIES_MAX {
            radius.note_used(&Arc::from(number.to_string()));
        }
        assert!(radius.is_cut());
        assert_eq!(radius.shown().unwrap().used.len(), ENTRIES_MAX);
    }
}
