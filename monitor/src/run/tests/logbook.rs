//! The local log of a running agent.

use super::*;
use crate::ledger::{Entry, What, verify};

impl Rig {
    fn entries(&mut self) -> Vec<Entry> {
        // An alert is logged by the turn after it was spooled.
        assert!(self.agent.sinks.settle(Duration::from_secs(10)));
        self.turn();
        assert!(self.agent.sinks.settle(Duration::from_secs(10)));
        self.turn();
        let folder = fs::read_dir(self.path("state/log")).unwrap();
        let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some());
        files.sort();
        let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn theft(&mut self) {
        let record = fixture::open(self.head(Kind::Open), "/etc/toy/key", access::READ, 0);
        self.agent.probes.state.records.push_back(record);
        self.turn();
    }
}

#[test]
fn start_alerts_rules_and_end_are_in_the_local_log() {
    let mut rig = Rig::new();
    let state = rig.path("state");
    rig.agent.keep_log(&state, "sha256:1");
    rig.theft();
    fs::write(rig.path("rules/profiles/toy.yaml"), PROFILE.replace("title:", "titel:")).unwrap();
    rig.turn();
    fs::write(rig.path("rules/profiles/toy.yaml"), PROFILE.replace("A toy", "Another toy")).unwrap();
    rig.turn();
    let entries = rig.entries();
    let said = rig.alerts();
    assert!(matches!(&entries[0].what, What::Start { config, .. } if config == "sha256:1"));
    let alerts: Vec<&String> = entries
        .iter()
        .filter_map(|entry| if let What::Alert { id, .. } = &entry.what { Some(id) } else { None })
        .collect();
    assert_eq!(alerts, said.iter().map(|alert| &alert.id).collect::<Vec<_>>(), "every alert, in order");
    assert!(
        entries
            .iter()
            .any(|entry| matches!(&entry.what, What::RulesRefused { error, .. } if error.contains("titel")))
    );
    assert!(entries.iter().any(|entry| matches!(&entry.what, What::Rules { .. })));
    let incident = said[0].incident.as_ref().unwrap();
    assert!(entries.iter().any(|entry| matches!(&entry.what, What::Alert { incident: Some(id), revision: Some(1), .. } if *id == incident.id)));
    let Rig { dir, agent } = rig;
    agent.finish().unwrap();
    let verified = verify(&state, &[]).unwrap();
    assert_eq!((verified.broken, verified.notes), (None, vec![]));
    let text = fs::read_to_string(dir.path().join("state/log/00000000000000000001.jsonl")).unwrap();
    assert!(text.lines().last().unwrap().contains("\"what\":\"stop\",\"alerts\":"), "{text}");
}

#[test]
fn reload_that_was_asked_for_is_in_the_local_log_also_if_nothing_changed() {
    let mut rig = Rig::new();
    rig.agent.keep_log(&rig.path("state"), "sha256:1");
    rig.agent.reload("a file changed");
    let loaded = |rig: &mut Rig| {
        rig.entries().iter().filter(|entry| matches!(&entry.what, What::Rules { .. })).count()
    };
    assert_eq!(loaded(&mut rig), 0);
    rig.agent.reload(super::super::reload::ASKED);
    assert_eq!(loaded(&mut rig), 1);
}

#[test]
fn another_configuration_than_at_the_last_start_is_in_the_local_log() {
    let mut rig = Rig::new();
    let state = rig.path("state");
    for config in ["sha256:1", "sha256:1", "sha256:2"] {
        let mut other = Rig::new();
        other.agent.keep_log(&state, config);
        other.agent.finish().unwrap();
    }
    let changes: Vec<What> = rig
        .entries()
        .into_iter()
        .map(|entry| entry.what)
        .filter(|what| matches!(what, What::ConfigChanged { .. }))
        .collect();
    assert_eq!(changes, [What::ConfigChanged { from: "sha256:1".into(), to: "sha256:2".into() }]);
}

#[test]
fn a_log_that_is_taken_away_is_an_alert_and_goes_on() {
    let mut rig = Rig::new();
    rig.agent.keep_log(&rig.path("state"), "sha256:1");
    fs::remove_file(rig.path("state/log/00000000000000000001.jsonl")).unwrap();
    rig.agent.settle_log();
    rig.theft();
    let conditions: Vec<Alert> = rig.alerts().into_iter().filter(|alert| alert.health.is_some()).collect();
    assert_eq!(conditions.len(), 1);
    assert_eq!(conditions[0].health.as_ref().unwrap().condition, "local-log");
    assert_eq!(conditions[0].severity, crate::alert::Severity::High);
    assert!(matches!(&rig.entries()[0].what, What::Replaced { file } if file.starts_with("0000")));
}

#[test]
fn a_log_that_cannot_be_written_is_an_alert_and_the_agent_goes_on() {
    let mut rig = Rig::new();
    fs::write(rig.path("state"), "a file").unwrap();
    rig.agent.keep_log(&rig.path("state"), "sha256:1");
    rig.theft();
    // What is more urgent may have overtaken it.
    let health = |alert: &Alert| alert.health.as_ref().is_some_and(|health| health.condition == "local-log");
    assert!(rig.alerts().iter().any(health));
    assert!(rig.alerts().iter().any(|alert| alert.incident.is_some()));
}
