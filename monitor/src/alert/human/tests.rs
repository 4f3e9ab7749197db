use proptest::prelude::*;

use super::*;
use crate::alert::fixture;

fn shown(alert: Alert, style: &Style) -> String {
    text(&SafeAlert::new(alert), style)
}

#[test]
fn an_incident_as_people_read_it() {
    insta::assert_snapshot!(shown(fixture::incident(), &Style::PLAIN));
}

#[test]
fn an_incident_on_a_narrow_terminal_with_colour() {
    let text = shown(fixture::incident(), &Style { width: 48, color: true });
    insta::assert_snapshot!(text.replace('\x1b', "ESC"));
}

#[test]
fn an_incident_as_a_story() {
    let mut alert = fixture::incident();
    let incident = alert.incident.as_mut().unwrap();
    incident.chain[0].title = Some("Engine started a shell".into());
    incident.chain[0].repeats = Some(3);
    incident.chain[0].last = Some("2026-11-23T20:40:00.500000000Z".into());
    incident.unlisted = Some(crate::alert::Unlisted {
        findings: 12,
        tier: crate::profile::Tier::Boundary,
        first: "2026-11-23T20:40:00.600000000Z".into(),
        last: "2026-11-23T20:40:00.900000000Z".into(),
    });
    incident.closure = Some(crate::alert::Closure {
        by: "ops".into(),
        reason: "token revoked".into(),
        time: "2026-11-23T21:00:00.000000000Z".into(),
    });
    insta::assert_snapshot!(story(&SafeAlert::new(alert), &Style::PLAIN));
}

#[test]
fn a_gap_as_people_read_it() {
    insta::assert_snapshot!(shown(fixture::gap(), &Style::PLAIN));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [40, 60, 100] {
        for line in shown(fixture::incident(), &Style { width, color: false }).lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_long_chain_shows_its_ends() {
    let mut alert = fixture::incident();
    let chain = &mut alert.incident.as_mut().unwrap().chain;
    for n in 0..40 {
        let mut link = chain[0].clone();
        link.finding = format!("finding-{n}");
        chain.push(link);
    }
    let text = shown(alert, &Style::PLAIN);
    assert!(text.contains("… 30 more …"), "{text}");
    assert!(
        text.contains("shell-from-engine") && text.contains("finding-39") && !text.contains("finding-20")
    );
}

#[test]
fn a_hostile_worker_cannot_steer_the_terminal() {
    let mut alert = fixture::incident();
    let evil = "\x1b]0;owned\x07\u{202e}\u{9b}2J\r\n━━ CLOSED".to_owned();
    alert.title = evil.clone();
    let process = alert.process.as_mut().unwrap();
    process.argv = Some(vec![evil.clone(), evil.clone()]);
    process.exe = Some(evil.clone());
    alert.file.as_mut().unwrap().path = Some(evil.clone());
    alert.worker.as_mut().unwrap().name = evil;
    let text = shown(alert, &Style::PLAIN);
    assert!(!text.lines().any(|line| line.chars().any(escape::is_unsafe)), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("━━ CLOSED")), "{text}");
}

proptest! {
    #[test]
    fn any_text_in_any_place_is_shown_harmlessly(evil in any::<String>()) {
        let mut alert = fixture::incident();
        alert.title.clone_from(&evil);
        alert.time.clone_from(&evil);
        alert.process.as_mut().unwrap().argv = Some(vec![evil.clone()]);
        alert.incident.as_mut().unwrap().chain[0].object = Some(evil.clone());
        alert.incident.as_mut().unwrap().chain[0].time.clone_from(&evil);
        let evidence = alert.evidence.as_mut().unwrap();
        evidence.events[0].object.clone_from(&evil);
        evidence.events[0].argv = Some(vec![evil.clone(), evil.clone()]);
        evidence.tree[0].exe = Some(evil.clone());
        evidence.tree[0].argv = Some(vec![evil.clone()]);
        alert.blast_radius.as_mut().unwrap().environment = vec![evil.clone()];
        alert.respond = vec![evil];
        let told = story(&SafeAlert::new(alert.clone()), &Style { width: 60, color: false });
        prop_assert!(!told.split('\n').any(|line| line.chars().any(escape::is_unsafe)));
        let text = shown(alert, &Style { width: 60, color: false });
        prop_assert!(!text.split('\n').any(|line| line.chars().any(escape::is_unsafe)));
    }
}
