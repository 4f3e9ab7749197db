use super::*;

fn line(alert: Alert) -> String {
    json::line(&SafeAlert::new(alert), None)
}

fn big(alert: &mut Alert, filler: &str) {
    let process = alert.process.as_mut().unwrap();
    process.argv = Some(vec![filler.repeat(3000); 40]);
    let incident = alert.incident.as_mut().unwrap();
    let link = incident.chain[0].clone();
    incident.chain.extend(std::iter::repeat_n(link, 500));
    alert.respond = vec![filler.repeat(20_000)];
    alert.labels = (0..2000).map(|n| (format!("label-{n}"), filler.repeat(50))).collect();
}

#[test]
fn an_incident_as_json() {
    let mut alert = fixture::incident();
    alert.process.as_mut().unwrap().cwd = Some("/tmp/\x1b[2J\u{202e}x".into());
    let delivery = Delivery { sink: "local".into(), stream: "s".into(), seq: 42 };
    let text = json::line(&SafeAlert::new(alert), Some(&delivery));
    assert!(text.is_ascii() || !text.chars().any(escape::is_unsafe), "{text}");
    assert!(!text.contains('\n'));
    insta::assert_snapshot!(text);
}

#[test]
fn a_gap_as_json() {
    insta::assert_snapshot!(line(fixture::gap()));
}

#[test]
fn what_a_sink_adds_stands_where_the_alert_has_it() {
    let delivery = Delivery { sink: "a\"}".into(), stream: "s".into(), seq: 42 };
    for (name, mut alert) in fixture::all() {
        for truncated in [vec![], vec!["texts".to_owned(), "\"]}".to_owned()]] {
            alert.truncated = truncated;
            let safe = SafeAlert::new(alert.clone());
            let whole = Alert { delivery: Some(delivery.clone()), ..(*safe).clone() };
            assert_eq!(json::line(&safe, Some(&delivery)), json::compact(&whole), "{name}");
            // One that has such a part already gets the new one in its place.
            let again = SafeAlert::new(Alert {
                delivery: Some(Delivery { seq: 1, ..delivery.clone() }),
                ..whole.clone()
            });
            assert_eq!(json::line(&again, Some(&delivery)), json::compact(&whole), "{name}");
        }
    }
}

#[test]
fn a_changed_copy_has_a_line_of_its_own() {
    let safe = SafeAlert::new(fixture::incident());
    let before = safe.line().to_owned();
    let delivery = Delivery { sink: "a".into(), stream: "s".into(), seq: 1 };
    let copy = safe.for_sink(Some(&delivery), &[("site".to_owned(), "b".to_owned())].into());
    assert!(copy.line().contains("\"site\":\"b\"") && copy.line().contains("\"seq\":1"), "{}", copy.line());
    assert_eq!(safe.line(), before);
}

#[test]
fn json_reads_back_as_the_same_alert() {
    let safe = SafeAlert::new(fixture::incident());
    let back: Alert = serde_json::from_str(&json::line(&safe, None)).unwrap();
    assert_eq!(back, *safe);
}

#[test]
fn secrets_are_masked_before_any_format() {
    let mut alert = fixture::incident();
    alert.title = "Ran curl https://me:hunter2@h/".into();
    let text = line(alert);
    assert!(!text.contains("abcdef123456") && !text.contains("hunter2"), "{text}");
    assert!(text.contains(redact::MASK));
}

#[test]
fn a_huge_alert_is_cut_to_its_bound_and_says_what_is_missing() {
    for filler in ["x", "\u{202e}", "é"] {
        let mut alert = fixture::incident();
        big(&mut alert, filler);
        let safe = SafeAlert::new(alert);
        let text = json::line(&safe, None);
        assert!(text.len() <= MAX_ALERT, "{} bytes", text.len());
        for part in ["process.argv", "incident.chain", "texts", "lists"] {
            assert!(safe.truncated.iter().any(|p| p == part), "{part} not in {:?}", safe.truncated);
        }
        // What an on-call needs is still there.
        assert_eq!(safe.tier, Some(Tier::Identity));
        assert_eq!(safe.incident.as_ref().unwrap().chain.last().unwrap().finding, "shell-from-engine");
        serde_json::from_str::<Alert>(&text).unwrap();
    }
}

#[test]
fn everything_that_was_taken_is_named_however_large_the_rest_of_the_alert() {
    let mut alert = fixture::incident();
    big(&mut alert, "x");
    let taken = |respond: &str, count| -> Vec<Taken> {
        let one =
            |n| Taken { identity: format!("token-{n}"), respond: respond.to_owned(), ..Taken::default() };
        (0..count).map(one).collect()
    };
    alert.blast_radius.as_mut().unwrap().taken = taken("Revoke it.", 100);
    let safe = SafeAlert::new(alert.clone());
    assert_eq!(safe.blast_radius.as_ref().unwrap().taken, taken("Revoke it.", 100));
    // What to do about each goes before any of them.
    alert.blast_radius.as_mut().unwrap().taken = taken(&"\u{1}".repeat(250), 100);
    let safe = SafeAlert::new(alert.clone());
    assert!(safe.line().len() <= MAX_ALERT);
    assert_eq!(safe.blast_radius.as_ref().unwrap().taken.len(), 100);
    assert!(safe.truncated.iter().any(|part| part == "texts"), "{:?}", safe.truncated);
    // What cannot be held otherwise is said to be cut.
    alert.blast_radius.as_mut().unwrap().taken = taken("", 5000);
    let safe = SafeAlert::new(alert);
    assert!(safe.line().len() <= MAX_ALERT && !safe.blast_radius.as_ref().unwrap().taken.is_empty());
    assert!(safe.truncated.iter().any(|part| part == "blast_radius.taken"), "{:?}", safe.truncated);
}

#[test]
fn an_alert_within_the_bound_is_not_cut() {
    assert!(SafeAlert::new(fixture::incident()).truncated.is_empty());
}
