use clap::{CommandFactory, Parser};

use super::*;
use crate::alert::fixture;

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    assert!(Cli::try_parse_from(["sandwatch", "rnu"]).unwrap_err().use_stderr());
}

#[test]
fn run_without_workers_says_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.yaml");
    std::fs::write(&config, "schema: sandwatch/config/v1\n").unwrap();
    let cli = Cli::try_parse_from(["sandwatch", "run", "--config", config.to_str().unwrap()]).unwrap();
    let error = dispatch(cli).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.message().contains("workers: { watch:"), "{}", error.message());
}

#[test]
fn a_wrong_rung_is_a_usage_error() {
    let error = CliError::from("lsn".parse::<crate::kernel::HookChoice>().unwrap_err());
    assert_eq!(error.exit(), Exit::Usage);
}

#[test]
fn host_with_cgroup_v1_alone_is_told_what_is_lost_and_what_helps() {
    let error = CliError::from(crate::kernel::KernelError::NoCgroup2);
    assert_eq!(error.exit(), Exit::Host);
    let said = error.message();
    for part in ["no exec, no open, no connect", "mount -t cgroup2", "start the container runtime"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn explain_finds_an_alert_by_the_start_of_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alerts.jsonl");
    let lines = [fixture::gap(), fixture::incident()]
        .map(|alert| crate::alert::json::line(&crate::alert::SafeAlert::new(alert), None));
    std::fs::write(&file, lines.join("\n")).unwrap();
    let explain = |id: &str| {
        let cli = Cli::try_parse_from(["sandwatch", "explain", id, "--in", file.to_str().unwrap()]).unwrap();
        dispatch(cli).map_err(|error| (error.exit(), error.message()))
    };
    assert_eq!(explain("8f3ac2d4"), Ok(Exit::Ok));
    assert_eq!(explain(file.to_str().unwrap()), Ok(Exit::Ok));
    assert_eq!(explain("ffffffff").unwrap_err().0, Exit::No);
    assert_eq!(explain("8f").unwrap_err().0, Exit::Usage);
}

#[test]
fn explain_says_what_would_allow_an_expectation_and_a_detection() {
    let mut alert = fixture::incident();
    let one_line = |alert: &crate::alert::Alert| {
        let text = explain::explained(alert.clone(), &crate::alert::human::Style::PLAIN);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = one_line(&alert);
    assert!(
        text.contains("does not expect (profiles/n8n.yaml:41): if it is normal, an allow item"),
        "{text}"
    );
    assert!(!text.contains("permits") && text.contains("owasp_nhi NHI8"), "{text}");
    alert.finding.as_mut().unwrap().also = vec![crate::alert::AlsoInfo {
        finding: "token-read".into(),
        kind: "detection".into(),
        tier: crate::profile::Tier::Boundary,
        rule: Some(crate::alert::RuleRef { file: "detections/files.yaml".into(), line: 9 }),
    }];
    let text = one_line(&alert);
    assert!(text.contains("also detection token-read (boundary), detections/files.yaml:9"), "{text}");
    assert!(
        text.contains("`token-read` is a detection (detections/files.yaml:9)") && text.contains("`permits`"),
        "{text}"
    );
    let gap = one_line(&fixture::gap());
    assert!(!gap.contains("exception"), "{gap}");
}

#[test]
fn explain_of_a_file_that_is_not_there_says_so() {
    for (name, part) in
        [("/nonexistent/alerts.jsonl", "neither a file that is there nor an id"), ("/tmp", "is no file")]
    {
        let cli = Cli::try_parse_from(["sandwatch", "explain", name]).unwrap();
        let error = dispatch(cli).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.message().contains(name) && error.message().contains(part), "{}", error.message());
    }
}

#[test]
fn error_says_its_cause_once() {
    let cli = Cli::try_parse_from(["sandwatch", "run", "--config", "/nonexistent"]).unwrap();
    let message = dispatch(cli).unwrap_err().message();
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
    let hidden = anyhow::Error::msg("the cause").context("what happened");
    assert_eq!(CliError::new(Exit::No, hidden).message(), "what happened: the cause");
}

#[test]
fn torn_recording_is_played_as_far_as_it_goes_and_said_to_be_torn() {
    let whole = include_str!("../../../rules/tests/recordings/demo/recorded-6.18.ndjson");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("torn.ndjson");
    let alerts = dir.path().join("alerts");
    let lines = whole.lines().count();
    std::fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    let (name, output) = (file.to_str().unwrap(), alerts.to_str().unwrap());
    let cli = Cli::try_parse_from(["sandwatch", "replay", name, "--output", output]).unwrap();
    let error = dispatch(cli).unwrap_err();
    assert_eq!(error.exit(), Exit::No);
    assert!(
        error.message().contains(&format!("{name}: line {lines}: the recording is cut off")),
        "{}",
        error.message()
    );
    assert!(std::fs::read_to_string(alerts).unwrap().contains("shell-from-engine"));
}

#[test]
fn explain_shows_what_would_allow_a_deviation_and_nothing_that_steers_a_terminal() {
    let mut alert = fixture::incident();
    alert.allow_with = Some("expect:\n  engine: {}\x1b[2J".into());
    let text = explain::explained(alert, &crate::alert::human::Style::PLAIN);
    assert!(text.ends_with("expect:\n  engine: {}\\x1b[2J"), "{text}");
    assert!(!text.contains("the JSON alert has"), "it is shown, not only spoken of: {text}");
}

#[test]
fn rules_come_from_the_command_line_then_the_configuration_then_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let configured = [dir.path().to_owned(), "/nonexistent".into()];
    assert_eq!(RulesFrom::choose(&[], &configured), RulesFrom::Shipped, "an empty directory holds no rules");
    std::fs::create_dir(dir.path().join("profiles")).unwrap();
    std::fs::write(dir.path().join("profiles/a.yaml"), "").unwrap();
    assert_eq!(RulesFrom::choose(&[], &configured), RulesFrom::Directories(vec![dir.path().to_owned()]));
    let given = ["/given".into()];
    assert_eq!(RulesFrom::choose(&given, &configured), RulesFrom::Directories(given.to_vec()));
}

#[test]
fn the_rules_inside_the_program_load() {
    load_rules(&RulesFrom::Shipped).unwrap();
}
