use super::*;
use crate::alert::fixture;
use crate::delivery::spool::testing::{in_own_mounts, mount_small};

fn keep(dead: &DeadLetters, seq: u64) -> Kept {
    keep_all(dead, [seq])
}

fn keep_all(dead: &DeadLetters, seqs: impl IntoIterator<Item = u64>) -> Kept {
    let alert = SafeAlert::new(fixture::incident());
    let letter =
        |seq| Letter { time: "t".into(), sink: "siem".into(), seq, reason: "400".into(), alert: &alert };
    let letters: Vec<_> = seqs.into_iter().map(letter).collect();
    dead.keep("siem", &letters)
}

/// Numbers of what is sent again, and what is wrong.
fn take(dead: &DeadLetters) -> (Vec<u64>, Vec<String>) {
    let (mut seqs, mut problems) = (Vec::new(), Vec::new());
    for file in dead.replayed() {
        file.read(|letter| seqs.push(letter.seq), &mut problems).unwrap();
        file.remove().unwrap();
    }
    (seqs, problems)
}

#[test]
fn letters_come_back_once_in_order_and_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Some(dir.path()));
    keep(&dead, 1).result.unwrap();
    keep(&dead, 2).result.unwrap();
    assert!(dead.replayed().is_empty());
    assert_eq!(count(dir.path()).unwrap(), [("siem".to_owned(), 2)]);
    assert!(ask_replay(dir.path(), Some("other")).unwrap().is_empty());
    assert_eq!(ask_replay(dir.path(), None).unwrap(), ["siem"]);
    assert!(replay_waits(dir.path()));
    assert_eq!(dead.replayed()[0].sink.as_deref(), Some("siem"));
    assert_eq!(take(&dead).0, [1, 2]);
    assert!(!replay_waits(dir.path()) && dead.replayed().is_empty());
}

#[test]
fn full_file_is_put_aside_and_both_are_replayed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Some(dir.path()));
    keep(&dead, 1).result.unwrap();
    let path = dir.path().join("dead/siem.jsonl");
    OpenOptions::new().append(true).open(&path).unwrap().set_len(MOST).unwrap();
    let kept = keep(&dead, 2);
    assert!(kept.result.is_ok() && kept.lost.count == 0);
    assert!(fs::metadata(&path).unwrap().len() < MOST);
    ask_replay(dir.path(), Some("siem")).unwrap();
    let (seqs, problems) = take(&dead);
    assert_eq!(seqs, [1, 2]);
    assert!(problems[0].contains("is no dead letter"), "{problems:?}");
}

#[test]
fn letters_of_a_file_that_goes_for_good_are_counted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Some(dir.path()));
    let path = dir.path().join("dead/siem.jsonl");
    [3, 4, 7].iter().for_each(|seq| keep(&dead, *seq).result.unwrap());
    fs::rename(&path, dir.path().join("dead/siem.jsonl.1")).unwrap();
    keep(&dead, 8).result.unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().set_len(MOST).unwrap();
    let kept = keep(&dead, 9);
    kept.result.unwrap();
    assert_eq!((kept.lost.count, kept.lost.seqs.text()), (3, "3-4, 7".to_owned()));
}

#[test]
fn torn_last_line_is_not_glued_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Some(dir.path()));
    keep(&dead, 1).result.unwrap();
    let path = dir.path().join("dead/siem.jsonl");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time\":\"2026").unwrap();
    keep(&dead, 2).result.unwrap();
    keep(&dead, 3).result.unwrap();
    ask_replay(dir.path(), None).unwrap();
    let (seqs, problems) = take(&dead);
    assert_eq!((seqs, problems.len()), (vec![1, 2, 3], 1));
}

#[test]
fn letters_of_a_sink_that_is_not_configured_are_put_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Some(dir.path()));
    keep(&dead, 1).result.unwrap();
    ask_replay(dir.path(), None).unwrap();
    dead.put_back(&dead.replayed()[0]).unwrap();
    assert_eq!(count(dir.path()).unwrap(), [("siem".to_owned(), 1)]);
    ask_replay(dir.path(), None).unwrap();
    assert_eq!(take(&dead).0, [1]);
}

#[test]
fn letters_of_one_batch_wait_for_the_disk_once() {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Some(dir.path()));
    let kept = keep_all(&dead, 1..=100);
    kept.result.unwrap();
    assert_eq!((kept.count, dead.syncs.load(std::sync::atomic::Ordering::Relaxed)), (100, 1));
    ask_replay(dir.path(), None).unwrap();
    assert_eq!(take(&dead), ((1..=100).collect(), Vec::new()));
}

#[test]
fn letters_of_one_batch_go_over_as_many_files_as_they_need_and_those_that_go_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Some(dir.path()));
    let line = {
        keep(&dead, 1).result.unwrap();
        fs::metadata(dir.path().join("dead/siem.jsonl")).unwrap().len()
    };
    // Two files and a half.
    let last = MOST / line * 5 / 2;
    let kept = keep_all(&dead, 2..=last);
    kept.result.unwrap();
    assert_eq!(kept.count as u64, last - 1);
    ask_replay(dir.path(), None).unwrap();
    let (there, problems) = take(&dead);
    assert!(problems.is_empty());
    let mut all: Vec<u64> = kept.lost.seqs.runs().iter().flat_map(|[a, b]| *a..=*b).chain(there).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=last).collect::<Vec<_>>());
}

#[test]
fn of_letters_that_a_full_disk_takes_in_part_the_first_are_kept_and_none_is_cut() {
    if !in_own_mounts(
        module_path!(),
        "of_letters_that_a_full_disk_takes_in_part_the_first_are_kept_and_none_is_cut",
    ) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    mount_small(dir.path(), "256k");
    let dead = DeadLetters::new(Some(dir.path()));
    let kept = keep_all(&dead, 1..=300);
    assert!(kept.result.is_err() && (1..300).contains(&kept.count), "{kept:?}");
    let text = fs::read_to_string(dir.path().join("dead/siem.jsonl")).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == kept.count, "{}", text.lines().count());
}
