//! `sandwatch alert test`, as people call it.

use std::path::Path;
use std::process::{Command, Output};

use integration::fakes::program::free_address;
use integration::fakes::{Channel, Fault, Reply, Service};

use crate::agent::secret;
use crate::alertmanager::Alertmanager;
use crate::{channel, pagerduty};

/// Calls it with these sinks; its exit code, and what it said.
pub(crate) fn run(folder: &Path, sinks: &str, more: &[&str]) -> (Option<i32>, String) {
    let config = folder.join("sandwatch.yaml");
    std::fs::write(&config, format!("schema: sandwatch/config/v1\ncluster: test\nsinks:\n{sinks}")).unwrap();
    let program =
        std::env::var_os("SANDWATCH_BIN").unwrap_or_else(|| panic!("SANDWATCH_BIN names the program"));
    let Output { status, stdout, stderr } = Command::new(program)
        .args(["alert", "test", "--hold", "1s", "--config"])
        .arg(config)
        .args(more)
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code(), text)
}

#[test]
fn every_sink_is_tried_says_its_answer_and_is_closed_again() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(pagerduty::KEY).unwrap();
    let channel = Channel::start(channel::PATH).unwrap();
    let alertmanager = Alertmanager::start(folder.path(), false);
    let file = folder.path().join("alerts.jsonl");
    let sinks = format!(
        "- {{ name: local, type: file, path: {} }}\n- {{ name: pager, {} }}\n- {{ name: chat, {} }}\n- {{ name: am, {} }}\n",
        file.display(),
        pagerduty::sink(folder.path(), &service),
        channel::sink(folder.path(), &channel),
        alertmanager.sink(),
    );
    let (code, said) = run(folder.path(), &sinks, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches(": accepted").count(), 4, "{said}");
    let log = service.log();
    assert!(log.len() == 2 && log[0].starts_with("trigger ") && log[1].starts_with("resolve "), "{log:?}");
    let alert = service.alerts().into_values().next().unwrap();
    assert_eq!((alert.open, alert.notified), (false, 1));
    assert!(
        alert.payload["summary"].as_str().unwrap().starts_with("TEST, nothing happened"),
        "{}",
        alert.payload
    );
    assert_eq!(alert.payload["severity"], "critical", "it goes the way of what wakes people");
    let texts = channel.texts();
    assert!(
        texts.len() == 2 && texts.iter().all(|text| text.contains("TEST, nothing happened")),
        "{texts:?}"
    );
    let active = alertmanager.active();
    assert!(
        active.len() == 1 && active[0].starts_with("identity "),
        "it ends by itself in some minutes: {active:?}"
    );
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["test"] == true));
    assert_eq!((&lines[0]["state"], &lines[1]["state"]), (&"open".into(), &"closed".into()));
    assert_eq!(lines[0]["incident"]["id"], lines[1]["incident"]["id"]);
}

#[test]
fn what_a_receiver_says_against_it_is_repeated_and_the_rest_is_tried_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (service, channel) =
        (Service::start(pagerduty::KEY).unwrap(), Channel::start(channel::PATH).unwrap());
    channel.server.fail(Fault::Answer(Reply::text(404, "no_service")));
    let (dead, key) = (free_address().unwrap(), secret(folder.path(), "key", pagerduty::KEY));
    let sinks = format!(
        "- {{ name: gone, type: pagerduty, url: \"http://{dead}\", key_file: {key} }}\n\
         - {{ name: keyless, type: pagerduty, key_file: /nonexistent/key }}\n\
         - {{ name: chat, {} }}\n- {{ name: pager, {} }}\n",
        channel::sink(folder.path(), &channel),
        pagerduty::sink(folder.path(), &service),
    );
    let (code, said) = run(folder.path(), &sinks, &[]);
    assert_eq!(code, Some(1), "{said}");
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("gone").contains("not accepted now: "), "{said}");
    assert!(line("keyless").contains("/nonexistent/key"), "{said}");
    assert!(line("chat").contains("status 404") && line("chat").contains("no_service"), "{said}");
    assert!(line("pager").contains(": accepted"), "{said}");
    assert!(!said.contains("s3cret") && !said.contains(pagerduty::KEY), "{said}");
    // One alone.
    let (code, said) = run(folder.path(), &sinks, &["--sink", "pager"]);
    assert_eq!((code, said.contains("gone")), (Some(0), false), "{said}");
}

#[test]
fn sink_that_is_not_there_is_a_usage_error_that_names_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let sinks = format!("- {{ name: local, type: file, path: {} }}\n", folder.path().join("a").display());
    let (code, said) = run(folder.path(), &sinks, &["--sink", "siem"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no sink is called \"siem\"; there are: local"), "{said}");
}
