//! Any sequence of events: what holds of the alerts whatever happens.

use proptest::prelude::*;

use super::*;
use crate::alert::{MAX_ALERT, SafeAlert, json};
use crate::detect::IDLE;

#[derive(Clone, Debug)]
enum Step {
    /// A new child of the engine runs a shell.
    Shell,
    /// A new runner: an author root.
    Runner,
    /// The last child reads one of the secrets.
    Read(bool),
    /// The last child, the runner or the engine connects to a port.
    Connect(u8, u16),
    /// The clock goes on.
    Wait(u64),
    /// Every second's duties.
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Shell),
        1 => Just(Step::Runner),
        4 => any::<bool>().prop_map(Step::Read),
        4 => (0u8..3, 9000u16..9200).prop_map(|(who, port)| Step::Connect(who, port)),
        2 => (1..2 * IDLE).prop_map(Step::Wait),
        3 => Just(Step::Tick),
    ]
}

/// Plays the steps; with the number of the step after which the agent is started again.
fn play(steps: &[Step], restart: Option<usize>) -> Vec<Alert> {
    let mut pipeline = started();
    let mut said = Vec::new();
    let mut now = 10_000;
    let mut pid = 1_000;
    let mut last = (RUNNER, 2_100);
    for (number, step) in steps.iter().enumerate() {
        now += 1_000;
        match step {
            Step::Shell | Step::Runner => {
                pid += 1;
                let exe = if matches!(step, Step::Shell) { "/bin/dash" } else { "/opt/toy-runner" };
                fork(&mut pipeline, (pid, now), ENGINE, 1_100);
                exec(&mut pipeline, (pid, now), now, now + 10, ENGINE, exe, &["x"]);
                last = ((pid, now), now + 10);
            }
            Step::Read(key) => {
                let path = if *key { "/etc/toy/key" } else { "/var/run/secrets/cloud/token" };
                open(&mut pipeline, last.0, last.1, now, path, 0);
            }
            Step::Connect(who, port) => {
                let (who, exec_id) = [last, (RUNNER, 2_100), (ENGINE, 1_100)][usize::from(*who)];
                connect(&mut pipeline, who, exec_id, now, *port);
            }
            Step::Wait(time) => now += time,
            Step::Tick => pipeline.tick(now),
        }
        said.extend(alerts(&mut pipeline));
        if restart == Some(number) {
            let saved = pipeline.detector.last_saved();
            // Only the detector is new: what a scan of /proc knows afterwards is another matter.
            pipeline.detector = Detector::new(pipeline.detector.envelope.clone());
            for saved in saved {
                let saved = crate::detect::Saved::parse(&saved.text().unwrap()).unwrap();
                pipeline.detector.resume(saved, now);
            }
        }
    }
    pipeline.finish(now + 1);
    said.extend(alerts(&mut pipeline));
    said
}

fn scopes(said: &[Alert]) -> BTreeMap<&str, (u64, &str, State)> {
    let mut scopes = BTreeMap::new();
    for alert in said {
        let incident = alert.incident.as_ref().unwrap();
        scopes.insert(&*incident.id, (incident.revision, &*incident.run_key, alert.state));
    }
    scopes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn revisions_grow_ids_are_used_once_and_everything_is_bounded(
        steps in prop::collection::vec(step(), 1..120),
        restart in 0usize..240,
    ) {
        let said = play(&steps, Some(restart));
        let mut last: BTreeMap<String, (u64, State)> = BTreeMap::new();
        let mut open: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut ids = std::collections::BTreeSet::new();
        for alert in &said {
            let incident = alert.incident.as_ref().unwrap();
            prop_assert!(ids.insert(alert.id.clone()), "{} was used twice", alert.id);
            let before = last.insert(incident.id.clone(), (incident.revision, alert.state));
            match before {
                Some((revision, state)) => {
                    prop_assert!(incident.revision > revision);
                    prop_assert!(state != State::Closed, "nothing comes after the end");
                    prop_assert!(state != State::Ended || alert.state == State::Closed);
                }
                None => prop_assert_eq!(alert.state, State::Open),
            }
            // One incident per scope and epoch: when the next one began, nothing is added to the one before.
            if matches!(alert.state, State::Open | State::Update) {
                let of_scope = open.entry(incident.run_key.clone()).or_default();
                prop_assert!(alert.state == State::Open || of_scope.last() == Some(&incident.id));
                if alert.state == State::Open {
                    of_scope.push(incident.id.clone());
                }
            }
            prop_assert!(incident.chain.len() <= 96);
            let safe = SafeAlert::new(alert.clone());
            prop_assert!(json::line(&safe, None).len() <= MAX_ALERT);
            let listed: u64 = incident.chain.iter().map(|link| 1 + link.repeats.unwrap_or(0)).sum();
            let unlisted = incident.unlisted.as_ref().map_or(0, |unlisted| unlisted.findings);
            prop_assert_eq!(listed + unlisted, incident.findings, "every finding is accounted for");
        }
    }

    #[test]
    fn same_events_give_the_same_alerts_byte_for_byte(steps in prop::collection::vec(step(), 1..60)) {
        let text = |said: Vec<Alert>| {
            said.into_iter().map(|alert| json::line(&SafeAlert::new(alert), None)).collect::<Vec<_>>()
        };
        prop_assert_eq!(text(play(&steps, None)), text(play(&steps, None)));
    }

    #[test]
    fn restart_changes_no_incident(steps in prop::collection::vec(step(), 1..60), restart in 0usize..60) {
        // Deviations that have not piled up yet are forgotten at a restart: without those of the engine.
        let steps: Vec<Step> =
            steps.into_iter().filter(|step| !matches!(step, Step::Connect(2, _))).collect();
        let (whole, parted) = (play(&steps, None), play(&steps, Some(restart)));
        let ids = |said: &[Alert]| {
            let scopes = scopes(said);
            scopes.into_iter().filter(|(_, (_, scope, _))| *scope != "digest").map(|(id, _)| id.to_owned())
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(ids(&whole), ids(&parted));
    }
}
