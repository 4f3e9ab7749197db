use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::alert::{SafeAlert, fixture};

const TIME: &str = "2026-11-23T20:40:01.123456789Z";

fn limits() -> Limits {
    Limits { file: 2000, files: 3 }
}

fn open(dir: &Path) -> (Ledger, Opened) {
    Ledger::open(dir, TIME, "sha256:c", limits()).unwrap()
}

fn start() -> What {
    What::Start {
        version: "0.1.0".into(),
        boot: "b".into(),
        rules: "sha256:r".into(),
        config: "sha256:c".into(),
    }
}

fn alert() -> What {
    What::alert(&SafeAlert::new(fixture::incident()))
}

/// A log of `count` entries in files that are never full.
fn log(dir: &Path, count: u64) -> Ledger {
    let (mut ledger, _) = Ledger::open(dir, TIME, "sha256:c", Limits::default()).unwrap();
    ledger.append(TIME, start()).unwrap();
    (1..count).for_each(|_| ledger.append(TIME, alert()).unwrap());
    ledger
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some());
    files.sort();
    files
}

fn check(dir: &Path) -> Verified {
    verify(dir, &[]).unwrap()
}

/// What `change` does to the lines of a log of ten is found at this line, in these words.
fn found(change: impl Fn(&mut Vec<String>), line: u64, what: &str) {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), 10);
    let file = files(dir.path()).remove(0);
    assert_eq!(check(dir.path()).broken, None);
    let mut lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let broken = check(dir.path()).broken.unwrap_or_else(|| panic!("not found: {what}"));
    assert_eq!((&broken.file, broken.line), (&file, line), "{broken}");
    assert!(broken.what.contains(what), "{broken}");
}

#[test]
fn whole_log_is_whole_over_files_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..3 {
        let (mut ledger, opened) = open(dir.path());
        assert_eq!(opened.config.is_some(), run > 0);
        assert!(!opened.unfinished);
        ledger.append(TIME, start()).unwrap();
        (0..3).for_each(|_| ledger.append(TIME, alert()).unwrap());
        ledger.finish(TIME, 3).unwrap();
    }
    assert!(files(dir.path()).len() > 1, "it was rotated");
    let verified = check(dir.path());
    assert_eq!((verified.broken, verified.first, &verified.notes[..]), (None, 1, &[][..]));
    assert!(verified.entries >= 15);
}

#[test]
fn each_line_can_be_checked_with_a_hash_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), 3);
    let text = fs::read_to_string(&files(dir.path())[0]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[1].ends_with(&format!("\"previous\":\"{}\"}}", Hash::of(lines[0].as_bytes()))),
        "{}",
        lines[1]
    );
    assert!(
        lines[0].starts_with("{\"number\":1,\"time\":\"2026-11-23T20:40:01.123456789Z\",\"what\":\"start\",")
    );
}

#[test]
fn alert_stands_there_with_its_id_and_the_digest_of_its_line() {
    let safe = SafeAlert::new(fixture::incident());
    let What::Alert { id, digest, revision, .. } = What::alert(&safe) else { panic!() };
    assert_eq!((id, revision), (safe.id.clone(), Some(2)));
    let line = crate::alert::json::line(&safe, None);
    assert_eq!(digest, Hash::of(line.as_bytes()).named());
}

#[test]
fn a_changed_line_is_found() {
    found(
        |lines| lines[4] = lines[4].replace("identity", "boundary").replace("update", "closed"),
        5,
        "was changed",
    );
    found(|lines| lines[0] = lines[0].replace("0.1.0", "0.1.1"), 1, "was changed");
}

#[test]
fn a_deleted_line_is_found() {
    found(|lines| drop(lines.remove(4)), 5, "entry 5 should stand before this one");
    found(|lines| drop(lines.drain(2..5)), 3, "entries 3 to 5 should stand before");
    found(|lines| drop(lines.remove(0)), 1, "name says that it begins with entry 1");
}

#[test]
fn an_inserted_line_is_found() {
    found(|lines| lines.insert(4, lines[3].clone()), 5, "entry 4 stands where entry 5 should");
    found(|lines| lines.insert(4, "{}".into()), 5, "no entry");
    found(|lines| lines.insert(4, String::new()), 5, "no entry");
}

#[test]
fn reordered_lines_are_found() {
    found(|lines| lines.swap(3, 6), 4, "should stand before this one");
}

/// Who writes the rest of the chain anew has a whole chain, but not the one whose head left the node.
#[test]
fn a_chain_that_was_written_anew_is_found_by_a_head() {
    let dir = tempfile::tempdir().unwrap();
    let head = log(dir.path(), 10).head().unwrap();
    assert_eq!(verify(dir.path(), std::slice::from_ref(&head)).unwrap().broken, None);
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    let (mut ledger, _) = open(dir.path());
    (0..12).for_each(|_| ledger.append(TIME, start()).unwrap());
    assert_eq!(check(dir.path()).broken, None);
    let broken = verify(dir.path(), &[head]).unwrap().broken.unwrap();
    assert!(broken.what.contains("entry 10 has the hash"), "{broken}");
}

#[test]
fn a_log_that_was_cut_short_is_found_by_a_head() {
    let dir = tempfile::tempdir().unwrap();
    let head = log(dir.path(), 10).head().unwrap();
    let file = files(dir.path()).remove(0);
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().take(7).collect();
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    assert_eq!(check(dir.path()).broken, None, "without a head nobody can know");
    let broken = verify(dir.path(), std::slice::from_ref(&head)).unwrap().broken.unwrap();
    assert_eq!(broken.line, 7);
    assert!(broken.what.contains("entry 10, whose head was sent, is not there"), "{broken}");
    let bare: Head = head.to_string().split_once(':').unwrap().1.parse().unwrap();
    assert!(verify(dir.path(), &[bare]).unwrap().broken.unwrap().what.contains("no entry has the hash"));
}

#[test]
fn half_an_entry_at_the_end_is_said_and_cut_off_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), 4);
    let file = files(dir.path()).remove(0);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() - 20]).unwrap();
    let verified = check(dir.path());
    assert_eq!((verified.broken, verified.entries), (None, 3));
    assert!(verified.notes[0].contains("half an entry"), "{:?}", verified.notes);
    let (mut ledger, opened) = open(dir.path());
    assert!(opened.recovered > 0 && opened.unfinished);
    ledger.append(TIME, start()).unwrap();
    let verified = check(dir.path());
    assert_eq!((verified.broken, verified.entries), (None, 5));
    assert!(verified.notes[0].contains("cut off") && verified.notes[1].contains("had not ended in order"));
}

#[test]
fn half_an_entry_in_an_older_file_is_a_break() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    (0..8).for_each(|_| ledger.append(TIME, alert()).unwrap());
    let file = files(dir.path()).remove(0);
    let text = fs::read(&file).unwrap();
    fs::write(&file, &text[..text.len() - 20]).unwrap();
    assert!(check(dir.path()).broken.unwrap().what.contains("cut off"));
}

#[test]
fn old_files_are_removed_and_the_chain_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    ledger.append(TIME, start()).unwrap();
    let first = ledger.head().unwrap();
    (0..40).for_each(|_| ledger.append(TIME, alert()).unwrap());
    assert_eq!(files(dir.path()).len(), 3);
    let verified = check(dir.path());
    assert!(verified.broken.is_none() && verified.first > 1, "{verified:?}");
    let with_old = verify(dir.path(), &[first]).unwrap();
    assert!(with_old.broken.is_none() && with_old.notes[0].contains("cannot be checked"), "{with_old:?}");
    fs::remove_file(&files(dir.path())[0]).unwrap();
    assert!(check(dir.path()).broken.unwrap().what.contains("no entry says that they were removed"));
}

#[test]
fn a_file_that_is_missing_in_the_middle_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    (0..14).for_each(|_| ledger.append(TIME, alert()).unwrap());
    assert_eq!(files(dir.path()).len(), 3);
    fs::remove_file(&files(dir.path())[1]).unwrap();
    let broken = check(dir.path()).broken.unwrap();
    assert!(broken.line == 1 && broken.what.contains("should stand before this one"), "{broken}");
}

#[test]
fn a_file_that_was_taken_away_while_the_agent_runs_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = log(dir.path(), 3);
    assert!(ledger.look(TIME).unwrap());
    fs::remove_file(&files(dir.path())[0]).unwrap();
    assert!(!ledger.look(TIME).unwrap());
    assert!(ledger.look(TIME).unwrap(), "once");
    ledger.append(TIME, alert()).unwrap();
    let verified = check(dir.path());
    assert!(verified.broken.unwrap().what.contains("entries 1 to 3 are not there"));
}

#[test]
fn a_file_that_others_write_to_is_noticed_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = log(dir.path(), 3);
    let file = files(dir.path()).remove(0);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() - 100]).unwrap();
    assert!(!ledger.look(TIME).unwrap());
}

#[test]
fn entries_that_cannot_be_written_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    ledger.append(TIME, start()).unwrap();
    ledger.file = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(ledger.append(TIME, alert()).is_err());
    assert!(ledger.append(TIME, alert()).is_err());
    ledger.file = fs::OpenOptions::new().append(true).open(&files(dir.path())[0]).unwrap();
    ledger.append(TIME, alert()).unwrap();
    let verified = check(dir.path());
    assert_eq!((verified.broken, verified.entries), (None, 3));
    let text = fs::read_to_string(&files(dir.path())[0]).unwrap();
    assert!(text.contains("\"what\":\"missed\",\"entries\":2"), "{text}");
}

#[test]
fn a_head_is_told_once_it_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = log(dir.path(), 3);
    assert_eq!(ledger.synced(), None);
    ledger.sync();
    while ledger.is_syncing() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(ledger.synced(), ledger.head().as_ref());
}

#[test]
fn two_agents_do_not_write_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, _) = open(dir.path());
    let error = Ledger::open(dir.path(), TIME, "sha256:c", limits()).unwrap_err();
    assert!(error.to_string().contains("another agent"), "{error}");
}

#[test]
fn rules_errors_are_cut_between_characters() {
    let What::RulesRefused { error, .. } = What::refused("SIGHUP", &"é".repeat(2000)) else { panic!() };
    assert!(error.len() <= 1030 && error.ends_with('…'));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// One byte of any line but the last, whatever it becomes, is noticed; of the last, by the head.
    #[test]
    fn any_changed_byte_is_found(at in 0usize..100_000, to in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        let head = log(dir.path(), 6).head().unwrap();
        let mut bytes = fs::read(&files(dir.path())[0]).unwrap();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let verified = verify_files(&[(1, &bytes)], &[head]).unwrap();
        prop_assert!(verified.broken.is_some(), "byte {at} as {to}: {verified:?}");
    }

    /// Whatever is there, a run goes on behind it without a panic.
    #[test]
    fn any_bytes_are_walked_and_gone_on_with(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        log(dir.path(), 2);
        let file = files(dir.path()).remove(0);
        let mut whole = fs::read(&file).unwrap();
        whole.extend_from_slice(&bytes);
        fs::write(&file, &whole).unwrap();
        check(dir.path());
        let (mut ledger, _) = open(dir.path());
        ledger.append(TIME, start()).unwrap();
        check(dir.path());
    }
}
