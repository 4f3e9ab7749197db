mod reader;

use std::collections::BTreeMap;

use super::*;
use crate::alert::{Alert, Taken, fixture};

/// Reads a line back; fails if it is none.
pub(in crate::alert) fn read(line: &str) -> (Vec<String>, BTreeMap<String, String>) {
    reader::read(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn sent(alert: Alert) -> (Vec<String>, BTreeMap<String, String>) {
    read(&line(&SafeAlert::new(alert)))
}

#[test]
fn every_kind_of_alert_is_read_back() {
    for (name, alert) in fixture::all() {
        let (header, fields) = sent(alert.clone());
        assert_eq!(header[..2], ["sandwatch", "sandwatch"], "{name}");
        assert_eq!(header[5], Level::of(&alert).cef.to_string(), "{name}");
        assert_eq!(fields["externalId"], alert.id, "{name}");
    }
}

#[test]
fn the_place_in_the_stream_and_what_does_not_come_are_told() {
    let mut alert = fixture::gap();
    alert.delivery =
        Some(crate::alert::Delivery { sink: "siem".into(), stream: "5a0a4f0e-2c0d".into(), seq: 42 });
    alert.gap.as_mut().unwrap().sequences = vec![[3, 7], [9, 9]];
    let (_, fields) = sent(alert);
    assert_eq!((&*fields["cn2"], &*fields["sandwatchStream"]), ("42", "5a0a4f0e-2c0d"));
    assert_eq!(fields["sandwatchSequences"], "3-7,9");
}

#[test]
fn a_workers_text_forges_no_field() {
    let hostile = fixture::all().into_iter().find(|(name, _)| *name == "hostile").unwrap().1;
    let (header, fields) = sent(hostile.clone());
    let spelled = |text: &str| super::super::escape::for_terminal(text).into_owned();
    assert_eq!(header[4], spelled(&hostile.title));
    assert_eq!(header[5], "10");
    assert_eq!(fields["cs1"], "8f3ac2d4e5f60718", "the incident, not what the worker says");
    let run = &hostile.attribution.as_ref().unwrap().run.as_ref().unwrap().value;
    assert_eq!(fields["cs2"], spelled(run));
    assert!(!fields.contains_key("severity"));
    let (_, plain) = sent(fixture::incident());
    assert_eq!(fields.keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
}

#[test]
fn values_keep_to_the_lengths_of_the_dictionary() {
    let mut alert = fixture::incident();
    alert.title = "=".repeat(5000);
    alert.process.as_mut().unwrap().argv = Some(vec!["é".repeat(9000)]);
    alert.file.as_mut().unwrap().path = Some(format!("/{}", "p".repeat(5000)));
    let line = line(&SafeAlert::new(alert));
    let longest = |key: &str| {
        let start = line.find(&format!(" {key}=")).unwrap() + key.len() + 2;
        let end = line[start..].find('=').map_or(line.len(), |at| start + at);
        line[start..end].rsplit_once(' ').unwrap().0.chars().count()
    };
    assert!(longest("filePath") <= 1023 && longest("cs4") <= 4000, "{}", longest("cs4"));
    let (header, fields) = read(&line);
    assert_eq!(header[4], format!("{}…", "=".repeat(511)));
    let cut: Vec<&str> = fields["sandwatchTruncated"].split(", ").collect();
    assert_eq!(cut, ["name", "fname", "filePath", "cs4"], "what is cut is named");
}

#[test]
fn what_one_field_cannot_hold_is_named_once_it_is_cut_and_not_before() {
    let of = |length: usize| {
        let mut alert = fixture::incident();
        alert.finding.as_mut().unwrap().expected = Some("\u{1b}".repeat(length / 4));
        sent(alert).1
    };
    assert!(!of(1020).contains_key("sandwatchTruncated"));
    let cut = of(1024);
    assert_eq!(cut["sandwatchTruncated"], "msg");
    assert!(cut["msg"].ends_with('…') && cut["msg"].chars().count() == 1023);
}

#[test]
fn everything_that_was_taken_is_told_however_much_it_is() {
    let mut alert = fixture::incident();
    let radius = alert.blast_radius.as_mut().unwrap();
    let all: Vec<String> = (0..400).map(|number| format!("registry-token-{number:03}\u{1b}=")).collect();
    radius.taken =
        all.iter().map(|identity| Taken { identity: identity.clone(), ..Taken::default() }).collect();
    let (_, fields) = sent(alert);
    let parts = ["cs5", "sandwatchTaken2", "sandwatchTaken3"].map(|key| &*fields[key]);
    assert!(parts.iter().all(|part| part.chars().count() <= 4000));
    let told: Vec<&str> = parts.iter().flat_map(|part| part.split(", ")).collect();
    let spelled: Vec<String> =
        all.iter().map(|identity| super::super::escape::for_terminal(identity).into_owned()).collect();
    assert_eq!(told, spelled);
    assert!(!fields.contains_key("sandwatchTaken4") && !fields.contains_key("sandwatchTruncated"));
}

#[test]
fn the_severity_is_that_of_the_table() {
    let (header, fields) = sent(fixture::connect());
    assert_eq!((&*header[3], &*header[5]), ("metadata-service", "8"));
    assert_eq!((&*fields["dst"], &*fields["dpt"], &*fields["proto"]), ("169.254.169.254", "80", "tcp"));
    assert_eq!(fields["cat"], "incident/boundary");
}
