//! What is within reach follows the first alert.

use super::*;

fn reachable(alert: &Alert) -> Vec<&str> {
    alert.blast_radius.iter().flat_map(|radius| &radius.reachable).map(String::as_str).collect()
}

#[test]
fn first_alert_waits_for_no_look_and_what_it_finds_is_the_next_one() {
    let mut pipeline = started();
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/etc/toy/key", 0);
    let first = alerts(&mut pipeline).remove(0);
    assert_eq!(reachable(&first), [] as [&str; 0]);
    assert_eq!(first.blast_radius.as_ref().unwrap().taken[0].identity, "engine-key", "what is known is said");
    assert!(first.evidence.is_some());
    pipeline.look_around(4_000);
    pipeline.tick(4_000 + SECOND / 2);
    assert_eq!(alerts(&mut pipeline), [], "with what else there is within a second");
    pipeline.tick(4_000 + SECOND);
    let said = alerts(&mut pipeline);
    assert_eq!((said.len(), said[0].state), (1, State::Update));
    assert_eq!(reachable(&said[0]), ["cloud-token"]);
    assert_eq!(said[0].incident.as_ref().unwrap().new, [] as [&str; 0]);
    assert_eq!(said[0].severity, first.severity);
    pipeline.look_around(2 * SECOND);
    pipeline.tick(4 * SECOND);
    assert_eq!(alerts(&mut pipeline), [], "once");
}

#[test]
fn look_that_finds_nothing_is_no_update() {
    let rules: Vec<(&str, String)> = RULES
        .iter()
        .map(|(file, text)| (*file, text.replace("/var/run/secrets/cloud/token", "/var/x")))
        .collect();
    let rules: Vec<(&str, &str)> = rules.iter().map(|(file, text)| (*file, &**text)).collect();
    let mut pipeline = started();
    pipeline.reload(super::rules(&rules), 2_900);
    let child = (103, 3_100);
    fork(&mut pipeline, child, RUNNER, 2_100);
    exec(&mut pipeline, child, child.1, 3_200, RUNNER, "/bin/ls", &["ls"]);
    assert_eq!(alerts(&mut pipeline).len(), 1);
    pipeline.look_around(4_000);
    pipeline.tick(4_000 + 2 * SECOND);
    let said = alerts(&mut pipeline);
    assert_eq!(said.iter().map(|alert| alert.blast_radius.clone()).collect::<Vec<_>>(), [] as [Option<_>; 0]);
}

#[test]
fn repeats_are_still_said_after_half_a_minute() {
    let mut pipeline = started();
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/etc/toy/key", 0);
    pipeline.look_around(3_500);
    pipeline.tick(2 * SECOND);
    assert_eq!(alerts(&mut pipeline).len(), 2);
    open(&mut pipeline, RUNNER, 2_100, 3 * SECOND, "/etc/toy/key", 0);
    pipeline.tick(31 * SECOND);
    assert_eq!(alerts(&mut pipeline), []);
    pipeline.tick(33 * SECOND);
    assert_eq!(alerts(&mut pipeline).len(), 1, "an update in between makes no repeat rarer");
}
