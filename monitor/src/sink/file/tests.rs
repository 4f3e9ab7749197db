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
fn a_file_that_is_made_or_put_aside_has_its_mode_whatever_the_umask_and_one_that_was_there_keeps_its_own() {
    const INNER: &str = "SANDWATCH_TEST_UMASK";
    let test = "a_file_that_is_made_or_put_aside_has_its_mode_whatever_the_umask_and_one_that_was_there_keeps_its_own";
    if std::env::var_os(INNER).is_none() {
        // The umask is the whole process's: another one has it.
        let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
        let output = std::process::Command::new("sh")
            .args(["-c", "umask 077 && exec \"$@\"", "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(INNER, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    let rotate = Some(Rotate { size: Bytes(14), keep: 1 });
    let path = dir.path().join("new");
    let mut sink = FileSink::open(&SinkConfig { rotate, ..SinkConfig::file(path) }).unwrap();
    assert!(send(&mut sink, 1..4).iter().all(|outcome| *outcome == Outcome::Accepted));
    assert_eq!((mode("new.1"), mode("new")), (0o640, 0o640));
    std::fs::write(dir.path().join("old"), "").unwrap();
    send(&mut self::sink(&dir.path().join("old")), 1..2);
    assert_eq!(mode("old"), 0o600);
}

thread_local! {
    /// The disk does not take what was written last. The kernel says so once, and has forgotten it then.
    static FAILS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn fails_once(file: &File) -> io::Result<()> {
    if FAILS.take() { Err(io::Error::other("input/output error")) } else { file.sync_data() }
}

#[test]
fn lines_that_did_not_reach_the_disk_are_never_committed_whenever_that_shows() {
    let rotate = Some(Rotate { size: Bytes(14), keep: 3 });
    let moved = |path: &Path, sink: &mut FileSink| {
        std::fs::rename(path, path.with_extension("old")).unwrap();
        send(sink, 3..4);
    };
    let full = |_: &Path, sink: &mut FileSink| drop(send(sink, 3..4));
    let reopened = |_: &Path, sink: &mut FileSink| sink.reopen().unwrap();
    let committed = |_: &Path, _: &mut FileSink| {};
    type Deed<'a> = (&'a str, Option<Rotate>, &'a dyn Fn(&Path, &mut FileSink));
    let deeds: [Deed<'_>; 4] = [
        ("moved away", None, &moved),
        ("put aside", rotate, &full),
        ("opened again", None, &reopened),
        ("committed", None, &committed),
    ];
    for (what, rotate, deed) in deeds {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let mut sink = FileSink::open(&SinkConfig { rotate, ..SinkConfig::file(path.clone()) }).unwrap();
        sink.sync = fails_once;
        assert_eq!(send(&mut sink, 1..3), [Outcome::Accepted, Outcome::Accepted]);
        FAILS.set(true);
        deed(&path, &mut sink);
        // More may be written in between: it is sent again with the rest.
        send(&mut sink, 4..5);
        assert_eq!(sink.commit(), Err("input/output error".to_owned()), "{what}");
        assert!(!FAILS.get(), "{what}: it was synced");
        // The engine writes them again.
        assert!(send(&mut sink, 1..5).iter().all(|outcome| *outcome == Outcome::Accepted), "{what}");
        assert_eq!(sink.commit(), Ok(()), "{what}");
        let all: String =
            std::fs::read_dir(dir.path()).unwrap().map(|file| read(&file.unwrap().path())).collect();
        for seq in 1..5 {
            assert!(all.contains(&format!("line {seq}\n")), "{what}: {all}");
        }
    }
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
fn a_file_that_was_full_when_it_was_moved_away_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let rotate = Some(Rotate { size: Bytes(14), keep: 2 });
    let mut sink = FileSink::open(&SinkConfig { rotate, ..SinkConfig::file(path.clone()) }).unwrap();
    send(&mut sink, 1..3);
    std::fs::rename(&path, dir.path().join("old")).unwrap();
    assert_eq!(send(&mut sink, 3..4), [Outcome::Accepted]);
    assert_eq!(read(&path), "line 3\n");
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
