use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::alert::{SafeAlert, fixture};
use crate::config::Bytes;

fn sink(path: &Path) -> FileSink {
    FileSink::open(&SinkConfig::file(path.to_owned())).unwrap()
}

fn item(seq: u64) -> Item {
    Item { seq, alert: SafeAlert::new(fixture::gap()), text: format!("line {seq}").into_bytes() }
}

fn send(sink: &mut FileSink, seqs: std::ops::Range<u64>) -> Vec<Outcome> {
    sink.send(&seqs.map(item).collect::<Vec<_>>())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_file_is_appended_to_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    for seq in [1, 2] {
        let mut sink = sink(&path);
        assert_eq!(send(&mut sink, seq..seq + 1), [Outcome::Accepted]);
        sink.commit().unwrap();
    }
    assert_eq!(read(&path), "line 1\nline 2\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_torn_last_line_is_ended_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    std::fs::write(&path, "{\"torn").unwrap();
    send(&mut sink(&path), 1..2);
    assert_eq!(read(&path), "{\"torn\nline 1\n");
}

#[test]
fn a_file_that_was_moved_or_taken_away_is_begun_anew_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let mut sink = sink(&path);
    send(&mut sink, 1..2);
    std::fs::rename(&path, dir.path().join("old")).unwrap();
    assert_eq!(send(&mut sink, 2..3), [Outcome::Accepted]);
    assert_eq!((read(&dir.path().join("old")), read(&path)), ("line 1\n".into(), "line 2\n".into()));
    std::fs::remove_file(&path).unwrap();
    send(&mut sink, 3..4);
    assert_eq!(read(&path), "line 3\n");
    // Another file in its place, as some rotate.
    std::fs::rename(&path, dir.path().join("older")).unwrap();
    std::fs::write(&path, "theirs\n").unwrap();
    send(&mut sink, 4..5);
    assert_eq!(read(&path), "theirs\nline 4\n");
    assert_eq!(sink.commit(), Ok(()));
}

#[test]
fn a_file_that_was_moved_away_is_opened_again_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let mut sink = sink(&path);
    std::fs::rename(&path, dir.path().join("old")).unwrap();
    sink.reopen().unwrap();
    assert_eq!((read(&dir.path().join("old")), read(&path)), (String::new(), String::new()));
}

#[test]
fn a_file_that_others_cut_is_rotated_by_the_size_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let rotate = Some(Rotate { size: Bytes(21), keep: 2 });
    let mut sink = FileSink::open(&SinkConfig { rotate, ..SinkConfig::file(path.clone()) }).unwrap();
    send(&mut sink, 1..3);
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    send(&mut sink, 3..5);
    assert_eq!(read(&path), "line 3\nline 4\n");
    assert!(!dir.path().join("alerts.jsonl.1").exists());
}

#[test]
fn a_full_file_is_put_aside_and_only_so_many_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let rotate = Some(Rotate { size: Bytes(14), keep: 2 });
    let mut sink = FileSink::open(&SinkConfig { rotate, ..SinkConfig::file(path.clone()) }).unwrap();
    send(&mut sink, 1..8);
    let lines = |name: &str| read(&dir.path().join(name));
    assert_eq!(lines("alerts.jsonl"), "line 7\n");
    assert_eq!(lines("alerts.jsonl.1"), "line 5\nline 6\n");
    assert_eq!(lines("alerts.jsonl.2"), "line 3\nline 4\n");
    assert!(!dir.path().join("alerts.jsonl.3").exists());
}

#[test]
fn a_full_device_takes_nothing_and_says_so() {
    let mut sink = sink(Path::new("/dev/full"));
    let outcomes = send(&mut sink, 1..3);
    assert!(
        matches!(&outcomes[..], [Outcome::Retry { reason, .. }] if reason.contains("No space")),
        "{outcomes:?}"
    );
}

#[test]
fn a_folder_that_does_not_exist_is_named() {
    let error =
        FileSink::open(&SinkConfig::file("/nonexistent/alerts.jsonl".into())).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/alerts.jsonl: cannot be opened"), "{error}");
}
