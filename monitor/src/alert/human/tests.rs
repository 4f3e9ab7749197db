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
        alert.respond = vec![evil];
        let text = shown(alert, &Style { width: 60, color: false });
        prop_assert!(!text.split('\n').any(|line| line.chars().any(escape::is_unsafe)));
    }
}
