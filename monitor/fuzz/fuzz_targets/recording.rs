//! Any bytes as a recording: lines or an error with its line, and whatever the lines say is judged, never a panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use monitor::profile::RuleSet;
use monitor::recording::{Reader, Replay};

/// The shipped rules: enough of them that every part of the judgement is reached.
static RULES: LazyLock<Option<std::sync::Arc<RuleSet>>> =
    LazyLock::new(|| monitor::cli::load_rules(&monitor::cli::RulesFrom::Shipped).ok());

/// A header that is right, so that the lines behind it are reached.
const HEADER: &str = r#"{"schema":"sandwatch/recording/v1","made":"built","by":"fuzz","boot_id":"b","boot":"2026-01-01T00:00:00Z","redaction":"none","workers":[{"time":1,"label":1,"path":"/w","fresh":true}]}"#;

fuzz_target!(|data: &[u8]| {
    let _ = play(data);
    let mut whole = HEADER.as_bytes().to_vec();
    whole.push(b'\n');
    whole.extend_from_slice(data);
    let _ = play(&whole);
});

fn play(data: &[u8]) -> Option<()> {
    let mut reader = Reader::new(data).ok()?;
    let mut replay = Replay::new(reader.header(), RULES.clone()?).ok()?;
    while let Some(line) = reader.next().ok()? {
        replay.take(line);
    }
    replay.finish();
    while replay.next_alert().is_some() {}
    Some(())
}
