use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use monitor_common::hook::{Rung, Signal};
use proptest::prelude::*;

use super::*;
use crate::alert::{AlertKind, Tier};
use crate::config::{Bytes, SinkFormat};

const WHOLE: &str = r#"
schema: sandwatch/config/v1
cluster: prod-eu
environment: production
labels: { team: platform }
state_dir: /var/lib/sandwatch
workers:
  watch: ["/kubepods*/**", "n8n.service"]
  assign:
    - { cgroup: "/lab/n8n", profile: n8n, name: lab-n8n }
rules: [/usr/lib/sandwatch/rules, /etc/sandwatch/rules.d]
hooks: auto
kernel: { priority_ring: 8MiB, priority_rate: 5000, burst: 3s }
sinks:
  - { name: local, type: file, path: /var/log/sandwatch/alerts.jsonl, format: json, min_tier: boundary, kinds: [incident, gap] }
  - { name: console, type: stdout }
"#;

fn refused(text: &str) -> String {
    parse(Path::new("sandwatch.yaml"), text).unwrap_err().to_string()
}

#[test]
fn a_whole_file_is_understood() {
    let config = parse(Path::new("x.yaml"), WHOLE).unwrap();
    assert_eq!(config.cluster.as_deref(), Some("prod-eu"));
    assert_eq!(config.labels["team"], "platform");
    assert_eq!(config.workers.watch.len(), 2);
    assert_eq!(config.workers.assign[0].name.as_deref(), Some("lab-n8n"));
    assert_eq!(config.kernel.priority_ring, Bytes(8 << 20));
    assert_eq!(config.kernel.lifecycle_ring, Bytes(2 << 20));
    assert!(config.hooks.choice().unwrap().is_auto());
    assert_eq!(config.sinks[0].min_tier, Tier::Boundary);
    assert_eq!(config.sinks[0].kinds, vec![AlertKind::Incident, AlertKind::Gap]);
    assert_eq!(config.sinks[1].format, SinkFormat::Auto);
}

#[test]
fn the_least_file_has_the_defaults() {
    let config = parse(Path::new("x.yaml"), "schema: sandwatch/config/v1\n").unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn an_unknown_key_is_refused_with_place_and_suggestion() {
    let message = refused("schema: sandwatch/config/v1\nworkers:\n  wach: [/a]\n");
    assert_eq!(message, "sandwatch.yaml:3:3: unknown key \"wach\"; did you mean \"watch\"?");
}

#[test]
fn a_key_unlike_any_other_lists_the_known_ones() {
    let message = refused("schema: sandwatch/config/v1\nworkers: { qqqq: 1 }\n");
    assert!(message.contains("known here: watch, assign"), "{message}");
}

#[test]
fn an_unknown_value_is_refused_with_place_and_suggestion() {
    let message = refused("schema: sandwatch/config/v1\nsinks:\n  - name: a\n    type: fil\n");
    assert!(message.starts_with("sandwatch.yaml:4:"), "{message}");
    assert!(message.contains("did you mean \"file\"?"), "{message}");
}

#[test]
fn another_schema_is_refused() {
    assert!(refused("schema: sandwatch/config/v2\n").contains("this version reads \"sandwatch/config/v1\""));
    assert!(refused("cluster: a\n").contains("\"schema\" is missing"));
}

#[test]
fn a_key_twice_is_refused() {
    let message = refused("schema: sandwatch/config/v1\ncluster: a\ncluster: b\n");
    assert!(message.starts_with("sandwatch.yaml:3:"), "{message}");
}

#[test]
fn sinks_that_cannot_work_are_refused() {
    let with = |sinks: &str| refused(&format!("schema: sandwatch/config/v1\nsinks: {sinks}\n"));
    assert!(with("[{ name: a, type: file }]").contains("no path"));
    assert!(with("[{ name: a, type: stdout, path: /x }]").contains("takes no `path`"));
    assert!(with("[{ name: a, type: stdout }, { name: a, type: stdout }]").contains("two sinks"));
    assert!(with("[{ name: a, type: stdout, buffer: 0 }]").contains("at least 1"));
    assert!(with("[{ name: ../a, type: stdout }]").contains("no name for a sink"));
    assert!(with("[{ name: a, type: stdout, max_bytes: 1000 }]").contains("less than 1400"));
    assert!(with("[{ name: a, type: stdout, workers: ['['] }]").contains("not a valid pattern"));
    let message = with("\n  - { name: a, type: stdout }\n  - { name: a, type: stdout }");
    assert!(message.starts_with("sandwatch.yaml:4:"), "the second of them: {message}");
}

#[test]
fn spool_without_room_for_a_few_alerts_is_refused() {
    let message = refused("schema: sandwatch/config/v1\nspool:\n  high: 1KiB\n");
    assert!(
        message.contains("spool.high is less than 1MiB") && message.starts_with("sandwatch.yaml:3:"),
        "{message}"
    );
    assert!(refused("schema: sandwatch/config/v1\nspool: { memory: 0 }\n").contains("memory at least 1MiB"));
}

#[test]
fn spans_of_nothing_that_nothing_works_with_are_refused() {
    let refused = |text: &str| refused(&format!("schema: sandwatch/config/v1\n{text}\n"));
    for (text, word) in [
        ("sinks: [{ name: a, type: stdout, timeout: 0s }]", "timeout and retry must be longer than nothing"),
        ("sinks: [{ name: a, type: stdout, retry: 0s }]", "timeout and retry must be longer than nothing"),
        ("spool: { max_age: 0s }", "spool.max_age: everything would be evicted at once"),
        ("pods: { timeout: 0s }", "pods.timeout must be longer than nothing"),
    ] {
        let said = refused(text);
        assert!(said.contains(word) && said.contains("sandwatch.yaml:2:"), "{said}");
    }
}

#[test]
fn a_ring_that_is_no_power_of_two_is_refused() {
    let message = refused("schema: sandwatch/config/v1\nkernel: { priority_ring: 3MiB }\n");
    assert!(
        message.starts_with("sandwatch.yaml:2:26: kernel.priority_ring: 3145728 bytes is not a power"),
        "{message}"
    );
}

#[test]
fn a_relative_cgroup_path_is_refused() {
    let message = refused("schema: sandwatch/config/v1\nworkers:\n  watch:\n    - /a\n    - lab/n8n\n");
    assert!(message.starts_with("sandwatch.yaml:5:7: "), "{message}");
    assert!(message.contains("start a path with `/`"), "{message}");
}

#[test]
fn hooks_name_a_rung_for_all_or_per_signal() {
    let pins = |hooks: &str| {
        let text = format!("schema: sandwatch/config/v1\nhooks: {hooks}\n");
        let choice = parse(Path::new("x"), &text).unwrap().hooks.choice().unwrap();
        (choice.pinned(Signal::Open), choice.pinned(Signal::Connect))
    };
    assert_eq!(pins("tracepoint"), (Some((Rung::Tracepoint, false)), Some((Rung::Tracepoint, false))));
    let both = (Some((Rung::Lsm, true)), Some((Rung::Cgroup, true)));
    assert_eq!(pins("{ open: lsm, connect: cgroup }"), both);
    assert_eq!(pins("\"connect=cgroup, open=lsm\""), both);
    let message = refused("schema: sandwatch/config/v1\nhooks: { opne: lsm }\n");
    assert!(
        message.contains("`opne` is no signal") && message.starts_with("sandwatch.yaml:2:8: hooks: "),
        "{message}"
    );
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sandwatch.yaml");
    std::fs::write(&path, WHOLE).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    load(&path).unwrap();
    for (mode, who) in [(0o664, "its group"), (0o646, "everyone")] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let message = load(&path).unwrap_err().to_string();
        assert!(message.contains(who) && message.contains("chmod go-w"), "{message}");
    }
}

#[test]
fn a_missing_file_says_which() {
    let message = load(Path::new("/nonexistent/sandwatch.yaml")).unwrap_err().to_string();
    assert!(message.starts_with("/nonexistent/sandwatch.yaml: cannot be read"), "{message}");
}

#[test]
fn the_owner_must_be_root_or_oneself() {
    let message = check_owner(Path::new("/x"), u32::MAX - 7, 0o600).unwrap_err().to_string();
    assert!(message.contains("owned by uid 4294967288") && message.contains("chown root"), "{message}");
}

#[test]
fn state_directory_is_found_in_a_file_that_is_bad_in_every_other_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    let of = |text: &str| {
        std::fs::write(&path, text).unwrap();
        state_dir_of(Some(&path))
    };
    assert_eq!(of("schema: x\nwrong: 1\nstate_dir: /var/lib/other\n"), Path::new("/var/lib/other"));
    assert_eq!(of("state_dir: \"/var/lib/other\" # here\n[what: is this"), Path::new("/var/lib/other"));
    assert_eq!(of("state_dir: relative\n]"), Path::new("/var/lib/sandwatch"));
    assert_eq!(state_dir_of(None), Path::new("/var/lib/sandwatch"));
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,400}") {
        let _ = parse(Path::new("x"), &text);
    }

    #[test]
    fn any_damage_to_a_valid_file_is_parsed_or_refused(at in 0usize..900, with in "[\\x00-\\x7f]{0,4}", cut in 0usize..6) {
        let mut text: Vec<char> = WHOLE.chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, with.chars());
        let _ = parse(Path::new("x"), &text.into_iter().collect::<String>());
    }
}
