//! What does not come is named: alerts of a time outside the configuration, of a stream before, of a bad block.

use std::fs;
use std::sync::Arc;

use super::*;

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
fn what_was_left_out_before_it_was_appended_has_numbers_and_is_named_by_them() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a", "b"], Limits::default(), &clock);
    writer.append(record(Class::Low, 1, &*clock), &[0, 1]);
    // More than were promised so far.
    let left = LeftOut { sink: 0, class: Class::Low, count: 300_000, span: (5, 7) };
    writer.leave_out(&left);
    writer.append(record(Class::Low, 2, &*clock), &[0, 1]);
    // Killed: what follows does not use these numbers again.
    drop(writer);
    let mut writer = open(dir.path(), &["a", "b"], Limits::default(), &clock);
    writer.append(record(Class::Low, 3, &*clock), &[0, 1]);
    let mut taker = Taker::new(&writer, 0);
    let got = taker.take(10);
    taker.commit();
    let seqs: Vec<u64> = got.iter().map(|got| got.seq).collect();
    assert_eq!(seqs, [1, 300_002, 300_003, 300_004]);
    assert_eq!(got[1].gone, Some(vec![[2, 300_001]]));
    check(&got);
    let other: Vec<u64> = Taker::new(&writer, 1).take(10).iter().map(|got| got.seq).collect();
    assert_eq!(other, [1, 2, 3], "the other would not have had them");
    let shared = writer.shared();
    let index = shared.lock();
    let said = index.classes[2].segments.front().unwrap();
    assert!(said.bytes < 20_000, "named, not written");
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
    let shared = writer.shared();
    let index = shared.lock();
    let said = index.classes[0].tail.iter().find(|entry| entry.sort == Sort::Evicted).unwrap();
    assert_eq!(said.record.alert.gap.as_ref().unwrap().lost, Some(0), "none is lost");
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
    let path = segments(dir.path(), Class::High).remove(0);
    corrupt(&path, 4, 10);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(100);
    let named: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
    assert_eq!(named, [vec![[5, 5]]], "{got:?}");
}

#[test]
fn segment_that_cannot_be_read_is_named_and_the_next_one_gone_on_with() {
    if !in_own_mounts(module_path!(), "segment_that_cannot_be_read_is_named_and_the_next_one_gone_on_with") {
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
    let segments = segments(dir.path(), Class::Normal);
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
    unmount(&segments[1]);
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
    let path = segments(dir.path(), Class::Normal).remove(0);
    corrupt(&path, 3, 9);
    let mut taker = Taker::new(&writer, 0);
    let got = taker.take(100);
    assert_eq!(got.iter().filter_map(|got| got.gone.clone()).collect::<Vec<_>>(), [vec![[4, 4]]]);
    assert_eq!(got.len(), 9);
    taker.commit();
    assert_eq!(taker.waiting(), 0);
}
