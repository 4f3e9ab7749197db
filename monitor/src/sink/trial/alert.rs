//! The test alert: an incident that pages, in which nothing happened.

use crate::alert::{Alert, AlertKind, ChainLink, ClosedBy, Incident, SafeAlert, Severity, State, Tier};
use crate::detect::{Envelope, boot_now};

/// What it is called: the finding, the rule, the name of the alert.
const NAME: &str = "delivery-test";

/// A test alert, as it is opened and as it is closed.
#[derive(Clone, Debug)]
pub struct TestAlert {
    pub(super) opened: SafeAlert,
    pub(super) closed: SafeAlert,
}

impl TestAlert {
    /// A new one, of an incident that no other test has.
    pub fn new(envelope: &Envelope) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let opened = alert(envelope, &id, 1, State::Open);
        let mut closed = alert(envelope, &id, 2, State::Closed);
        closed.closed_by = Some(ClosedBy::Recovered);
        Self { opened: SafeAlert::new(opened), closed: SafeAlert::new(closed) }
    }
}

/// Critical, so that it goes the way of what wakes people.
fn alert(envelope: &Envelope, incident: &str, revision: u64, state: State) -> Alert {
    let title = "Test alert: nothing happened".to_owned();
    let mut alert = envelope.alert(AlertKind::Incident, Severity::Critical, boot_now(), title);
    let time = alert.time.clone();
    alert.id = envelope.id("test", &format!("{incident}:{revision}"));
    alert.state = state;
    alert.test = true;
    alert.tier = Some(Tier::Identity);
    alert.incident = Some(Incident {
        id: incident.to_owned(),
        revision,
        run_key: "test".to_owned(),
        first: time.clone(),
        last: time.clone(),
        findings: 1,
        new: if state == State::Open { vec![NAME.to_owned()] } else { Vec::new() },
        chain: vec![ChainLink {
            tier: Tier::Identity,
            finding: NAME.to_owned(),
            time,
            process: "none".to_owned(),
            role: None,
            title: Some("`sandwatch alert test` was called".to_owned()),
            object: None,
            outcome: None,
            rule: None,
            also: Vec::new(),
            repeats: None,
            last: None,
        }],
        unlisted: None,
        closure: None,
    });
    alert.respond = vec!["Nothing: it is a test.".to_owned()];
    alert
}
