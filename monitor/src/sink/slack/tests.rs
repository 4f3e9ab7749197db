use super::*;
use crate::alert::{SafeAlert, fixture};
use crate::oncall::{Brief, Change, Summary, SummaryKind, Why};

fn theft() -> Brief {
    Brief::of(&SafeAlert::new(fixture::incident()), "8f3ac2d4e5f60718")
}

fn open(brief: Brief, change: Change) -> Action {
    Action::Open { id: "i".into(), key: "i".into(), revision: 2, brief: Box::new(brief), change }
}

fn message(action: &Action) -> serde_json::Value {
    message::of(action, Some("https://runbooks.example"), &Default::default())
}

#[test]
fn a_page_as_slack_gets_it() {
    insta::assert_json_snapshot!(message(&open(theft(), Change::New)));
}

#[test]
fn a_closing_says_who_and_why() {
    let mut brief = theft();
    brief.closing = Some("by ops: token revoked".into());
    let action =
        Action::Resolve { id: "i".into(), key: "i".into(), brief: Box::new(brief), why: Why::Closed };
    let text = message(&action).to_string();
    assert!(text.contains("Closed: Engine started") && text.contains("by ops: token revoked"), "{text}");
}

#[test]
fn nothing_from_a_worker_is_a_mention_a_link_or_a_format() {
    let mut brief = theft();
    brief.title = "<!channel> *bold* <https://evil.example|click> & co".into();
    let message = message(&open(brief, Change::Raised));
    assert!(!message.to_string().contains("<!channel>") && !message.to_string().contains("<https://evil"));
    assert_eq!(message["mrkdwn"], false);
    let blocks = message["blocks"].as_array().unwrap();
    let marked: Vec<_> = blocks.iter().filter(|block| block.to_string().contains("mrkdwn")).collect();
    assert_eq!(marked.len(), 1, "only the link to the runbook, which the configuration gives");
}

#[test]
fn long_texts_stay_within_slacks_limits() {
    let mut brief = theft();
    brief.steps = vec!["<".repeat(800); 4];
    brief.title = "&".repeat(2000);
    let lines = vec!["<&>".repeat(100); 40];
    let summary = Action::Summary(Summary {
        key: "s".into(),
        kind: SummaryKind::Missed,
        lines,
        unnamed: 59,
        count: 99,
        uncounted: 0,
        node: "n".repeat(300),
        cluster: None,
    });
    for message in [message(&open(brief, Change::New)), message(&summary)] {
        let blocks = message["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50);
        for block in blocks {
            let text = block["text"]["text"].as_str().unwrap_or_default();
            let most = if block["type"] == "header" { 150 } else { 3000 };
            assert!(text.chars().count() <= most, "{}: {}", block["type"], text.chars().count());
        }
    }
}

#[test]
fn answers_mean_what_slack_says_they_mean() {
    let answer = |status| verdict(&Answer::for_tests(status, "", Some(Duration::from_secs(9))));
    assert_eq!(answer(200), Verdict::Accepted);
    assert!(matches!(answer(400), Verdict::Final(_)));
    for status in [403, 404, 410, 429, 500] {
        assert!(matches!(answer(status), Verdict::Again { after: Some(_), .. }), "{status}");
    }
}

#[test]
fn address_is_shown_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("webhook");
    std::fs::write(&path, "https://hooks.slack.com/services/T000/B000/s3cret").unwrap();
    let config = SinkConfig { key_file: Some(path.clone()), ..SinkConfig::stdout() };
    let slack = Slack::open(&config).unwrap();
    assert_eq!(slack.target(), "https://hooks.slack.com");
    assert!(slack.receiver().starts_with("https://hooks.slack.com ") && !slack.receiver().contains("s3cret"));
    assert!(!slack.client.without_secrets("no such hook: services/T000/B000/s3cret").contains("s3cret"));
    std::fs::write(&path, "s3cret").unwrap();
    let error = Slack::open(&config).err().unwrap().to_string();
    assert!(error.contains("key_file") && !error.contains("s3cret"), "{error}");
}
