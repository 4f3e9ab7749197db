//! Numbers: none is given to two alerts, and none is missing unnamed, whatever becomes of the disk, the host and the
//! configuration.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::fault_tests::{in_own_mounts, mount_small};
use super::testing::{Got, Taker, TestClock, accounted, open, power_cut, record};
use super::*;
use crate::delivery::Class;

/// Every number is one alert's, and each up to the last was received or named.
fn check(got: &[Got]) {
    let mut ids: BTreeMap<u64, &str> = BTreeMap::new();
    for Got { seq, id, .. } in got.iter().filter(|got| got.seq > 0) {
        assert_eq!(*ids.entry(*seq).or_insert(id), id, "number {seq} is one alert's");
    }
    let last = got.iter().map(|got| got.seq).max().unwrap();
    let accounted = accounted(got);
    let missing: Vec<u64> = (1..=last).filter(|seq| !accounted.contains(seq)).collect();
    assert!(missing.is_empty(), "{missing:?} of {last}: {got:?}");
}

fn stream(writer: &Writer) -> String {
    writer.shared().lock().sinks[0].cursor.stream.clone()
}

fn seqs(got: &[Got]) -> Vec<u64> {
    got.iter().map(|got| got.seq).collect()
}

/// Takes what a file system has left.
fn fill(dir: &Path) {
    for number in 0.. {
        if fs::write(dir.join(format!("filler-{number}")), vec![0; 64 << 10]).is_err() {
            break;
        }
    }
}

fn make_room(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("filler") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn number_that_was_given_while_the_disk_was_full_is_not_given_again_after_a_kill() {
    let name = "number_that_was_given_while_the_disk_was_full_is_not_given_again_after_a_kill";
    if !in_own_mounts(&format!("delivery::spool::number_tests::{name}")) {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let dir = disk.path();
    mount_small(dir, "512k");
    let clock = TestClock::new();
    let mut writer = open(dir, &["a"], Limits::default(), &clock);
    let mut got = Vec::new();
    for number in 1..=5 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    fill(dir);
    for number in 6..=30 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
        // What the first failure gave up is taken as well.
        fill(dir);
    }
    let mut taker = Taker::new(&writer, 0);
    got.extend(taker.take(100));
    assert_eq!(got.len(), 30, "they are delivered meanwhile");
    assert!(taker.try_commit().is_err(), "the cursor cannot be written either");
    drop((taker, writer));
    make_room(dir);
    let mut writer = open(dir, &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 31, &*clock), &[0]);
    got.extend(Taker::new(&writer, 0).take(100));
    check(&got);
}

#[test]
fn disk_that_stays_full_begins_a_stream_that_is_named_and_ends_with_the_agent() {
    let name = "disk_that_stays_full_begins_a_stream_that_is_named_and_ends_with_the_agent";
    if !in_own_mounts(&format!("delivery::spool::number_tests::{name}")) {
        return;
    }
    for mended in [false, true] {
        let disk = tempfile::tempdir().unwrap();
        let dir = disk.path();
        mount_small(dir, "4m");
        let clock = TestClock::new();
        let mut writer = open(dir, &["a"], Limits::default(), &clock);
        fill(dir);
        let before = stream(&writer);
        for number in 1..=200 {
            writer.append(record(Class::Normal, number, &*clock), &[0]);
            fill(dir);
        }
        let (after, since) = {
            let shared = writer.shared();
            let index = shared.lock();
            (index.sinks[0].cursor.stream.clone(), index.sinks[0].cursor.since)
        };
        assert!(before != after && since <= 200, "{since}");
        assert_eq!(writer.shared().streams(0, 0).unwrap(), [(since, after.clone()), (1, before.clone())]);
        clock.pass(Duration::from_secs(2));
        if mended {
            make_room(dir);
        }
        writer.tick();
        if !mended {
            fill(dir);
        }
        let mut taker = Taker::new(&writer, 0);
        let got = taker.take(300);
        let named: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
        assert_eq!(named, [vec![[1, since - 1]]], "the stream does not begin at 1, and says so");
        assert_eq!(got.len(), 201);
        assert_eq!(taker.try_commit().is_ok(), mended);
        drop((taker, writer));
        make_room(dir);
        let writer = open(dir, &["a"], Limits::default(), &clock);
        let goes_on = if mended { after } else { before };
        assert_eq!(stream(&writer), goes_on);
        drop(writer);
        assert!(std::process::Command::new("umount").arg(dir).status().unwrap().success());
    }
}

#[test]
fn power_cut_takes_no_number_unnamed_and_gives_none_again() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut got = Vec::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=10 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    clock.pass(Duration::from_secs(2));
    writer.tick();
    for number in 11..=20 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    got.extend(taker.take(17));
    taker.commit();
    drop(taker);
    power_cut(dir.path(), writer);
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 21, &*clock), &[0]);
    got.extend(Taker::new(&writer, 0).take(100));
    check(&got);
    assert!(got.iter().any(|got| got.id == "21"));
    let named: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
    assert_eq!(named.len(), 1);
    let many: u64 = named[0].iter().map(|[first, last]| last - first + 1).sum();
    assert!(many <= 10 + 2 * LEAST_RESERVED, "{named:?}");
}

#[test]
fn power_cut_that_takes_a_low_alert_and_leaves_a_later_one_names_the_low_one() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Low, 1, &*clock), &[0]);
    writer.append(record(Class::High, 2, &*clock), &[0]);
    writer.tick();
    power_cut(dir.path(), writer);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(got.iter().filter(|got| got.id == "2").count(), 1);
    check(&got);
}

#[test]
fn kill_is_no_power_cut_and_names_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    drop(writer);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(10);
    assert_eq!((seqs(&got), got[0].gone.clone()), (vec![1], None));
}

#[test]
fn end_before_a_reboot_names_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    writer.finish();
    power_cut(dir.path(), writer);
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 2, &*clock), &[0]);
    assert_eq!(seqs(&Taker::new(&writer, 0).take(10)), [1, 2]);
}

#[test]
fn sink_that_was_left_out_for_a_while_is_told_what_went_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut got = Vec::new();
    let mut writer = open(dir.path(), &["a", "b"], Limits::default(), &clock);
    for number in 1..=6 {
        writer.append(record(Class::Normal, number, &*clock), &[0, 1]);
    }
    let mut taker = Taker::new(&writer, 0);
    got.extend(taker.take(2));
    taker.commit();
    drop((writer, taker));
    let writer = open(dir.path(), &["b"], Limits::default(), &clock);
    let mut taker = Taker::new(&writer, 0);
    assert_eq!(taker.take(10).len(), 6);
    taker.commit();
    drop((writer, taker));
    let writer = open(dir.path(), &["b"], Limits::default(), &clock);
    drop(writer);
    let mut writer = open(dir.path(), &["a", "b"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 7, &*clock), &[0]);
    let mut taker = Taker::new(&writer, 0);
    let after = taker.take(10);
    taker.commit();
    assert!(after[0].gone.as_ref().is_some_and(|gone| gone[0][0] == 3), "{after:?}");
    got.extend(after);
    check(&got);
    drop((writer, taker));
    let mut writer = open(dir.path(), &["a", "b"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 8, &*clock), &[0]);
    assert!(Taker::new(&writer, 0).take(10).iter().all(|got| got.gone.is_none()), "said once");
}

#[test]
fn new_stream_that_does_not_begin_at_1_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=6 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    taker.take(6);
    taker.commit();
    drop(taker);
    for number in 7..=9 {
        writer.append(record(Class::Low, number, &*clock), &[0]);
    }
    // What every sink has goes.
    writer.finish();
    drop(writer);
    drop(open(dir.path(), &["a"], Limits::default(), &clock));
    fs::remove_file(dir.path().join("spool/a.cursor")).unwrap();
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(10);
    assert_eq!(got.iter().find_map(|got| got.gone.clone()), Some(vec![[1, 6]]), "{got:?}");
    check(&got);
}

#[test]
fn hole_below_what_overtook_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=10 {
        writer.append(record(Class::High, number, &*clock), &[0]);
    }
    let shared = writer.shared();
    let numbers: Vec<u64> = shared.lock().classes[0].tail.iter().map(|entry| entry.number).collect();
    // The first two and, out of turn, the last.
    let done = |at: usize| Done { class: Class::High, number: numbers[at], seq: at as u64 + 1 };
    shared.advance(0, [numbers[2], 0, 0], &[done(0), done(1), done(9)]);
    shared.save(0).unwrap();
    drop((shared, writer));
    let path = fault_tests::segments(dir.path(), Class::High).remove(0);
    testing::corrupt(&path, 4, 10);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(100);
    let named: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
    assert_eq!(named, [vec![[5, 5]]], "{got:?}");
}

#[test]
fn what_was_dealt_with_out_of_turn_is_not_counted_as_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [64 << 10; 3], ..Limits::default() };
    let mut writer = open(dir.path(), &["a"], limits, &clock);
    writer.append(record(Class::High, 1, &*clock), &[0]);
    writer.append(record(Class::High, 2, &*clock), &[0]);
    let shared = writer.shared();
    let number = shared.lock().classes[0].next - 1;
    shared.advance(0, [0; 3], &[Done { class: Class::High, number, seq: 2 }]);
    for number in 3..=60 {
        writer.append(record(Class::High, number, &*clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    let waiting = taker.waiting();
    let got = taker.take(1000);
    assert_eq!(waiting, got.len() as u64);
    let named: Vec<[u64; 2]> = got.iter().flat_map(|got| got.gone.clone().unwrap_or_default()).collect();
    assert!(named.iter().all(|[first, last]| !(*first..=*last).contains(&2)), "{named:?}");
    assert!(named.contains(&[1, 1]), "{named:?}");
}

#[test]
fn segment_stays_until_the_file_of_every_cursor_says_that_it_is_not_needed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [1 << 20, 128 << 10, 1 << 20], ..Limits::default() };
    let mut writer = open(dir.path(), &["a"], limits, &clock);
    for number in 1..=20 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    let before = fault_tests::segments(dir.path(), Class::Normal).len();
    assert!(before > 1);
    let mut taker = Taker::new(&writer, 0);
    taker.take(20);
    // As on a disk that does not take the cursor: its half-written file is a folder.
    let half = dir.path().join("spool/.a.tmp");
    fs::create_dir(&half).unwrap();
    assert!(taker.try_commit().is_err());
    clock.pass(Duration::from_secs(2));
    writer.tick();
    assert_eq!(fault_tests::segments(dir.path(), Class::Normal).len(), before);
    fs::remove_dir(half).unwrap();
    clock.pass(Duration::from_secs(2));
    writer.tick();
    assert_eq!(fault_tests::segments(dir.path(), Class::Normal).len(), 1, "the one that is written");
}

/// Reads with EIO from a file: the memory of a process has no page at such an address.
fn mount_bad_blocks(path: &Path) {
    let status = std::process::Command::new("mount").args(["--bind", "/proc/self/mem"]).arg(path).status();
    assert!(status.unwrap().success());
}

#[test]
fn segment_that_cannot_be_read_is_named_and_the_next_one_gone_on_with() {
    let name = "segment_that_cannot_be_read_is_named_and_the_next_one_gone_on_with";
    if !in_own_mounts(&format!("delivery::spool::number_tests::{name}")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [1 << 20, 256 << 10, 1 << 20], ..Limits::default() };
    let mut writer = open(dir.path(), &["a"], limits.clone(), &clock);
    for number in 1..=40 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    drop(writer);
    let writer = open(dir.path(), &["a"], limits, &clock);
    let segments = fault_tests::segments(dir.path(), Class::Normal);
    assert!(segments.len() > 2);
    mount_bad_blocks(&segments[1]);
    let mut taker = Taker::new(&writer, 0);
    let got = taker.take(100);
    taker.commit();
    check(&got);
    let lost: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
    assert_eq!(lost.len(), 1, "{got:?}");
    assert_eq!(
        got.iter().filter(|got| got.gone.is_none()).count() as u64,
        40 - (lost[0][0][1] - lost[0][0][0] + 1)
    );
    assert_eq!(taker.waiting(), 0);
    assert!(std::process::Command::new("umount").arg(&segments[1]).status().unwrap().success());
}

#[test]
fn record_that_rots_while_the_agent_runs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<TestClock> = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=9 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    drop(writer);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let path = fault_tests::segments(dir.path(), Class::Normal).remove(0);
    testing::corrupt(&path, 3, 9);
    let mut taker = Taker::new(&writer, 0);
    let got = taker.take(100);
    assert_eq!(got.iter().filter_map(|got| got.gone.clone()).collect::<Vec<_>>(), [vec![[4, 4]]]);
    assert_eq!(got.len(), 9);
    taker.commit();
    assert_eq!(taker.waiting(), 0);
}
