//! The play as it was recorded: on any machine, without privileges, nothing happens here.

use std::sync::Arc;

use super::DemoError;
use super::play::{Options, Voice};
use super::tally::{Tally, Verdict};
use crate::alert::{SafeAlert, json};
use crate::event::Body;
use crate::profile::RuleSet;
use crate::recording::{Line, Reader, Replay};

/// Made by `sandwatch record` of a `sandwatch demo`; a rule test as well.
const RECORDING: &str = include_str!("../../../rules/tests/recordings/demo/recorded-6.18.ndjson");

/// The program with which the engine leaves its sandbox: what comes before it is the normal step.
const WAY_OUT: &str = "/bin/sh";

/// Plays the recording through the rules.
pub fn run_recorded(options: &Options, rules: Arc<RuleSet>) -> Result<Verdict, DemoError> {
    let unread = |what: String| DemoError::Recording(what);
    let mut voice = Voice::new(options)?;
    let mut reader = Reader::new(RECORDING.as_bytes()).map_err(|error| unread(error.to_string()))?;
    let mut replay = Replay::new(reader.header(), rules).map_err(unread)?;
    let header = reader.header();
    voice.say("sandwatch demo --recorded: THIS IS A RECORDING. Nothing runs, no probe is loaded, nothing of this machine is read.");
    voice.say(&format!(
        "It was made by `sandwatch record` of a real `sandwatch demo` on Linux {}; its events go through the agent's own",
        header.kernel
    ));
    voice.say("judgement now. With root, `sandwatch demo` plays the same with real probes on this kernel.");
    voice.step("1. The worker, as it was found");
    for worker in &header.workers {
        voice.say(&format!("  cgroup {}", worker.path));
    }
    for (signal, rung) in &header.rungs {
        voice.say(&format!("  {signal:<8} was seen through {rung}"));
    }
    voice.step(
        "2. A normal step, and a step that leaves its sandbox: an expression makes the engine itself run a",
    );
    voice.say("   shell, which reads a secret (planted, fake) and sends it to a collector on loopback.\n");
    let mut tally = Tally::default();
    let mut escaped = false;
    while let Some(line) = reader.next().map_err(|error| unread(error.to_string()))? {
        if let Line::Event(event) = &line
            && let Body::Exec(exec) = &event.body
        {
            escaped |= &*exec.filename.text == WAY_OUT;
        }
        replay.take(line);
        say(&mut voice, &mut replay, &mut tally, escaped)?;
    }
    let done = replay.finish();
    say(&mut voice, &mut replay, &mut tally, escaped)?;
    voice.finale(&tally)?;
    voice.say(&format!(
        "\nOf the recording: {} events, findings {}, alerts {}",
        done.events, done.findings, done.alerts
    ));
    let verdict = tally.verdict();
    voice.verdict(&verdict);
    Ok(verdict)
}

fn say(voice: &mut Voice, replay: &mut Replay, tally: &mut Tally, escaped: bool) -> Result<(), DemoError> {
    while let Some(alert) = replay.next_alert() {
        voice.alert(&json::line(&SafeAlert::new(alert), None), tally, escaped)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played() -> (Verdict, String) {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("alerts");
        let rules = crate::cli::load_rules(&crate::cli::RulesFrom::Shipped).unwrap();
        let options = Options { output: Some(output.clone()), ..Options::default() };
        let verdict = run_recorded(&options, rules).unwrap_or_else(|error| panic!("{error}"));
        (verdict, std::fs::read_to_string(output).unwrap())
    }

    #[test]
    fn recorded_play_shows_every_sign_and_is_marked_as_a_recording() {
        let (verdict, alerts) = played();
        assert!(verdict.good() && verdict.gaps.is_empty(), "{verdict:#?}");
        assert!(alerts.lines().all(|line| line.contains(r#""labels":{"replay":"recorded"}"#)), "{alerts}");
    }

    #[test]
    fn recorded_play_is_the_same_byte_for_byte() {
        assert_eq!(played().1, played().1);
    }
}
