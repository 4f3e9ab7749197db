use super::*;

fn page(alert: &SafeAlert) -> String {
    let id = alert.incident.as_ref().map_or("cond", |incident| &incident.id).to_owned();
    let brief = Brief::of(alert, &id);
    let sections = page::sections(&brief, Some("https://runbooks.example/sandwatch/"));
    format!("{}\n{}\n\n{}", page::severity(&brief), page::headline(&brief), page::plain(&sections))
}

/// With the words that the shipped rules have for it.
fn theft_as_raised() -> crate::alert::Alert {
    let mut alert = fixture::incident();
    alert.title =
        "A shell or interpreter started by the workflow engine itself, then a service account token was read"
            .into();
    if let Some(incident) = &mut alert.incident {
        incident.chain[0].title = Some("A shell or interpreter started by the workflow engine itself".into());
        incident.chain[1].title = Some("An identity that its role does not read".into());
    }
    alert.respond = [
        "Contain: freeze the worker: echo 1 > /sys/fs/cgroup/lab/n8n/cgroup.freeze",
        "Contain: Freeze the worker; its engine runs somebody's code outside the sandbox.",
        "Preserve: Keep the pod or unit, its log and this alert's chain before anything is restarted.",
        "Revoke: The identities in the blast radius, starting with the engine's own key.",
        "Rotate: What was revoked; then update the engine, since the way in is still open.",
        "Review: The workflow that ran at this time, its author and its last changes.",
    ]
    .map(str::to_owned)
    .to_vec();
    alert
}

#[test]
fn page_of_a_theft() {
    insta::assert_snapshot!(page(&SafeAlert::new(theft_as_raised())));
}

#[test]
fn page_of_a_test() {
    let mut alert = theft_as_raised();
    alert.test = true;
    insta::assert_snapshot!(page(&SafeAlert::new(alert)));
}

#[test]
fn page_of_a_boundary_without_a_known_run() {
    let mut alert = (*incident("77aa00bb11", 1, Tier::Boundary, State::Open)).clone();
    alert.attribution = None;
    alert.title = "A shell or interpreter started by the workflow engine itself".to_owned();
    insta::assert_snapshot!(page(&SafeAlert::new(alert)));
}

#[test]
fn page_of_a_closed_theft() {
    let mut alert = (*incident("8f3ac2d4e5f60718", 9, Tier::Identity, State::Closed)).clone();
    alert.closed_by = Some(crate::alert::ClosedBy::Operator);
    if let Some(incident) = &mut alert.incident {
        incident.closure = Some(crate::alert::Closure {
            by: "ops".into(),
            reason: "token revoked,\npod deleted".into(),
            time: "2026-11-23T21:00:00Z".into(),
        });
    }
    insta::assert_snapshot!(page(&SafeAlert::new(alert)));
}

#[test]
fn page_of_a_gap() {
    insta::assert_snapshot!(page(&gap("g", State::Open)));
}

#[test]
fn page_of_a_condition_of_the_agent() {
    insta::assert_snapshot!(page(&health("rules-refused", State::Open)));
}

#[test]
fn page_has_no_secret_no_allowance_and_nothing_that_steers_a_display() {
    let mut alert = fixture::incident();
    alert.title = "Read /x?token=hunter2hunter2 \u{202e}evil\x1b[2J\n@everyone".to_owned();
    alert.allow_with = Some("allow: everything".to_owned());
    if let Some(incident) = &mut alert.incident {
        incident.chain[1].object = Some("https://u:s3cr3t-pass@h.example/a".to_owned());
    }
    let text = page(&SafeAlert::new(alert));
    for secret in ["hunter2", "s3cr3t", "abcdef123456", "allow: everything", "\u{202e}", "\x1b"] {
        assert!(!text.contains(secret), "{secret:?} in {text}");
    }
    assert!(!text.lines().any(|line| line.starts_with("@everyone")));
}

#[test]
fn page_stays_short_whatever_comes() {
    let mut alert = fixture::incident();
    alert.title = "x".repeat(5000);
    alert.respond = (0..40).map(|n| format!("Step{n}: {}", "y".repeat(900))).collect();
    if let Some(incident) = &mut alert.incident {
        let link = incident.chain[0].clone();
        incident.chain = vec![crate::alert::ChainLink { object: Some("z".repeat(900)), ..link }; 60];
    }
    let alert = SafeAlert::new(alert);
    let text = page(&alert);
    assert!(text.len() < 4500, "{}", text.len());
    assert!(text.contains("… 55 more …"), "{text}");
    assert!(page::headline(&Brief::of(&alert, "i")).ends_with("(lab-n8n on node-7, prod-eu)"));
}

#[test]
fn runbook_link_stays_below_its_base() {
    assert_eq!(page::runbook_link("https://r/", "../../x y"), "https://r/....xy");
    assert_eq!(page::runbook_link("https://r", "shell-from-engine"), "https://r/shell-from-engine");
}

#[test]
fn runbook_link_fills_the_place_of_the_finding() {
    let base = "https://r/findings.md#{finding}";
    assert_eq!(page::runbook_link(base, "gap-lost"), "https://r/findings.md#gap-lost");
    assert_eq!(page::runbook_link(base, "health-sink-siem"), "https://r/findings.md#health-sink");
    assert_eq!(page::runbook_link("https://r", "health-spool"), "https://r/health-spool");
}
